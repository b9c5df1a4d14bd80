"""`make counts`: what a watched step does beyond a stock one, counted instead of timed.

    python tests/benchmarks/counts.py [--write]

YOLO26n, detect, imgsz 32, batch 2, on the CPU, watched with default settings; half a minute. Prints the counts of each
part of the package and how they differ from `tests/golden/counts.json`; exit code 3 if they differ so much that the
test fails. `--write` writes that file anew.

The test fails on one op or sync more in any part, and on calls or bytes that are more than 3 % above the pinned ones.
It also fails on one sync less, and on ops, calls or bytes more than 3 % below: otherwise what one change gained, a
later one could lose unseen. Less than that is shown as a hint.
"""

from __future__ import annotations

import json
import platform
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from environment import REPO, isolate, without_trackers

PINNED = REPO / "tests" / "golden" / "counts.json"
COMMAND = "make counts COUNTS_ARGS=--write"
WHOLE = "whole step, beyond stock"
STEPS = {
    2: "one of the first 50",
    66: "typical",
    68: "input statistics",
    70: "sampled",
    71: "snapshot",
    79: "rules",
}
"""The steps that are counted, and what is special about each; `SPECIAL` shows whether it is."""
SPECIAL = {
    "one of the first 50": {"sampled", "inputs"},
    "typical": set[str](),
    "input statistics": {"inputs"},
    "sampled": {"sampled"},
    "snapshot": {"snapshot"},
    "rules": {"rules"},
}
DENSE = 50
TOLERANCE = 0.03
EXACT, LOOSE = ("ops",), ("bytes", "calls")
# Small enough that every step is like the one before: what a rule or the guard does must not hang on rounding
RATE = 1e-6

Part = dict[str, Any]
Measured = dict[str, Any]


class Comparison(NamedTuple):
    """How counts differ from the pinned ones.

    Attributes:
        complaints: Differences that fail the test.
        hints: Smaller ones.
    """

    complaints: list[str]
    hints: list[str]


class Watched:
    """A trainer that is watched with default settings, and can be stepped with or without counting.

    Args:
        folder: For the run.

    Attributes:
        stock: What a step did before the run was watched.
    """

    def __init__(self, folder: Path) -> None:
        from parts import PartClock
        from stepping import Setup, Stepper

        setup = Setup(model="yolo26n.yaml", imgsz=32, batch=2)
        self._stepper = stepper = Stepper(setup, folder, PartClock())
        for group in stepper.trainer.optimizer.param_groups:
            group["lr"] = RATE
        stepper.step()
        self.stock = self._count()[0].total
        self.run = stepper.watch()

    def step(self) -> set[str]:
        """Take a step; return what was special about it."""
        with _special_work() as done:
            self._stepper.step()
        return set(done)

    def count(self) -> tuple[dict[str, Part], set[str]]:
        """Take a step; return its counts by part, and what was special about it."""
        from counting import Counts

        counter, special = self._count()
        beyond = Counts()
        beyond.add(counter.total)
        beyond.add(self.stock, -1)
        parts = {name: _as_json(counts) for name, counts in sorted(counter.parts.items())}
        whole = _as_json(beyond)
        for what in LOOSE:  # stock's bytes vary with the boxes of a batch
            whole[what] = sum(part[what] for part in parts.values())
        return {**parts, WHOLE: whole}, special

    def count_typical(self) -> dict[str, Part]:
        """Return the counts of a step about which nothing is special: of four in a row one at least."""
        for _ in range(4):
            counts, special = self.count()
            if not special:
                break
        return counts

    def close(self) -> None:
        """End the run."""
        self.run.close(self._stepper.trainer)

    def _count(self) -> tuple[Any, set[str]]:
        from counting import counting

        with _special_work() as done, counting() as counter:
            self._stepper.step()
        return counter, set(done)


@contextmanager
def _special_work() -> Iterator[Counter[str]]:
    """Note which work is done that not every step does."""
    from yolo_stability.diagnosis.live import LiveRules
    from yolo_stability.gradients.updates import UpdateSampler
    from yolo_stability.guard.snapshots import Snapshot
    from yolo_stability.trainer.step import accumulation

    done: Counter[str] = Counter()
    work: dict[str, tuple[Any, str]] = {
        "inputs": (accumulation, "input_statistics"),
        "sampled": (UpdateSampler, "before"),
        "snapshot": (Snapshot, "take"),
        "rules": (LiveRules, "ask"),
    }
    with ExitStack() as stack:
        for name, (owner, attribute) in work.items():
            noted = _noted(getattr(owner, attribute), done, name)
            stack.enter_context(patch.object(owner, attribute, noted))
        yield done


def _noted(method: Callable[..., Any], done: Counter[str], name: str) -> Callable[..., Any]:
    """Return a method that counts its calls."""

    def call(*args: Any, **kwargs: Any) -> Any:
        done[name] += 1
        return method(*args, **kwargs)

    return call


def measure(watched: Watched) -> Measured:
    """Train from the first step to the last that is counted; return the counts.

    Args:
        watched: A run that has not begun.

    Returns:
        The versions, how often special work was done, and the counts of each step in `STEPS` by part.
    """
    steps: dict[str, dict[str, Part]] = {}
    often: dict[str, Counter[str]] = {f"first {DENSE}": Counter(), "later": Counter()}
    for number in range(max(STEPS) + 1):
        if number in STEPS:
            counts, special = watched.count()
            kind = STEPS[number]
            steps[kind if special == SPECIAL[kind] else f"step {number}"] = counts
        else:
            special = watched.step()
        often["later" if number >= DENSE else f"first {DENSE}"].update(special)
    schedule = {where: dict(sorted(times.items())) for where, times in often.items()}
    return {"versions": versions(), "schedule": schedule, "steps": steps}


