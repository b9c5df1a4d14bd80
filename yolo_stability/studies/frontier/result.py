"""The result of a frontier: the content of `frontier.json`. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from yolo_stability.core import views
from yolo_stability.core.json_values import finite_json
from yolo_stability.core.text import count
from yolo_stability.studies.frontier.bisection import EdgeStatus, Word

__all__ = [
    "FRONTIER_FILE",
    "FRONTIER_PICTURE",
    "SCHEMA_VERSION",
    "FrontierPoint",
    "FrontierResult",
    "SeedEdge",
    "SettingEdge",
    "cost_line",
    "edge_text",
    "head_line",
]

SCHEMA_VERSION = 1
FRONTIER_FILE, FRONTIER_PICTURE = "frontier.json", "frontier.png"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontierPoint:
    """One run and its verdict.

    Attributes:
        setting: Name of its setting.
        value: Value of the axis.
        seed: Its seed.
        verdict: stable, unstable, crashed or inconclusive; see
            `studies.frontier.stability.RunAssessment`.
        outcome: How its process ended: finished, stopped, crashed, timeout, memory or killed.
        why: Reason for the verdict, one sentence.
        diagnosis: Verdict of the diagnosis, which includes warnings.
        onset_step: Step of the first critical finding; None without one.
        onset_sign: Rule of that finding.
        onset_block: Block of that finding.
        steps: Recorded optimizer steps.
        fitness: Final mAP50 of the task; None if unknown.
        seconds: Wall time of the run.
        folder: Run folder, relative to the folder of the frontier.
    """

    setting: str
    value: float
    seed: int
    verdict: Word
    outcome: str
    why: str
    diagnosis: str
    onset_step: int | None
    onset_sign: str | None
    onset_block: str | None
    steps: int
    fitness: float | None
    seconds: float
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedEdge:
    """The edge of stability of one setting and seed.

    Attributes:
        seed: The seed.
        status: found, nothing, everything or undecided.
        highest_stable: The last stable value before the first failing one; None without one.
        lowest_failing: The first failing value; None without one.
        undecided: Values at which a run crashed or was inconclusive.
        stable_again: Stable values beyond the first failing one.
        monotone: Whether there are no such values; None for a bisection, which assumes it.
    """

    seed: int
    status: EdgeStatus
    highest_stable: float | None
    lowest_failing: float | None
    undecided: tuple[float, ...]
    stable_again: tuple[float, ...]
    monotone: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingEdge:
    """The edge of stability of one setting: a value is stable if the runs of all seeds are.

    Attributes:
        setting: Name of the setting.
        label: Label for people.
        overrides: The keys that distinguish it from other settings.
        status: found, nothing, everything or undecided.
        highest_stable: The last value that is stable for all seeds, before the first that fails for
            one; a bisection assumes that a seed is stable below its last stable value.
        lowest_failing: The first value that fails for one seed.
        all_failing: The first value that fails for every seed; None if a seed never failed.
        agree: Whether the edges of all seeds are within one step of each other; None unless each
            seed has an edge.
        monotone: Whether no seed was stable again beyond its first failure; None for a bisection.
        seeds: The edges of the seeds.
        sentence: Summary in one sentence.
    """

    setting: str
    label: str
    overrides: Mapping[str, Any]
    status: EdgeStatus
    highest_stable: float | None
    lowest_failing: float | None
    all_failing: float | None
    agree: bool | None
    monotone: bool | None
    seeds: tuple[SeedEdge, ...]
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontierResult:
    """The result of a frontier.

    Attributes:
        schema_version: Schema version of `frontier.json`.
        axis: The key that was varied.
        mode: `bisection`, or `grid` for every value.
        task: detect or pose.
        recipe: The keys that all runs share.
        values: The values that may be probed, stable end first.
        resolution: The requested largest factor between adjacent values; None for a full grid.
        seeds: Seeds of the runs.
        complete: Whether the search completed; False if it was interrupted.
        points: All runs.
        edges: The edge of stability of each setting.
        cost: `runs` and their `seconds`, and the cost of the other mode: for a bisection
            `grid_runs`, for a grid `bisection_runs`, `bisection_seconds` and whether it would have
            found the same edges.
        versions: Versions of the libraries used.
        command: The command line; empty from Python.
        folder: Output folder; not part of the file.
    """

    schema_version: int = SCHEMA_VERSION
    axis: str
    mode: str
    task: str
    recipe: Mapping[str, Any]
    values: tuple[float, ...]
    resolution: float | None
    seeds: tuple[int, ...]
    complete: bool
    points: tuple[FrontierPoint, ...]
    edges: tuple[SettingEdge, ...]
    cost: Mapping[str, Any]
    versions: Mapping[str, str]
    command: str
    folder: Path

    @property
    def open(self) -> tuple[SettingEdge, ...]:
        """Settings without an edge."""
        return tuple(edge for edge in self.edges if edge.status != "found")

    @property
    def lost(self) -> tuple[FrontierPoint, ...]:
        """Runs that were killed from outside; repeating the call runs them again."""
        return tuple(point for point in self.points if point.outcome == "killed")

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        content: dict[str, Any] = json.loads(self.text())
        return {**content, "folder": str(self.folder)}

    def text(self) -> str:
        """Return the content of `frontier.json`, deterministic and without NaN or Inf."""
        content = {k: v for k, v in asdict(self).items() if k != "folder"}
        return (
            json.dumps(finite_json(content), indent=1, sort_keys=True, allow_nan=False, default=str)
            + "\n"
        )

    def __repr__(self) -> str:
        state = "complete" if self.complete else "incomplete"
        return (
            f"<FrontierResult '{self.axis}': settings {len(self.edges)}, runs {len(self.points)}, "
            f"{state}>"
        )

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        """Return the notebook view."""
        return views.html(self)

    def lines(self) -> list[str]:
        """Return the lines for the terminal."""
        edges = [f"- {edge.sentence}" for edge in self.edges]
        lost = [
            f"- lost: {p.setting}, {self.axis}={p.value:g}, seed {p.seed}: {p.why}"
            for p in self.lost
        ]
        places = [
            f"picture: {self.folder / FRONTIER_PICTURE}",
            f"figures: {self.folder / FRONTIER_FILE}",
        ]
        return [head_line(self), *edges, *lost, cost_line(self), *places]


def edge_text(edge: SettingEdge | SeedEdge) -> str:
    """Return a short text of an edge, such as `10 to 14.68`."""
    low, high = edge.highest_stable, edge.lowest_failing
    if edge.status == "nothing":
        return "nothing stable"
    if edge.status == "everything" and low is not None:
        return f"stable up to {low:g}"
    if edge.status == "undecided" or low is None or high is None:
        return "undecided" if low is None else f"{low:g}, then undecided"
    return f"{low:g} to {high:g}"


def head_line(result: FrontierResult) -> str:
    """Return the heading: axis, ends, model, data, seeds and mode."""
    models = dict.fromkeys(
        str(e.overrides.get("model", result.recipe["model"])) for e in result.edges
    )
    named = ", ".join(Path(model).stem for model in models)
    how = "bisection" if result.mode == "bisection" else f"a grid of {len(result.values)} values"
    ends = f"{result.axis} from {result.values[0]:g} to {result.values[-1]:g}"
    return f"{ends}: {named} on {result.recipe['data']}, {count(len(result.seeds), 'seed')}, {how}"


def cost_line(result: FrontierResult) -> str:
    """Return the cost, and the cost of the other mode."""
    cost = result.cost
    runs, seconds = cost["runs"], cost["seconds"]
    text = f"cost: {count(runs, 'run')}, {seconds:.0f} s"
    if not runs:
        return text
    if "grid_runs" in cost:
        if cost["grid_runs"] == runs:
            return f"{text}; a full grid takes the same number of runs"
        factor = f"{cost['grid_runs'] / runs:.1f} times as many"
        return f"{text}; a full grid would take {cost['grid_runs']} runs, {factor}"
    if "bisection_runs" in cost:
        again = any(seed.stable_again for edge in result.edges for seed in edge.seeds)
        why = "stability is not monotone" if again else "runs crashed or were inconclusive"
        same = "the same edges" if cost["bisection_same_edges"] else f"other edges, because {why}"
        part = (
            f"{count(cost['bisection_runs'], 'run')} and {cost['bisection_seconds']:.0f} s of these"
        )
        return f"{text}; bisection would have needed {part}, and found {same}"
    return text
