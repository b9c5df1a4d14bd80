"""Scores a rescue benchmark: share of failing runs that a rescue repairs, and its price.

A run is *failing* if without a remedy it reaches less than 0.9 of the fitness of the healthy run
with the same seed, or does not complete. It is *repairable* if at least one remedy, applied
manually at the onset (the arms that always use the same one), reaches 0.9. The scores are the
shares of repairable runs that `rescue=auto` repairs, and that a random choice among the same
remedies with the same budget repairs, all on the same seeds. The random choice may have been tried
on fewer runs.

Different causes with the same seed start with the same weights and see the same images in the same
order, so they are not independent. Therefore the bootstrap draws whole seeds with all their cases,
and single runs only for fewer than three seeds. The results are written to `rescue.json` and
`rescue.md`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from yolo_stability.benchmarks.arms import SIGN
from yolo_stability.benchmarks.fitness import fitness_of
from yolo_stability.benchmarks.results import BenchmarkResult
from yolo_stability.benchmarks.rows import Interval, RunResultRow
from yolo_stability.benchmarks.statistics import clustered, wilson
from yolo_stability.core.files import replace_file
from yolo_stability.studies.rescue_rate.result import CauseCount, Drawn, RescueResult

__all__ = ["LEARNT", "RESCUE_JSON", "SHARE", "score_rescues", "score_runs", "write_rescues"]

RESCUE_JSON = "rescue.json"
_VERSION = 2
AUTO, RANDOM = "rescue-auto", "rescue-random"
SHARE = 0.9
"""Share of the fitness of the healthy run with the same seed below which a run has failed."""
_FEWEST_SEEDS = 3
LEARNT = 0.05
"""Fitness up to which a run has learned nothing."""


@dataclass(frozen=True, slots=True)
class _Case:
    """One run, and its fitness with each remedy over that of the healthy run."""

    cause: str
    task: str
    seed: int
    bare: float
    remedies: Mapping[str, float]
    time_ratio: float | None

    @property
    def failing(self) -> bool:
        return self.bare < SHARE

    @property
    def by_hand(self) -> list[str]:
        return [
            n for n, share in self.remedies.items() if n not in {AUTO, RANDOM} and share >= SHARE
        ]

    def repaired(self, remedy: str) -> bool:
        return self.remedies[remedy] >= SHARE


def write_rescues(folder: Path, result: BenchmarkResult) -> RescueResult | None:
    """Score a benchmark whose arms are rescues and write the scores; None for any other benchmark.

    Args:
        folder: Benchmark folder.
        result: Result of the benchmark.
    """
    from yolo_stability.studies.rescue_rate.report import rescue_markdown

    scored = score_rescues(result)
    if scored is None:
        return None
    for name, text in (
        (RESCUE_JSON, json.dumps(asdict(scored), indent=1) + "\n"),
        ("rescue.md", rescue_markdown(scored)),
    ):
        replace_file(folder / name, text.encode())
    return scored


def score_rescues(result: BenchmarkResult) -> RescueResult | None:
    """Score the rescues of a benchmark.

    Args:
        result: Result of the benchmark, with arms such as `cause+rescue-auto`,
            `cause+rescue-random`.

    Returns:
        The scores; None without such arms.
    """
    return score_runs(result.runs, next(arm.name for arm in result.arms if arm.is_control))


def score_runs(rows: Sequence[RunResultRow], control: str) -> RescueResult | None:
    """Score the rescues of one or several benchmarks.

    Args:
        rows: The runs, with arm, task, model, seed, outcome, metrics, seconds, and the trace digest
            of healthy ones. Random choices and manual remedies may be missing for some.
        control: Name of the healthy arm.

    Returns:
        The scores; None without rescued runs.
    """
    runs = {(run.arm, run.task, run.model, run.seed): run for run in rows}
    causes = sorted({arm.partition(SIGN)[0] for arm, *_ in runs if arm.endswith(f"{SIGN}{AUTO}")})
    cases = [case for cause in causes for case in _cases(runs, cause, control)]
    if not cases:
        return None
    kept = [case for case in cases if case.failing and case.by_hand]
    tried = [case for case in kept if RANDOM in case.remedies]
    auto, random = (
        [float(c.repaired(AUTO)) for c in kept],
        [float(c.repaired(RANDOM)) for c in tried],
    )
    gains = [float(c.repaired(AUTO)) - float(c.repaired(RANDOM)) for c in tried]

    groups = [(cause, task) for cause in causes for task in ("detect", "pose")]
    counts = [
        _count(cause, task, [c for c in cases if (c.cause, c.task) == (cause, task)])
        for cause, task in groups
    ]
    times = [c.time_ratio for c in kept if c.repaired(AUTO) and c.time_ratio is not None]
    return RescueResult(
        schema_version=_VERSION,
        counts=tuple(c for c in (*counts, _count("all", "both", cases)) if c.runs),
        seeds=len({case.seed for case in kept}),
        drawn=_drawn(kept),
        drawn_tried=_drawn(tried),
        auto=wilson(int(sum(auto)), len(kept)),
        random=wilson(int(sum(random)), len(tried)),
        auto_drawn=_clustered(auto, kept),
        random_drawn=_clustered(random, tried),
        difference=_clustered(gains, tried),
        time_ratio=median(times) if times else None,
        price=_price(runs, control),
    )


def _drawn(cases: Sequence[_Case]) -> Drawn:
    return "run" if len({case.seed for case in cases}) < _FEWEST_SEEDS else "seed"


def _clustered(values: Sequence[float], cases: Sequence[_Case]) -> Interval:
    """Return the mean over cases, with a bootstrap over seeds, or over runs for few seeds."""
    whole = _drawn(cases) == "seed"
    return clustered(values, [case.seed if whole else i for i, case in enumerate(cases)])


def _cases(runs: Mapping[Any, RunResultRow], cause: str, control: str) -> Iterable[_Case]:
    """Yield the rescued runs with a healthy run of the same seed."""
    for (arm, task, model, seed), run in runs.items():
        healthy = runs.get((control, task, model, seed))
        if arm != cause or healthy is None or not _fitness(healthy) > LEARNT:
            continue
        treated = {
            other.partition(SIGN)[2]: r
            for (other, *rest), r in runs.items()
            if rest == [task, model, seed] and other.startswith(f"{cause}{SIGN}")
        }
        if AUTO not in treated:
            continue
        shares = {name: _fitness(r) / _fitness(healthy) for name, r in treated.items()}
        ratio = _seconds(treated[AUTO]), _seconds(healthy)
        time_ratio = ratio[0] / ratio[1] if ratio[0] and ratio[1] else None
        yield _Case(cause, task, seed, _fitness(run) / _fitness(healthy), shares, time_ratio)


def _fitness(run: RunResultRow) -> float:
    """Return the final fitness; 0 for a run that did not complete."""
    return (fitness_of(run) or 0.0) if run.outcome == "finished" else 0.0


def _seconds(run: RunResultRow) -> float | None:
    return run.seconds.get("steps")


def _count(cause: str, task: str, cases: Sequence[_Case]) -> CauseCount:
    """Count the cases of one cause and task."""
    failing = [case for case in cases if case.failing]
    kept = [case for case in failing if case.by_hand]
    hands = sorted({name for case in cases for name in case.remedies} - {AUTO, RANDOM})
    return CauseCount(
        cause=cause,
        task=task,
        runs=len(cases),
        failing=len(failing),
        repairable=len(kept),
        auto=sum(case.repaired(AUTO) for case in kept),
        tried=sum(RANDOM in case.remedies for case in kept),
        random=sum(case.repaired(RANDOM) for case in kept if RANDOM in case.remedies),
        by_hand={
            name: sum(case.repaired(name) for case in failing if name in case.remedies)
            for name in hands
        },
        auto_all=sum(case.repaired(AUTO) for case in failing),
        fitness_auto=median(case.remedies[AUTO] for case in failing) if failing else None,
    )


def _price(runs: Mapping[Any, RunResultRow], control: str) -> Mapping[str, float]:
    """Return the cost of a rescue on healthy runs."""
    pairs = [
        (run, runs[(control, task, model, seed)])
        for (arm, task, model, seed), run in runs.items()
        if arm == AUTO and (control, task, model, seed) in runs
    ]
    known = [_fitness(a) / _fitness(b) for a, b in pairs if _fitness(b) > 0]
    if not known:
        return {}
    same = sum(a.trace_digest == b.trace_digest and a.trace_digest is not None for a, b in pairs)
    return {"runs": len(pairs), "fitness": median(known), "identical": same}
