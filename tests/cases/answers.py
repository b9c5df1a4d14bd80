"""What an answer of the product is compared with: readable expectations, each with a message of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from in_process import Ran
from makers import RUN

LOUD = ("warning", "critical")
"""Severities that count: info is advice."""


class Mismatch(Exception):
    """The product answered, and the answer is wrong: the only failure that may be expected."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the product answered about an input.

    Attributes:
        json: Object that the command printed.
        code: Exit code.
        folder: Folder of the input.
        made: How the script or command that made the input ended; None where nothing ran.
    """

    json: dict[str, Any]
    code: int
    folder: Path
    made: Ran | None = None

    def value(self, path: str) -> Any:
        """Return a field by its dotted path; None where a part of it is absent."""
        found: Any = self.json
        for part in path.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        return found

    def findings(self, *severities: str) -> list[dict[str, Any]]:
        """Return the findings of these severities."""
        return [f for f in self.json.get("findings") or () if f.get("severity") in severities]


@dataclass(frozen=True)
class Expectation:
    """One thing that is right about an answer.

    Attributes:
        right: What is expected, to follow "expected".
        got: Returns what is there instead, or None where the answer is right.
    """

    right: str
    got: Callable[[Answer], str | None]


def compare(answer: Answer, expected: tuple[Expectation, ...]) -> None:
    """Compare an answer with all that is expected of it.

    Raises:
        Mismatch: Something differs; the message has a line for each difference.
    """
    differences = [(e.right, got) for e in expected if (got := e.got(answer)) is not None]
    if differences:
        raise Mismatch("\n".join(f"expected {right}, got {got}" for right, got in differences))


# --- values of a field ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Values:
    """Values that are right for a field.

    Attributes:
        text: Which, in words.
        fits: Whether a value is among them.
    """

    text: str
    fits: Callable[[Any], bool]


def one_of(*values: Any) -> Values:
    """Return the values themselves."""
    return Values(" or ".join(map(str, values)), lambda value: value in values)


def starting(*starts: str) -> Values:
    """Return texts that start with one of these."""
    text = " or ".join(f"{start}..." for start in starts)
    return Values(text, lambda value: isinstance(value, str) and value.startswith(starts))


def between(low: float, high: float) -> Values:
    """Return the numbers from low to high."""
    return Values(
        f"{low} to {high}", lambda value: isinstance(value, int | float) and low <= value <= high
    )


def matching(pattern: str, text: str) -> Values:
    """Return texts in which a pattern occurs, whatever the case of its letters; `text` describes it."""
    found = re.compile(pattern, re.IGNORECASE)
    return Values(text, lambda value: found.search(str(value)) is not None)


def _values(given: Any) -> Values:
    return given if isinstance(given, Values) else one_of(given)


# --- expectations of a diagnosis --------------------------------------------------------------------------------------


def field(path: str, *right: Any) -> Expectation:
    """Expect one of these values in a field of the answer."""
    values = right[0] if isinstance(right[0], Values) else one_of(*right)

    def got(answer: Answer) -> str | None:
        value = answer.value(path)
        return None if values.fits(value) else str(value)

    return Expectation(f"{path} {values.text}", got)


def finding(*severities: str, **fields: Any) -> Expectation:
    """Expect a finding with these fields.

    Args:
        severities: Severities that it may have; warning and critical without any.
        fields: Value, or `Values`, of each field.
    """
    wanted = {name: _values(given) for name, given in fields.items()}

    def got(answer: Answer) -> str | None:
        found = answer.findings(*(severities or LOUD))
        if any(all(w.fits(f.get(name)) for name, w in wanted.items()) for f in found):
            return None
        return brief(found)

    return Expectation(_described("a", severities, wanted), got)


def no_finding(*severities: str, **fields: Any) -> Expectation:
    """Expect no finding of these severities (warning and critical without any) with these fields."""
    wanted = {name: _values(given) for name, given in fields.items()}

    def got(answer: Answer) -> str | None:
        found = [
            f
            for f in answer.findings(*(severities or LOUD))
            if all(values.fits(f.get(name)) for name, values in wanted.items())
        ]
        return brief(found) if found else None

    return Expectation(_described("no", severities, wanted), got)


def _described(article: str, severities: tuple[str, ...], wanted: dict[str, Values]) -> str:
    """Return what is expected of findings, such as `a critical finding with first_step 45 to 48`."""
    head = " ".join((article, *severities, "finding"))
    fields = ", ".join(f"{name} {values.text}" for name, values in wanted.items())
    return f"{head} with {fields}" if fields else head


def silence() -> tuple[Expectation, ...]:
    """Expect neither a warning nor a bad verdict."""
    return field("verdict", "stable", "inconclusive"), no_finding()


def brief(findings: list[dict[str, Any]]) -> str:
    """Return findings in a few words each."""
    return "; ".join(_in_brief(f) for f in findings[:3]) or "none"


def _in_brief(found: dict[str, Any]) -> str:
    kept = ("severity", "rule", "column", "block", "first_epoch", "first_step", "observed")
    return " ".join(f"{name}={found[name]}" for name in kept if found.get(name) is not None)


# --- expectations of a data check -------------------------------------------------------------------------------------


def damage(split: str, count: Values, example: str, text: str) -> tuple[Expectation, ...]:
    """Expect damage in a split (or the whole set), with exit code 3, a count and files named.

    Args:
        split: train or val.
        count: How often, in boxes or in images.
        example: Pattern that a named file or the message matches.
        text: The same in words.
    """
    names = matching(example, text)

    def got(answer: Answer) -> str | None:
        found = [f for f in answer.json.get("found") or () if f.get("split") in {split, "all"}]
        if any(count.fits(f.get("count")) and names.fits(json.dumps(f)) for f in found):
            return None
        return "; ".join(f"{f['split']} {f['kind']} {f['count']}" for f in found[:3]) or "none"

    right = f"an entry of found for {split} with count {count.text} that names {text}"
    entry = Expectation(right, got)
    return field("damaged", True), exit_code(3), entry


def exit_code(code: int) -> Expectation:
    """Expect an exit code."""
    return Expectation(
        f"exit code {code}", lambda answer: None if answer.code == code else str(answer.code)
    )


# --- expectations of what a training printed and recorded -------------------------------------------------------------


def printed_at_the_start(pattern: str, text: str) -> Expectation:
    """Expect a line before the first epoch that matches a pattern; `text` describes it."""

    def got(answer: Answer) -> str | None:
        head = re.split(r"^\s*Epoch\s+GPU_mem", _printed(answer), maxsplit=1, flags=re.M)[0]
        return None if re.search(pattern, head, re.IGNORECASE | re.M) else "no such line"

    return Expectation(f"a line before the first epoch with {text}", got)


def never_printed(pattern: str, text: str) -> Expectation:
    """Expect neither a line nor a finding that matches a pattern; `text` describes it."""

    def got(answer: Answer) -> str | None:
        lines = [*_printed(answer).splitlines(), *map(json.dumps, answer.findings("info", *LOUD))]
        hits = [line.strip() for line in lines if re.search(pattern, line, re.IGNORECASE)]
        return hits[0][:120] if hits else None

    return Expectation(f"no word {text}", got)


def _printed(answer: Answer) -> str:
    assert answer.made is not None, "nothing ran that could have printed anything"
    return answer.made.printed


def rescue_between(first: int, last: int) -> Expectation:
    """Expect the first rescue at one of these optimizer steps."""

    def got(answer: Answer) -> str | None:
        steps = [e["step"] for e in events(answer.folder, "rescue")]
        return None if steps and first <= steps[0] <= last else f"rescues at {steps}"

    return Expectation(f"a rescue in steps {first} to {last}", got)


def no_image_excluded() -> Expectation:
    """Expect that no rescue took an image out of the training."""

    def got(answer: Answer) -> str | None:
        rescues = [e["data"] for e in events(answer.folder, "rescue")]
        images = [image for data in rescues for image in data.get("images") or ()]
        return ", ".join(images) if images else None

    return Expectation("no image excluded", got)


def events(folder: Path, kind: str) -> Iterator[dict[str, Any]]:
    """Yield the events of a kind that the run of an input has recorded."""
    file = folder / RUN / "stability" / "events.jsonl"
    for line in file.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["kind"] == kind:
            yield event
