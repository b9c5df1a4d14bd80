"""Explains rules and causes: what they see or mean, thresholds, a picture, what to try."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from yolo_stability.core.docstrings import attribute_texts, prose_of
from yolo_stability.core.errors import ConfigError, printable
from yolo_stability.core.findings import Finding
from yolo_stability.core.json_values import finite_json
from yolo_stability.core.suggestions import unknown
from yolo_stability.core.text import brief, setting
from yolo_stability.diagnosis.advice import NOT_MEASURED, advice, measured_optimizers
from yolo_stability.diagnosis.base import Rule
from yolo_stability.diagnosis.cause_descriptions import CAUSE_DESCRIPTIONS, CauseDescription
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.example_series import example_curve
from yolo_stability.diagnosis.examples import example_header
from yolo_stability.diagnosis.rules import RULES
from yolo_stability.display.example_curve import ExampleCurve
from yolo_stability.display.paragraphs import bullet_lines, needs_ascii, wrapped_lines
from yolo_stability.display.text_chart import chart_legend, chart_lines
from yolo_stability.trace.arrays import RunSeries

__all__ = [
    "CauseExplanation",
    "RuleExplanation",
    "Threshold",
    "explain",
    "reported",
    "rule_names_of",
]

_NARROWEST = 60  # a command is never broken


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """One threshold of a rule.

    Attributes:
        name: Name of the field.
        value: Its default, a number.
        meaning: What it is, in which unit, and why it has that value.
    """

    name: str
    value: Any
    meaning: str

    def __str__(self) -> str:
        return f"{self.name} = {self.text}: {self.meaning}"

    @property
    def text(self) -> str:
        """The value, as a sentence has it."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            return setting(self.value)
        return brief(self.value, 6 if float(self.value).is_integer() else 3)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RuleExplanation:
    """A rule, explained.

    Attributes:
        name: Name of the rule.
        sign: What it finds, as a phrase.
        prose: Paragraphs: what it sees, then how severe that is.
        thresholds: Its thresholds, in the order of the rule.
        example: Description of the example run.
        findings: What the rule reports on it.
        curve: The series of the example that shows it; None for a rule that reads only settings.
        remedies: What to try.
        supports: Causes that it points to.
        source: Name and version of the package that the rule comes from; None for this package.
    """

    name: str
    sign: str
    prose: tuple[str, ...]
    thresholds: tuple[Threshold, ...]
    example: str
    findings: tuple[Finding, ...]
    curve: ExampleCurve | None
    remedies: tuple[str, ...]
    supports: tuple[str, ...]
    source: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the explanation for strict JSON."""
        curve = self.curve
        drawn = None if curve is None else {
            "quantity": curve.quantity,
            "axis": curve.axis,
            "places": curve.places.tolist(),
            "values": curve.values.tolist(),
            "healthy": None if curve.healthy is None else curve.healthy.tolist(),
            "fired": curve.fired.tolist(),
        }  # fmt: skip
        content = {
            "kind": "rule",
            "name": self.name,
            "sign": self.sign,
            "description": self.prose,
            "thresholds": [dataclasses.asdict(t) for t in self.thresholds],
            "example": {
                "description": self.example,
                "findings": [dataclasses.asdict(f) for f in self.findings],
                "curve": drawn,
            },
            "remedies": self.remedies,
            "causes": self.supports,
            "package": self.source,
        }
        return dict(finite_json(content))

    def lines(self, width: int = 80, *, plain: bool | None = None) -> list[str]:
        """Return the explanation as lines of text for a terminal.

        Args:
            width: Maximum number of columns.
            plain: Whether to draw with ASCII characters only; None to follow the encoding of
                stdout.
        """
        width = max(width, _NARROWEST)
        repeats = any(text.startswith(self.sign) for text in self.prose[:1])
        lines = [*wrapped_lines(f"{self.name}, a rule{'' if repeats else f': {self.sign}'}", width)]
        for paragraph in self.prose:
            lines += ["", *wrapped_lines(paragraph, width)]
        lines += ["", "Example", *wrapped_lines(self.example, width, "  ")]
        if self.curve is not None:
            plain = needs_ascii() if plain is None else plain
            chart = chart_lines(self.curve, min(width, 80) - 2, plain=plain)
            lines += ["", *(f"  {line}".rstrip() for line in chart)]
            lines += ["", *wrapped_lines(chart_legend(self.curve), width, "  ")]
        for finding in self.findings:
            lines += wrapped_lines(reported(finding), width, "  ", "    ")
        lines += ["", "What to try", *bullet_lines(self.remedies or (_NO_REMEDY,), width)]
        if self.thresholds:
            lines += ["", "Thresholds, with their reasons"]
        for threshold in self.thresholds:
            lines += wrapped_lines(str(threshold), width, "  ", "    ")
        return [*lines, "", *self._ending(width)]

    def _ending(self, width: int) -> Iterator[str]:
        """Yield the lines about causes and documentation."""
        if self.supports:
            yield from wrapped_lines(f"Points to: {', '.join(self.supports)}", width, "", "  ")
            yield f"More:      yolo-stability explain {self.supports[0]}"
        else:
            yield "Points to: no cause by itself"
        yield (
            f"Package:   {printable(self.source)}"
            if self.source
            else f"Docs:      Reference > Rules > {self.name}"
        )

    def __repr__(self) -> str:
        return f"<RuleExplanation '{self.name}': {self.sign}>"

    def __str__(self) -> str:
        return "\n".join(self.lines())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CauseExplanation:
    """A cause, explained.

    Attributes:
        description: Name, meaning, evidence and remedies.
        measured: What helped in measured runs, by optimizer; empty if nothing was measured.
        rules: Rules that point to it.
    """

    description: CauseDescription
    measured: Mapping[str, str]
    rules: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the cause."""
        return self.description.name

    def to_json(self) -> dict[str, Any]:
        """Return the explanation for strict JSON."""
        content = dataclasses.asdict(self.description)
        content |= {"measured": self.measured, "rules": self.rules}
        return dict(finite_json({"kind": "cause", **content}))

    def lines(self, width: int = 80) -> list[str]:
        """Return the explanation as lines of text for a terminal.

        Args:
            width: Maximum number of columns.
        """
        about, width = self.description, max(width, _NARROWEST)
        lines = [*wrapped_lines(f"{about.name}, a cause{_more(about)}", width), ""]
        lines += wrapped_lines(about.meaning, width)
        lines += ["", "What points to it", *bullet_lines(about.points_to, width)]
        lines += ["", "What to try", *bullet_lines(about.remedies, width)]
        lines += ["", "What helped in measured runs"]
        lines[-1] += " (in brackets 95 % intervals)" if self.measured else ""
        texts = [f"{optimizer}: {text}" for optimizer, text in self.measured.items()]
        lines += bullet_lines(texts or (NOT_MEASURED,), width)
        if self.rules:
            lines += ["", *wrapped_lines(f"Rules: {', '.join(self.rules)}", width, "", "  ")]
            lines += ["More:  yolo-stability explain RULE, for one of these"]
        else:
            lines += ["", "Rules: none points to it by itself"]
        return [*lines, f"Docs:  Reference > Causes > {about.name}"]

    def __repr__(self) -> str:
        return f"<CauseExplanation '{self.name}'>"

    def __str__(self) -> str:
        return "\n".join(self.lines())


