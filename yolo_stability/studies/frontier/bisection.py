"""Bisection along an axis: grid of values, next probes, and edge of stability. Pure functions.

The values form a fixed grid of equal factors, so that all seeds and settings are probed at the same
values, a resumed search requests the same runs, and a full grid of the same resolution is
comparable. All functions take positions on that grid; position 0 is the end that is expected to be
stable.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

__all__ = [
    "Edge",
    "EdgeStatus",
    "Word",
    "edge_of",
    "joint_edge",
    "log_values",
    "next_probes",
    "stable_again",
    "steps_for",
]

Word = Literal["stable", "unstable", "crashed", "inconclusive"]
EdgeStatus = Literal["found", "nothing", "everything", "undecided"]

_DIGITS = 4
# undecided runs of one seed after which the search gives up
_MOST_UNDECIDED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """The edge of stability, as far as it is known.

    Attributes:
        status: `found` (between `stable` and `failing`), `nothing` is stable, `everything` is
            stable, or `undecided`.
        stable: Highest stable position below the lowest failing one; None without one.
        failing: Lowest unstable position; None without one.
    """

    status: EdgeStatus
    stable: int | None
    failing: int | None


def log_values(start: float, end: float, steps: int, *, whole: bool = False) -> tuple[float, ...]:
    """Return logarithmically spaced values from start to end, both included.

    Args:
        start: First value, above 0.
        end: Last value, above 0; may be the smaller one.
        steps: Number of factors between them.
        whole: Whether to round to whole numbers and drop duplicates.

    Examples:
        >>> log_values(1, 8, 3, whole=True)
        (1.0, 2.0, 4.0, 8.0)
    """
    raw = [start * (end / start) ** (i / steps) for i in range(1, steps)]
    inner = [float(round(v)) if whole else float(f"{v:.{_DIGITS}g}") for v in raw]
    return tuple(dict.fromkeys([float(start), *inner, float(end)]))


def whole_values(start: float, end: float, resolution: float) -> tuple[float, ...]:
    """Return whole numbers from start to end, adjacent ones at most a factor or 1 apart.

    Args:
        start: First value, 1 or more.
        end: Last value; may be the smaller one.
        resolution: Largest factor between adjacent values, above 1.

    Examples:
        >>> whole_values(8, 1, 2.0)
        (8.0, 4.0, 2.0, 1.0)
    """
    low, high = sorted((int(start), int(end)))
    found = [low]
    while found[-1] < high:
        found.append(min(high, max(found[-1] + 1, math.floor(found[-1] * resolution + 1e-9))))
    return tuple(float(v) for v in (found if start < end else reversed(found)))


def steps_for(start: float, end: float, resolution: float) -> int:
    """Return the smallest number of equal factors from start to end, none above the resolution.

    Examples:
        >>> steps_for(1.0, 1000.0, 10.0)
        3
    """
    return max(1, math.ceil(abs(math.log(end / start)) / math.log(resolution) - 1e-9))


def edge_of(known: Mapping[int, Word], last: int) -> Edge:
    """Return the edge of stability for one seed.

    Args:
        known: Verdict of each probed position.
        last: The last position.

    Examples:
        >>> edge_of({0: "stable", 2: "stable", 3: "unstable"}, last=4)
        Edge(status='found', stable=2, failing=3)
    """
    failing = min((i for i, word in known.items() if word == "unstable"), default=None)
    below = [
        i for i, word in known.items() if word == "stable" and (failing is None or i < failing)
    ]
    stable = max(below, default=None)
    if stable is None:
        status: EdgeStatus = "nothing" if known.get(0) == "unstable" else "undecided"
    elif failing is not None:
        status = "found"
    else:
        status = "everything" if stable == last else "undecided"
    return Edge(status=status, stable=stable, failing=failing)


def next_probes(known: Mapping[int, Word], last: int) -> tuple[int, ...]:
    """Return the next positions to probe; empty when the search is complete.

    Both ends come first, then the middle between stable and failing. A crashed or inconclusive run
    does not narrow the interval; it divides it, and the wider part is probed next.

    Args:
        known: Verdict of each probed position.
        last: The last position.

    Examples:
        >>> next_probes({}, last=8)
        (0, 8)
        >>> next_probes({0: "stable", 8: "unstable"}, last=8)
        (4,)
    """
    ends = tuple(i for i in dict.fromkeys((0, last)) if i not in known)
    if ends:
        return ends
    edge = edge_of(known, last)
    undecided = sum(word not in {"stable", "unstable"} for word in known.values())
    if edge.stable is None or edge.stable == last or undecided >= _MOST_UNDECIDED:
        return ()
    top = last if edge.failing is None else edge.failing
    marks = [i for i in sorted({*known, top}) if edge.stable <= i <= top]
    gap, low = max(((b - a, -a) for a, b in pairwise(marks)), default=(0, 0))
    return (-low + gap // 2,) if gap > 1 else ()


def joint_edge(edges: Sequence[Edge]) -> Edge:
    """Return the edge of stability over seeds: a position is stable if all seeds are stable there.

    Args:
        edges: One edge per seed.

    Examples:
        >>> a = Edge(status="found", stable=2, failing=3)
        >>> b = Edge(status="found", stable=4, failing=5)
        >>> joint_edge([a, b])
        Edge(status='found', stable=2, failing=3)
    """
    stables = [edge.stable for edge in edges if edge.stable is not None]
    stable = min(stables) if len(stables) == len(edges) else None
    failing = min((edge.failing for edge in edges if edge.failing is not None), default=None)
    words = {edge.status for edge in edges}
    if stable is None:
        status: EdgeStatus = "nothing" if "nothing" in words else "undecided"
    elif failing is not None:
        status = "found"
    else:
        status = "everything" if words == {"everything"} else "undecided"
    return Edge(status=status, stable=stable, failing=failing)


def stable_again(known: Mapping[int, Word]) -> tuple[int, ...]:
    """Return the stable positions beyond the first failing one; none if stability is monotone.

    Examples:
        >>> stable_again({0: "stable", 1: "unstable", 2: "stable"})
        (2,)
    """
    failing = min((i for i, word in known.items() if word == "unstable"), default=None)
    return tuple(
        i for i in sorted(known) if failing is not None and i > failing and known[i] == "stable"
    )