def versions() -> dict[str, str]:
    """Return what the counts depend on."""
    import torch
    import ultralytics

    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "torch": torch.__version__.partition("+")[0],
        "ultralytics": ultralytics.__version__,
    }


def incomparable(pinned: Measured) -> str:
    """Return why the pinned counts say nothing about the packages that are installed; empty if they do."""
    return "; ".join(
        f"counts are pinned for {package} {pinned['versions'][package]}, this is {version}"
        for package, version in versions().items()
        if package != "python" and version != pinned["versions"][package]
    )


def compare(pinned: Measured, found: Measured) -> Comparison:
    """Compare counts with the pinned ones; calls only where both are of one minor version of Python."""
    result = Comparison([], [])
    if pinned["schedule"] != found["schedule"]:
        result.complaints.append(
            f"schedule of special steps: {pinned['schedule']} -> {found['schedule']}"
        )
    with_calls = pinned["versions"]["python"] == found["versions"]["python"]
    for kind in sorted(pinned["steps"].keys() | found["steps"].keys()):
        before, after = pinned["steps"].get(kind), found["steps"].get(kind)
        if before is None or after is None:
            there = "not pinned" if before is None else "pinned, not found"
            result.complaints.append(f"{kind}: {there}")
            continue
        part = compare_step(kind, before, after, with_calls=with_calls)
        result.complaints.extend(part.complaints)
        result.hints.extend(part.hints)
    return result


def compare_step(
    kind: str, before: Mapping[str, Part], after: Mapping[str, Part], *, with_calls: bool = True
) -> Comparison:
    """Compare the parts of one step.

    Args:
        kind: What is special about the step.
        before: Its counts by part, as pinned.
        after: As found.
        with_calls: Python calls count, too.
    """
    result = Comparison([], [])
    nothing: Part = {"ops": 0, "bytes": 0, "calls": 0, "syncs": {}}
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name, nothing), after.get(name, nothing)
        for what in (*EXACT, *LOOSE):
            if old[what] == new[what] or (what == "calls" and not with_calls):
                continue
            text = f"{kind}, {name}: {what} {old[what]:,} -> {new[what]:,}"
            least, most = (1 - TOLERANCE) * old[what], (1 + TOLERANCE) * old[what]
            fails = new[what] > (old[what] if what in EXACT else most) or new[what] < least
            (result.complaints if fails else result.hints).append(text)
        for what in sorted(old["syncs"].keys() | new["syncs"].keys()):
            syncs = old["syncs"].get(what, 0), new["syncs"].get(what, 0)
            if syncs[0] != syncs[1]:
                result.complaints.append(f"{kind}, {name}: syncs ({what}) {syncs[0]} -> {syncs[1]}")
    return result


def read_pinned() -> Measured:
    """Return the pinned counts."""
    pinned: Measured = json.loads(PINNED.read_text(encoding="utf-8"))
    return pinned


def as_text(found: Measured) -> str:
    """Return counts as JSON with one line a part, for diffs that can be read."""
    steps = [
        f"  {json.dumps(kind)}: {{\n"
        + ",\n".join(f"   {json.dumps(name)}: {json.dumps(part)}" for name, part in parts.items())
        + "\n  }"
        for kind, parts in found["steps"].items()
    ]
    head = [f" {json.dumps(key)}: {json.dumps(found[key])},\n" for key in ("versions", "schedule")]
    return "".join(["{\n", *head, ' "steps": {\n', ",\n".join(steps), "\n }\n}\n"])


def table(found: Measured) -> str:
    """Return the counts as text."""
    lines = [f"special steps: {json.dumps(found['schedule'])}"]
    for kind, parts in found["steps"].items():
        lines.append(f"\n{kind:28} {'ops':>6} {'bytes':>12} {'calls':>6}  syncs")
        for name, part in parts.items():
            syncs = ", ".join(f"{what} {count}" for what, count in part["syncs"].items())
            numbers = f"{part['ops']:6} {part['bytes']:12,} {part['calls']:6}"
            lines.append(f"  {name:26} {numbers}  {syncs or '-'}")
    return "\n".join(lines)


def _as_json(counts: Any) -> Part:
    """Return counts as they are pinned."""
    syncs = {kind: count for kind, count in sorted(counts.syncs.items()) if count}
    return {"ops": counts.ops, "bytes": counts.bytes, "calls": counts.calls, "syncs": syncs}


def main(args: list[str]) -> int:
    """Count, print and compare, or write the file anew; return the exit code."""
    if args not in ([], ["--write"]):
        raise SystemExit(f"Unexpected arguments: {' '.join(args)}\n{__doc__}")
    root = isolate()
    try:
        without_trackers()
        watched = Watched(root)
        found = measure(watched)
        watched.close()
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(f"a stock step: {watched.stock.ops} ops")
    print(table(found))
    return report(found, write=bool(args))


def report(found: Measured, *, write: bool) -> int:
    """Print how counts differ from the pinned ones, and pin them if that is wanted; return the exit code."""
    complaints, hints = compare(read_pinned(), found) if PINNED.is_file() else ([], [])
    print(f"\n{PINNED.relative_to(REPO)}:")
    print(
        "\n".join([*complaints, *(f"within the limits: {hint}" for hint in hints)])
        or "no difference"
    )
    if write:
        PINNED.write_text(as_text(found), encoding="utf-8")
        print("written")
        return 0
    if not complaints:
        return 0
    print(f"If that is meant: {COMMAND}")
    return 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
