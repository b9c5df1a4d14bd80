"""What the diagnosis of a run says, as texts in the order of reading; HTML and Markdown show the same."""

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
        what: Kind of trouble, such as `an exploding gradient`.
        where: Steps and block, such as `steps 3 to 9, in model.0 Conv`; empty where it concerns none.
        message: What was seen.
        remedy: What to try; empty where there is nothing to do.
    """

    severity: str
    what: str
    where: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosed:
    """A run with trouble.

    Attributes:
        seed: Its seed.
        verdict: failed or unstable.
        why: What the verdict rests on.
        cause: The most likely cause with its share of the evidence and what speaks for it.
        others: The same of other causes that were considered.
        seen: Findings in time.
    """

    seed: int
    verdict: str
    why: str
    cause: str
    others: tuple[str, ...]
    seen: tuple[FindingRow, ...]


def diagnosed(runs: Sequence[RunResultRow]) -> tuple[Diagnosed, ...]:
    """Return what is known of each run with trouble; runs of which nothing is known, as of old files, are left out."""
    return tuple(
        _diagnosed(run) for run in runs if run.verdict in _TROUBLED and (run.causes or run.findings)
    )


def cause_of(runs: Sequence[RunResultRow]) -> str:
    """Name the most frequent cause of runs, such as `likely cause: learning rate`; empty where none is known."""
    known = Counter(run.cause for run in runs if run.cause)
    if not known:
        return ""
    cause, count = known.most_common(1)[0]
    if cause == _UNKNOWN:
        return "cause unknown"
    share = f" ({count} of {len(runs)} runs)" if count < len(runs) else ""
    return f"likely cause: {_name(cause)}{share}"


def _diagnosed(run: RunResultRow) -> Diagnosed:
    first = _cause(run.causes[0]) if run.causes else "unknown, since nothing speaks for any"
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
        return "unknown, since too little speaks for any"
    return (
        f"{_name(cause.name)} ({100 * cause.score:.0f}% of the evidence): {clean(cause.evidence)}"
    )


def _name(cause: str) -> str:
    return CAUSES.get(cause, clean(cause))


def _seen(finding: Finding) -> FindingRow:
    block = f"in {clean(finding.block)}" if finding.block else ""
    return FindingRow(
        severity=clean(finding.severity),
        what=SIGNS.get(finding.rule, clean(finding.rule)),
        where=", ".join(part for part in (_step_range(finding), block) if part),
        message=clean(finding.message),
        remedy=clean(finding.remedy),
    )


def _step_range(finding: Finding) -> str:
    first, last = finding.first_step, finding.last_step
    if first is None:
        return ""
    return f"step {first:,}" if last is None or last == first else f"steps {first:,} to {last:,}"
