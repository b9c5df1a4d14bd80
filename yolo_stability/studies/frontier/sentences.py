"""A frontier in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from yolo_stability.core.text import count
from yolo_stability.studies.frontier.result import (
    FrontierPoint,
    SettingEdge,
    edge_text,
)

if TYPE_CHECKING:
    from yolo_stability.studies.frontier.request import Request

__all__ = ["sentence"]


def sentence(request: Request, edge: SettingEdge, points: Sequence[FrontierPoint]) -> str:
    """Say where stability ends for one setting.

    Args:
        request: What was asked.
        edge: Its edge, still without a sentence.
        points: Its runs.
    """
    tell = {
        "found": _found,
        "nothing": _nothing,
        "everything": _everything,
        "undecided": _undecided,
    }[edge.status]
    return f"{edge.label}: {tell(request, edge, points)}."


def _found(request: Request, edge: SettingEdge, points: Sequence[FrontierPoint]) -> str:
    assert edge.highest_stable is not None
    assert edge.lowest_failing is not None
    down = request.values[0] > request.values[-1]
    extreme = f"the {'smallest' if down else 'largest'} stable {request.axis}"
    low, high = sorted((edge.highest_stable, edge.lowest_failing))
    between = f"is between {low:g} and {high:g}"
    if request.whole and high - low == 1:
        between = f"is {edge.highest_stable:g}, and {edge.lowest_failing:g} fails"
    alike = [seed for seed in edge.seeds if edge_text(seed) == edge_text(edge)]
    others = [f"seed {seed.seed}: {edge_text(seed)}" for seed in edge.seeds if seed not in alike]
    sure = (
        "one seed only: anecdotal"
        if len(edge.seeds) == 1
        else f"{len(alike)} of {len(edge.seeds)} seeds"
    )
    parts = [sure, *_sign(edge.lowest_failing, points), *others]
    return f"{extreme} {between} ({'; '.join(parts)}){_learned(edge, points)}{_again(edge)}{_gaps(edge)}"


def _nothing(request: Request, edge: SettingEdge, points: Sequence[FrontierPoint]) -> str:
    first = request.values[0]
    failed = sum(seed.status == "nothing" for seed in edge.seeds)
    sign = "".join(f", {text}" for text in _sign(first, points))
    among = f"{failed} of {count(len(edge.seeds), 'seed')} failed there{_anecdotal(edge)}"
    what = (
        "nothing is stable, not even"
        if failed == len(edge.seeds)
        else "not stable for every seed, even at"
    )
    return f"{what} {request.axis}={first:g} ({among}{sign}); {_further(request, 'from')}"


def _everything(request: Request, edge: SettingEdge, points: Sequence[FrontierPoint]) -> str:
    among = f"{count(len(edge.seeds), 'seed')}{_anecdotal(edge)}"
    tried = {point.value for point in points}
    between = (
        ""
        if len(tried) == len(request.values)
        else "; both ends are, between them nothing was tried"
    )
    text = f"no edge: stable as far as {request.axis}={request.values[-1]:g} ({among}{between})"
    return f"{text}{_learned(edge, points)}{_gaps(edge)}; {_further(request, 'to')}"


def _undecided(request: Request, edge: SettingEdge, points: Sequence[FrontierPoint]) -> str:
    known = (
        "nothing is known to be stable"
        if edge.highest_stable is None
        else f"stable up to {edge.highest_stable:g}"
    )
    silent = [p for p in points if p.verdict in {"crashed", "inconclusive"}]
    told = (
        f": {request.axis}={silent[0].value:g} {_was(silent[0])}, {silent[0].why}" if silent else ""
    )
    return (
        f"no edge can be named, {known}; {count(len(silent), 'run')} said neither{told.rstrip('.')}"
    )


def _anecdotal(edge: SettingEdge) -> str:
    return ", anecdotal" if len(edge.seeds) == 1 else ""


def _further(request: Request, key: Literal["from", "to"]) -> str:
    down = request.values[0] > request.values[-1]
    return f"a {'larger' if down == (key == 'from') else 'smaller'} {key}= may find the edge"


def _was(point: FrontierPoint) -> str:
    return "crashed" if point.verdict == "crashed" else "was inconclusive"


def _sign(value: float, points: Iterable[FrontierPoint]) -> list[str]:
    """Return what was seen first at a value, of the lowest seed that failed there."""
    failed = [p for p in points if p.value == value and p.verdict == "unstable"]
    if not failed:
        return []
    point = min(failed, key=lambda p: p.seed)
    if point.onset_sign is None:
        return [f"ended at {value:g}: {point.why}"]
    return [f"at {value:g} {point.onset_sign.replace('_', ' ')} from step {point.onset_step}"]


def _learned(edge: SettingEdge, points: Sequence[FrontierPoint]) -> str:
    """Say what runs at the last stable value learned beside those at the first, same seeds: stable is not yet good."""
    ends = dict.fromkeys(v for v in (points[0].value, edge.highest_stable) if v is not None)
    stable = [p for p in points if p.verdict == "stable" and p.fitness is not None]
    learned = {
        value: {p.seed: p.fitness or 0.0 for p in stable if p.value == value} for value in ends
    }
    seeds = set.intersection(*(set(known) for known in learned.values()))
    if not seeds:
        return ""
    means = [
        f"{sum(known[s] for s in seeds) / len(seeds):.2f} at {value:g}"
        for value, known in learned.items()
    ]
    return f"; mAP50 {', '.join(means)}{f', seed {min(seeds)}' if len(seeds) == 1 < len(edge.seeds) else ''}"


def _again(edge: SettingEdge) -> str:
    again = [
        f"seed {s.seed} is stable again at {s.stable_again[0]:g}"
        for s in edge.seeds
        if s.stable_again
    ]
    return f"; not monotone: {', '.join(again)}" if again else ""


def _gaps(edge: SettingEdge) -> str:
    values = sorted({value for seed in edge.seeds for value in seed.undecided})
    return f"; undecided at {', '.join(f'{v:g}' for v in values)}" if values else ""