def explain(name: str) -> RuleExplanation | CauseExplanation:
    """Explain a rule or a cause.

    Args:
        name: Name of a rule or cause, as in a diagnosis.

    Returns:
        What it sees or means, with `lines()` for a terminal and `to_json()`.

    Raises:
        ConfigError: There is no rule or cause of that name.

    Example:
        >>> explain("data").rules
        ('input_range', 'no_match', 'noise', 'non_finite', 'spike')
        >>> explain("spike").supports
        ('data', 'numeric_range', 'learning_rate')
    """
    if name in CAUSE_DESCRIPTIONS:
        measured = {o: advice(name, o) for o in measured_optimizers(name)}
        return CauseExplanation(
            description=CAUSE_DESCRIPTIONS[name], measured=measured, rules=rule_names_of(name)
        )
    if name in RULES.names:
        return _explained(RULES[name], RULES.source(name))
    hint = unknown("rule or cause", printable(name), [*RULES, *CAUSE_DESCRIPTIONS])
    raise ConfigError(f"{hint} 'yolo-stability explain' lists all.")


def reported(finding: Finding) -> str:
    """Return a finding as one line: severity, steps or epochs, message.

    Args:
        finding: The finding.

    Example:
        >>> reported(Finding(rule="noise", severity="warning", message="it changes", first_step=3))
        'warning at step 3: it changes'
    """
    when = finding.when()
    if finding.first_epoch is not None:
        first, last = finding.first_epoch, finding.last_epoch or finding.first_epoch
        when = f"epoch {first}" if first == last else f"epochs {first}-{last}"
    return f"{' at '.join(part for part in (finding.severity, when) if part)}: {finding.message}"


def rule_names_of(cause: str) -> tuple[str, ...]:
    """Return the rules that point to a cause; rules that cannot be imported are skipped.

    Args:
        cause: Name of a cause.
    """
    found = []
    for name in RULES:
        try:
            found += [name] if cause in RULES[name].supports else []
        except ConfigError:  # of another package, which `diagnose` warns about
            continue
    return tuple(found)


def _explained(rule: type[Rule], source: str | None) -> RuleExplanation:
    """Return the explanation of a rule, from its class and its example."""
    meanings = attribute_texts(rule)
    fields: tuple[dataclasses.Field[Any], ...] = (
        dataclasses.fields(rule) if dataclasses.is_dataclass(rule) else ()
    )
    run, findings = _on_example(rule, source)
    example = " ".join(prose_of(rule.example.__doc__)).removeprefix("Return ") or _EXAMPLE
    return RuleExplanation(
        name=rule.name(),
        sign=rule.phrase(),
        prose=tuple(rule.prose()),
        thresholds=tuple(
            Threshold(name=f.name, value=f.default, meaning=meanings.get(f.name, _NO_MEANING))
            for f in fields
        ),
        example=f"{example[:1].upper()}{example[1:]}",
        findings=findings,
        curve=example_curve(run, findings, rule.drawn),
        remedies=tuple(dict.fromkeys(f.remedy for f in findings if f.remedy)),
        supports=rule.supports,
        source=source,
    )


def _on_example(rule: type[Rule], source: str | None) -> tuple[RunSeries, tuple[Finding, ...]]:
    """Return the example of a rule and what the rule finds on it."""
    try:
        run = rule.example()
        return run, tuple(rule().look(DiagnosisContext(run, header=example_header())))
    except Exception as error:
        if source is None:
            raise
        raise ConfigError(
            f"The rule '{rule.name()}' of the package {source} fails on its own example: "
            f"{type(error).__name__}: {error}."
        ) from None


_EXAMPLE = "A run on which it fires."
_NO_MEANING = "The package of the rule does not describe it."
_NO_REMEDY = "The rule suggests nothing: the page of its cause does."


def _more(cause: CauseDescription) -> str:
    """Return the phrase of a cause, for a title; empty if it repeats the name."""
    return "" if cause.phrase == cause.name else f": {cause.phrase}"
