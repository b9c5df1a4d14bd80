"""The search: rounds of runs until all edges are found; finished runs are reused."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from yolo_stability.benchmarks.executors import Executor
from yolo_stability.benchmarks.folder import prepare_folder
from yolo_stability.benchmarks.plan import RunOutcome, RunSpec
from yolo_stability.benchmarks.runner import DECIDING, Listener, plan_run, run_missing
from yolo_stability.core.errors import printable
from yolo_stability.core.files import replace_file
from yolo_stability.core.provenance import package_versions
from yolo_stability.studies.frontier.bisection import (
    Edge,
    Word,
    edge_of,
    joint_edge,
    next_probes,
    stable_again,
)
from yolo_stability.studies.frontier.request import Request
from yolo_stability.studies.frontier.result import (
    FRONTIER_FILE,
    FrontierPoint,
    FrontierResult,
    SeedEdge,
    SettingEdge,
)
from yolo_stability.studies.frontier.sentences import sentence
from yolo_stability.studies.frontier.stability import RunAssessment, assess_run
from yolo_stability.trace import lock_folder, unlock_folder

__all__ = ["find_edges"]

Assess = Callable[[RunSpec, RunOutcome, Path], RunAssessment]
Round = Callable[[], AbstractContextManager[Listener]]
Chain = tuple[int, int]  # index of a setting in the request, and seed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Probe:
    """A requested run, with its chain and its position on the axis."""

    chain: Chain
    place: int
    spec: RunSpec


def find_edges(
    request: Request,
    out: Path,
    place: Executor,
    round_of: Round,
    *,
    command: str = "",
    assess: Assess = assess_run,
    clock: Callable[[], float] = time.monotonic,
) -> FrontierResult:
    """Find the edges of stability, writing `frontier.json` after every round.

    Each setting and seed is bisected on its own; the runs of a round are executed together.

    Args:
        request: The search.
        out: Output folder.
        place: The executor.
        round_of: Returns a context manager with the listener of a round.
        command: The command line.
        assess: Classifies a run that has ended.
        clock: Returns seconds.

    Raises:
        ConfigError: `out` contains something else.
        StabilityError: `out` cannot be created, or another search is running there.
    """
    prepare_folder(out, FRONTIER_FILE, "frontier")
    if note := lock_folder(out, shown=out, option="out"):
        print(f"stability: {printable(note)}", file=sys.stderr)
    began = clock()
    points: dict[tuple[Chain, int], FrontierPoint] = {}
    try:
        result = _result(request, points, out, command, complete=False)
        # marks the folder; results of an earlier search are kept for now
        if not (out / FRONTIER_FILE).exists():
            replace_file(out / FRONTIER_FILE, result.text().encode())
        while probes := _wanted(request, points):
            specs = [probe.spec for probe in probes]
            with round_of() as listener:
                outcomes, ran = run_missing(place, specs, out, listener)
            for probe in probes:
                outcome = outcomes[probe.spec.place]
                points[probe.chain, probe.place] = _point(
                    request, probe, outcome, assess(probe.spec, outcome, out)
                )
                _drop_weights(out / probe.spec.folder)
            result = _result(request, points, out, command, complete=False)
            # without new runs the file on disk is up to date and may be complete
            if ran:
                replace_file(out / FRONTIER_FILE, result.text().encode())
        cost = {**result.cost, "sitting_seconds": round(clock() - began, 1)}
        result = replace(result, complete=True, cost=cost)
        replace_file(out / FRONTIER_FILE, result.text().encode())
    finally:
        unlock_folder(out)
    return result


def _drop_weights(run: Path) -> None:
    """Delete the checkpoints of an assessed run (16 MB per run): nothing reads them."""
    for file in (*run.glob("weights/*.pt"), run / "stability" / "healthy.pt"):
        with suppress(OSError):
            file.unlink(missing_ok=True)


def _chains(request: Request) -> Iterator[Chain]:
    """Yield all settings per seed, so that an interrupted search has complete comparisons."""
    for seed in request.seeds:
        for i in range(len(request.settings)):
            yield i, seed


def _known(points: Mapping[tuple[Chain, int], FrontierPoint], chain: Chain) -> dict[int, Word]:
    """Return the verdicts of the probed positions of a chain."""
    return {place: point.verdict for (owner, place), point in points.items() if owner == chain}


def _wanted(request: Request, points: Mapping[tuple[Chain, int], FrontierPoint]) -> list[_Probe]:
    """Return the runs of the next round."""
    last = len(request.values) - 1
    versions = {k: v for k, v in package_versions().items() if k in DECIDING}
    probes = []
    for chain in _chains(request):
        known = _known(points, chain)
        if request.mode == "grid":
            places: Sequence[int] = [i for i in range(last + 1) if i not in known]
        else:
            places = next_probes(known, last)
        probes += [
            _Probe(chain=chain, place=i, spec=_spec(request, chain, i, versions)) for i in places
        ]
    return probes


def _spec(request: Request, chain: Chain, place: int, versions: Mapping[str, str]) -> RunSpec:
    """Return the specification of one run for the executor."""
    setting, seed = request.settings[chain[0]], chain[1]
    return plan_run(
        f"{setting.name}/{request.axis}-{request.values[place]:g}",
        request.task,
        seed,
        request.arguments(setting, place, seed),
        limits=request.limits,
        versions=versions,
    )


def _point(
    request: Request, probe: _Probe, outcome: RunOutcome, assessment: RunAssessment
) -> FrontierPoint:
    """Return the point of a run for the result."""
    return FrontierPoint(
        setting=request.settings[probe.chain[0]].name,
        value=request.values[probe.place],
        seed=probe.chain[1],
        outcome=outcome.outcome,
        seconds=outcome.seconds.get("total", 0.0),
        folder=probe.spec.place,
        **asdict(assessment),
    )


def _result(
    request: Request,
    points: Mapping[tuple[Chain, int], FrontierPoint],
    out: Path,
    command: str,
    *,
    complete: bool,
) -> FrontierResult:
    """Return the result so far."""
    ordered = sorted(points, key=lambda key: (key[0], key[1]))
    return FrontierResult(
        axis=request.axis,
        mode=request.mode,
        task=request.task,
        recipe=request.recipe,
        values=request.values,
        resolution=request.resolution,
        seeds=request.seeds,
        complete=complete,
        points=tuple(points[key] for key in ordered),
        edges=tuple(_edge(request, i, points) for i in range(len(request.settings)))
        if points
        else (),
        cost=_cost(request, points),
        versions=package_versions(),
        command=command,
        folder=out,
    )


def _edge(
    request: Request, i: int, points: Mapping[tuple[Chain, int], FrontierPoint]
) -> SettingEdge:
    """Return the edge of stability of a setting over its seeds."""
    setting, last = request.settings[i], len(request.values) - 1
    knowns = [_known(points, (i, seed)) for seed in request.seeds]
    edges = [edge_of(known, last) for known in knowns]
    seeds = tuple(map(lambda *a: _seed_edge(request, *a), request.seeds, knowns, edges))
    joint = joint_edge(edges)
    failing = [edge.failing for edge in edges]
    found = [edge for edge in edges if edge.status == "found"]
    asked = [seed.monotone for seed in seeds if seed.monotone is not None]
    bare = SettingEdge(
        setting=setting.name,
        label=setting.label,
        overrides=setting.overrides,
        status=joint.status,
        highest_stable=_value(request, joint.stable),
        lowest_failing=_value(request, joint.failing),
        all_failing=None
        if None in failing
        else _value(request, max(f for f in failing if f is not None)),
        agree=_agree(found) if len(found) == len(edges) else None,
        monotone=all(asked) if asked else None,
        seeds=seeds,
        sentence="",
    )
    own = [
        points[key] for key in sorted(points, key=lambda key: (key[1], key[0])) if key[0][0] == i
    ]
    return replace(bare, sentence=sentence(request, bare, own))


def _agree(found: Sequence[Edge]) -> bool:
    """Return whether the edges are within one step of each other, from below and from above."""
    sides = ([e.stable or 0 for e in found], [e.failing or 0 for e in found])
    return all(max(side) - min(side) <= 1 for side in sides)


def _seed_edge(request: Request, seed: int, known: Mapping[int, Word], edge: Edge) -> SeedEdge:
    """Return the edge of stability of one seed."""
    again = stable_again(known)
    undecided = [i for i in sorted(known) if known[i] not in {"stable", "unstable"}]
    return SeedEdge(
        seed=seed,
        status=edge.status,
        highest_stable=_value(request, edge.stable),
        lowest_failing=_value(request, edge.failing),
        undecided=tuple(request.values[i] for i in undecided),
        stable_again=tuple(request.values[i] for i in again),
        # bisection never probes beyond a failure
        monotone=not again if request.mode == "grid" else None,
    )


def _value(request: Request, place: int | None) -> float | None:
    return None if place is None else request.values[place]


def _cost(request: Request, points: Mapping[tuple[Chain, int], FrontierPoint]) -> dict[str, Any]:
    """Return the number of runs and seconds of both modes."""
    cost: dict[str, Any] = {
        "runs": len(points),
        "seconds": round(sum(point.seconds for point in points.values()), 1),
    }
    if request.mode == "bisection":
        return {
            **cost,
            "grid_runs": len(request.values) * len(request.settings) * len(request.seeds),
        }
    runs, seconds, same = 0, 0.0, True
    for chain in _chains(request):
        every = _known(points, chain)
        if len(every) < len(request.values):
            return cost
        probed = _replayed(every)
        runs += len(probed)
        seconds += sum(points[chain, place].seconds for place in probed)
        same = same and edge_of(probed, len(every) - 1) == edge_of(every, len(every) - 1)
    return {
        **cost,
        "bisection_runs": runs,
        "bisection_seconds": round(seconds, 1),
        "bisection_same_edges": same,
    }


def _replayed(every: Mapping[int, Word]) -> dict[int, Word]:
    """Return the positions that bisection would have probed, given all verdicts."""
    probed: dict[int, Word] = {}
    while places := next_probes(probed, len(every) - 1):
        probed |= {place: every[place] for place in places}
    return probed
