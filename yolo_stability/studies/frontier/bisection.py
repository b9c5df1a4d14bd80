"""Bisection along an axis: its values, what to probe next, where stability ends; pure, standard library only.

Values lie on a fixed grid of equal factors, so that seeds and settings are probed at the same values, a search that is
taken up again asks for the same runs, and a plain grid of the same resolution can be compared with it. All functions
speak of positions on that grid: 0 is the end that is expected to be stable.
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
# runs of one seed that said nothing, after which more of them are not worth their time
_MOST_UNDECIDED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """Where stability ends, as far as it is known.

    Attributes:
        status: `found` (between `stable` and `failing`), `nothing` is stable, `everything` is, or `undecided`.
        stable: Highest stable position below the lowest failing one; None without any.
        failing: Lowest unstable position; None without any.
    """

    status: EdgeStatus
    stable: int | None
    failing: int | None


def log_values(start: float, end: float, steps: int, *, whole: bool = False) -> tuple[float, ...]:
    """Return values of equal factors from start to end, both included.

    Args:
        start: First value, above 0.
        end: Last value, above 0; may be the smaller one.
        steps: Factors between them.
        whole: Round to whole numbers; those that coincide are there once.
    """
    raw = [start * (end / start) ** (i / steps) for i in range(1, steps)]
    inner = [float(round(v)) if whole else float(f"{v:.{_DIGITS}g}") for v in raw]
    return tuple(dict.fromkeys([float(start), *inner, float(end)]))


def whole_values(start: float, end: float, resolution: float) -> tuple[float, ...]:
    """Return whole numbers from start to end, neighbours at most a factor of `resolution` or 1 apart.

    Args:
        start: First value, 1 or more.
        end: Last value; may be the smaller one.
        resolution: Above 1.
    """
    low, high = sorted((int(start), int(end)))
    found = [low]
    while found[-1] < high:
        found.append(min(high, max(found[-1] + 1, math.floor(found[-1] * resolution + 1e-9))))
    return tuple(float(v) for v in (found if start < end else reversed(found)))


def steps_for(start: float, end: float, resolution: float) -> int:
    """Return into how many equal factors the way from start to end must be cut for none to exceed the resolution."""
    return max(1, math.ceil(abs(math.log(end / start)) / math.log(resolution) - 1e-9))


def edge_of(known: Mapping[int, Word], last: int) -> Edge:
    """Return where stability ends for one seed.

    Args:
        known: What each probed position came to.
        last: The last position.
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
    """Return which positions to probe next: both ends, then the middle between stable and failing; () at the end.

    A run that crashed or was inconclusive narrows nothing; it only parts what is left, and the wider part is next.

    Args:
        known: What each probed position came to.
        last: The last position.
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
    """Return where stability ends over seeds: a position is stable when all of them are stable there.

    Args:
        edges: One for each seed.
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
    """Return the stable positions beyond a failing one: without any, stability is monotone as far as it was probed."""
    failing = min((i for i, word in known.items() if word == "unstable"), default=None)
    return tuple(
        i for i in sorted(known) if failing is not None and i > failing and known[i] == "stable"
    )
