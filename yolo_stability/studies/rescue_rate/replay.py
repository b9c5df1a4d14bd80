"""What `rescue=auto` decides first: as it would have on the labelled runs of `suite=faults`, and as it has in its own.

For runs that were not rescued the decision is made again from their records: the rules are asked when a running
training would have asked them, the end of each epoch included. What would have come of it only a real rescue can tell;
see `suite=rescue`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from yolo_stability.benchmarks.arms import SIGN
from yolo_stability.benchmarks.labeled_runs import (
    HEALTHY,
    LabeledRun,
    label_of,
    labeled_runs,
)
from yolo_stability.benchmarks.rows import Interval
from yolo_stability.benchmarks.scenario import FaultLabel
from yolo_stability.benchmarks.statistics import wilson
from yolo_stability.core.actions import Action, Ending
from yolo_stability.core.types import Event, Trace
from yolo_stability.diagnosis.diagnose import diagnose_trace
from yolo_stability.diagnosis.rescue_policy import Rescuer
from yolo_stability.studies.rescue_rate.score import AUTO, LEARNT
from yolo_stability.trace.digest import trace_digest
from yolo_stability.trace.records import as_records

__all__ = ["Replayed", "acted_folder", "first_decision", "replay_folder"]

_BUILT_IN = frozenset({"normalisation", "activation", "depth", "initialisation"})
_CONTROL = "control"  # the arm that is healthy by definition
_STEPS = 30
_ASKED = 3  # steps in a row that the guard leaves out before a rescue is asked


Decision = tuple[int, Action | Ending]
"""The step of a decision, and the decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What `rescue=auto` would have done first, or has done, to the labelled runs of a folder.

    Attributes:
        healthy: Share of healthy runs that were left alone.
        built_in: Share of runs with a structural fault that were ended, or begun again with the default
            initialisation, within 30 steps of its onset and for the right cause. The onset is the first step, or
            where the diagnosis of the same run without a rescue dates it, if the folder holds one.
        unbroken: Runs with a structural fault that learn all the same, as the fitness of the same run without a
            rescue shows, and were left alone: there was nothing to end, and they are in no share.
        too_short: Runs that the guard had ended before a rescue would have been asked: they tell nothing.
        told: By arm, what was decided first and how often, such as `ended: normalisation`.
    """

    healthy: Interval
    built_in: Interval
    too_short: int
    unbroken: int
    told: Mapping[str, Mapping[str, int]]

    def lines(self) -> list[str]:
        """Say it in words."""
        shares = (
            ("healthy runs left alone", self.healthy),
            ("structural faults ended in time", self.built_in),
        )
        known = [
            f"{name}: {s.value:.3f} ({s.low:.3f} to {s.high:.3f})"
            for name, s in shares
            if s.value is not None
        ]
        told = [
            f"  {arm}: {', '.join(f'{what} {n}' for what, n in sorted(counts.items()))}"
            for arm, counts in sorted(self.told.items())
        ]
        unbroken = (
            [f"structural faults with which a run learns all the same: {self.unbroken}"]
            if self.unbroken
            else []
        )
        return [*known, *unbroken, f"too short to tell: {self.too_short}", *told]


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """A run, what was decided first, and the step at which it breaks down; None if it learns all the same."""

    run: LabeledRun
    decision: Decision | None
    onset: int | None


def first_decision(trace: Trace) -> Decision | None:
    """Return the step of the first decision and the decision; None if there would have been none.

    Args:
        trace: A run.
    """
    rescuer = Rescuer("auto")
    rescuer.open(trace.header.blocks, trace.header)
    columns = trace.events.select("attempt", "step", "kind", "block", "data").rows()
    waiting = [
        Event(attempt=a, step=s, kind=k, block=b, data=json.loads(d or "{}"))
        for a, s, k, b, d in columns
        if k not in {"rescue", "resume"}
    ]
    epoch = step = 0
    for record in as_records(trace):
        if record.epoch > epoch:
            epoch = record.epoch
            decision = _at_the_end(rescuer)
            if decision is not None:
                return step, decision
        step = record.step
        rescuer.observe(record)
        while waiting and waiting[0].step <= record.step:
            rescuer.event(waiting.pop(0))
        decision = rescuer.decide()
        if decision is not None:
            return record.step, decision
    decision = _at_the_end(rescuer)
    return None if decision is None else (step, decision)


def _at_the_end(rescuer: Rescuer) -> Action | Ending | None:
    """Ask once more, as a running training does at the end of each epoch, before it validates."""
    rescuer.ask()
    return rescuer.decide()


def first_action(trace: Trace) -> Decision | None:
    """Return the step of what a rescue did first in a run that it watched, and what; None if it did nothing.

    Args:
        trace: A run with `rescue=auto`.
    """
    for step, kind, text in trace.events.select("step", "kind", "data").rows():
        data = json.loads(text or "{}")
        if kind == "rescue_stop":
            return step, Ending(cause=data["cause"], why=data["text"], advice=data["advice"])
        if kind == "rescue":
            return step, Action(
                remedy=data["remedy"], cause=data["cause"], why=data["why"], value=data["value"]
            )
    return None


def replay_folder(folder: Path | str) -> Replayed:
    """Replay the labelled runs of a benchmark folder, which nothing has rescued.

    Args:
        folder: The benchmark's folder.
    """
    found = list(labeled_runs(Path(folder), _CONTROL))
    told = [run for run in found if run.trace.steps.height >= _ASKED]
    cases = [_Case(run, first_decision(run.trace), 0) for run in told]
    return _counted(cases, too_short=len(found) - len(told))


def acted_folder(folder: Path | str) -> Replayed:
    """Read what rescues have done first in the runs of `suite=rescue-healthy` and `suite=rescue-built-in`.

    A healthy run is left alone if nothing was done to it and, where the folder holds the same run without a rescue,
    its trace has the same digest.

    Args:
        folder: The benchmark's folder.
    """
    found = list(labeled_runs(Path(folder), _CONTROL, _rescued_label))
    rescued = [run for run in found if run.arm.endswith(AUTO)]
    digests = {
        (run.arm, run.task, run.model, run.seed): trace_digest(run.trace)
        for run in found
        if run.label.healthy
    }

    def acted(run: LabeledRun) -> Decision | None:
        done = first_action(run.trace)
        own, twin = (
            digests.get((arm, run.task, run.model, run.seed)) for arm in (run.arm, _bare(run.arm))
        )
        if done is None and run.label.healthy and twin is not None and own != twin:
            return 0, Action(
                remedy="another trace", cause="unknown", why="the weights are not the same"
            )
        return done

    bare = {
        (run.arm, run.task, run.model, run.seed): run for run in found if not run.arm.endswith(AUTO)
    }

    def onset(run: LabeledRun) -> int | None:
        twin = bare.get((_bare(run.arm), run.task, run.model, run.seed))
        if twin is None or run.label.healthy:
            return 0
        if twin.outcome == "finished" and (twin.fitness or 0.0) > LEARNT:
            return None
        return diagnose_trace(twin.trace).time_to_divergence or 0

    return _counted([_Case(run, acted(run), onset(run)) for run in rescued], too_short=0)


def _bare(arm: str) -> str:
    """Return the arm without its rescue."""
    return _CONTROL if arm == AUTO else arm.removesuffix(f"{SIGN}{AUTO}")


def _rescued_label(arm: str) -> FaultLabel | None:
    """Return what is wrong with an arm, whether or not it is rescued."""
    return HEALTHY if arm == AUTO else label_of(arm.removesuffix(f"{SIGN}{AUTO}"))


def _counted(cases: Sequence[_Case], too_short: int) -> Replayed:
    """Count what was right."""
    told: dict[str, dict[str, int]] = {}
    for case in cases:
        counts = told.setdefault(case.run.arm, {})
        words = _words(case.decision)
        counts[words] = counts.get(words, 0) + 1
    healthy = [case.decision is None for case in cases if case.run.label.healthy]
    structural = [case for case in cases if case.run.label.cause in _BUILT_IN]
    broken = [case for case in structural if case.onset is not None or case.decision is not None]
    built_in = [_right(case) for case in broken]
    return Replayed(
        healthy=wilson(sum(healthy), len(healthy)),
        built_in=wilson(sum(built_in), len(built_in)),
        too_short=too_short,
        unbroken=len(structural) - len(broken),
        told=told,
    )


def _right(case: _Case) -> bool:
    """Return whether a run with a structural fault is ended or begun again in time, for the right cause."""
    if case.decision is None or case.onset is None:
        return False
    step, decision = case.decision
    ends = isinstance(decision, Ending) or decision.remedy == "restart"
    in_time = step < case.onset + _STEPS
    return ends and in_time and decision.cause in {case.run.label.cause, *case.run.label.also}


def _words(found: Decision | None) -> str:
    if found is None:
        return "left alone"
    decision = found[1]
    return f"{'ended' if isinstance(decision, Ending) else decision.remedy}: {decision.cause}"
