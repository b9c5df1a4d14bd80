"""Summarizes the edges of a frontier in sentences."""

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
    """Summarize the edge of one setting in a sentence.

    Args:
        request: The search.
        edge: The edge of the setting, without its sentence.
        points: The runs of the setting.
    """
    describe = {
        "found": _found,
        "nothing": _nothing,
        "everything": _everything,
        "undecided": _undecided,
    }[edge.status]
    return f"{edge.label}: {describe(request, edge, points)}."


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
        "anecdotal: a single seed"
        if len(edge.seeds) == 1
        else f"{len(alike)} of {len(edge.seeds)} seeds"
    )
    parts = [sure, *_sign(edge.lowest_failing, points), *others]
    return (
        f"{extreme} {between} "
        f"({'; '.join(parts)}){_learned(edge, points)}{_again(edge)}{_gaps(edge)}"
    )


def _nothing(request: Request, edge: SettingEdge, points: Sequence[FrontierPoint]) -> str:
    first = request.values[0]
    failed = sum(seed.status == "nothing" for seed in edge.seeds)
    sign = "".join(f", {text}" for text in _sign(first, points))
    among = f"{failed} of {count(len(edge.seeds), 'seed')} failed{_anecdotal(edge)}"
    what = (
        "nothing is stable, not even"
        if failed == len(edge.seeds)
        else "not stable for every seed, even at"
    )
    return f"{what} {request.axis}={first:g} ({among}{sign}); {_further(request, 'from')}"


def _everything(request: Request, edge: SettingEdge, points: Sequence[FrontierPoint]) -> str:
    among = f"{count(len(edge.seeds), 'seed')}{_anecdotal(edge)}"
    tried = {point.value for point in points}
    between = "" if len(tried) == len(request.values) else "; only both ends were run"
    text = f"no edge: stable up to {request.axis}={request.values[-1]:g} ({among}{between})"
    return f"{text}{_learned(edge, points)}{_gaps(edge)}; {_further(request, 'to')}"


def _undecided(request: Request, edge: SettingEdge, points: Sequence[FrontierPoint]) -> str:
    known = (
        "nothing is known to be stable"
        if edge.highest_stable is None
        else f"stable up to {edge.highest_stable:g}"
    )
    silent = [p for p in points if p.verdict in {"crashed", "inconclusive"}]
    example = (
        f": {request.axis}={silent[0].value:g} {_was(silent[0])}, {silent[0].why}" if silent else ""
    )
    return (
        f"no edge found, {known}; {count(len(silent), 'run')} without a "
        f"verdict{example.rstrip('.')}"
    )


def _anecdotal(edge: SettingEdge) -> str:
    return ", anecdotal" if len(edge.seeds) == 1 else ""


def _further(request: Request, key: Literal["from", "to"]) -> str:
    down = request.values[0] > request.values[-1]
    return f"a {'larger' if down == (key == 'from') else 'smaller'} {key}= may find the edge"


def _was(point: FrontierPoint) -> str:
    return "crashed" if point.verdict == "crashed" else "was inconclusive"


def _sign(value: float, points: Iterable[FrontierPoint]) -> list[str]:
    """Return the first sign at a value, for the lowest seed that failed there."""
    failed = [p for p in points if p.value == value and p.verdict == "unstable"]
    if not failed:
        return []
    point = min(failed, key=lambda p: p.seed)
    if point.onset_sign is None:
        return [f"ended at {value:g}: {point.why}"]
    return [f"at {value:g} {point.onset_sign.replace('_', ' ')} from step {point.onset_step}"]


def _learned(edge: SettingEdge, points: Sequence[FrontierPoint]) -> str:
    """Return the mean mAP50 at the first and last stable value: stable runs may learn little."""
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
    seed = f", seed {min(seeds)}" if len(seeds) == 1 < len(edge.seeds) else ""
    return f"; mAP50 {', '.join(means)}{seed}"


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
