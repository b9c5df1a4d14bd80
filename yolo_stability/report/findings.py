"""The diagnosis of runs as text in reading order, for HTML and Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from yolo_stability.benchmarks.rows import RunResultRow
from yolo_stability.core.findings import Cause, Finding
from yolo_stability.core.text import clean
from yolo_stability.report.phrases import CAUSES, SIGNS

__all__ = ["Diagnosed", "FindingRow", "cause_of", "diagnosed"]

_TROUBLED = ("failed", "unstable")
_UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingRow:
    """One finding.

    Attributes:
        severity: critical, warning or info.
        what: Kind of problem, such as `exploding gradient`.
        where: Steps and block, such as `steps 3 to 9, in model.0 Conv`; empty if not applicable.
        message: Description of the finding.
        remedy: Suggested remedy; empty if there is none.
    """

    severity: str
    what: str
    where: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosed:
    """The diagnosis of a run with a sign of trouble.

    Attributes:
        seed: Seed of the run.
        verdict: Verdict of the run.
        why: Reason for the verdict.
        cause: The most likely cause, its share of the evidence, and the evidence.
        others: The same for the other causes considered.
        seen: Findings in order of time.
    """

    seed: int
    verdict: str
    why: str
    cause: str
    others: tuple[str, ...]
    seen: tuple[FindingRow, ...]


def diagnosed(runs: Sequence[RunResultRow]) -> tuple[Diagnosed, ...]:
    """Return the diagnoses of runs that failed, were unstable or had a first sign of trouble.

    Runs without any diagnosis are skipped.
    """
    troubled = (run for run in runs if run.verdict in _TROUBLED or run.onset_sign is not None)
    return tuple(_diagnosed(run) for run in troubled if run.causes or run.findings)


def cause_of(runs: Sequence[RunResultRow]) -> str:
    """Return the most frequent cause, such as `likely cause: learning rate`; empty if unknown."""
    known = Counter(run.cause for run in runs if run.cause)
    if not known:
        return ""
    cause, count = known.most_common(1)[0]
    if cause == _UNKNOWN:
        return "cause unknown"
    share = f" ({count} of {len(runs)} runs)" if count < len(runs) else ""
    return f"likely cause: {_name(cause)}{share}"


def _diagnosed(run: RunResultRow) -> Diagnosed:
    first = _cause(run.causes[0]) if run.causes else "unknown (no evidence for any cause)"
    others = (_cause(cause) for cause in run.causes[1:] if cause.name != _UNKNOWN)
    return Diagnosed(
        seed=run.seed,
        verdict=clean(run.verdict),
        why=clean(run.why),
        cause=first,
        others=tuple(others),
        seen=tuple(_seen(finding) for finding in run.findings),
    )


def _cause(cause: Cause) -> str:
    if cause.name == _UNKNOWN:
        return "unknown (too little evidence for any cause)"
    return (
        f"{_name(cause.name)} ({100 * cause.score:.0f}% of the evidence): {clean(cause.evidence)}"
    )


def _name(cause: str) -> str:
    return CAUSES.get(cause, clean(cause))


def _seen(finding: Finding) -> FindingRow:
    place = [f"in {clean(text)}" for text in (finding.block, finding.column) if text]
    resolved = f"; resolved by the {finding.resolved_by}" if finding.resolved_by else ""
    return FindingRow(
        severity=clean(finding.severity),
        what=SIGNS.get(finding.rule, clean(finding.rule)),
        where=", ".join(part for part in (_range(finding), *place) if part),
        message=clean(finding.message) + resolved,
        remedy=clean(finding.remedy),
    )


def _range(finding: Finding) -> str:
    """Return the epochs, else the steps concerned; empty without any."""
    unit, first, last = "epoch", finding.first_epoch, finding.last_epoch
    if first is None:
        unit, first, last = "step", finding.first_step, finding.last_step
    if first is None:
        return ""
    return f"{unit} {first:,}" if last in {None, first} else f"{unit}s {first:,} to {last:,}"
