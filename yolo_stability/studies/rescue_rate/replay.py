"""The first decision of `rescue=auto`: replayed on labeled runs, or read from rescued runs.

For the labeled runs of `suite=faults`, which were not rescued, the decision is replayed from their
records: the rules are evaluated at the same moments as during training, including the end of each
epoch. The effect of the decision needs a real rescue; see `suite=rescue`.
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

_BUILT_IN = frozenset({"normalization", "activation", "depth", "initialization"})
_CONTROL = "control"  # healthy by definition
_STEPS = 30
_ASKED = 3  # consecutive skipped steps before the guard requests a rescue


Decision = tuple[int, Action | Ending]
"""Step and decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The first decisions of `rescue=auto` on the labeled runs of a folder.

    Attributes:
        healthy: Share of healthy runs without intervention.
        built_in: Share of runs with a structural fault that were ended, or restarted with the
            default initialization, within 30 steps of the onset and for the correct cause. The
            onset is the first step, or that of the diagnosis of the same run without a rescue, if
            the folder contains one.
        unbroken: Runs with a structural fault that learn nevertheless, according to the fitness of
            the same run without a rescue, and had no intervention. They are excluded from all
            shares.
        too_short: Excluded runs that the guard had ended before it would have requested a rescue.
        decisions: Counts of the first decisions by arm, such as `ended: normalization`.
    """

    healthy: Interval
    built_in: Interval
    too_short: int
    unbroken: int
    decisions: Mapping[str, Mapping[str, int]]

    def lines(self) -> list[str]:
        """Return the result as lines of text."""
        shares = (
            ("healthy runs without intervention", self.healthy),
            ("structural faults ended in time", self.built_in),
        )
        known = [
            f"{name}: {s.value:.3f} ({s.low:.3f} to {s.high:.3f})"
            for name, s in shares
            if s.value is not None
        ]
        counted = [
            f"  {arm}: {', '.join(f'{what} {n}' for what, n in sorted(counts.items()))}"
            for arm, counts in sorted(self.decisions.items())
        ]
        unbroken = (
            [f"structural faults with which a run learns nevertheless: {self.unbroken}"]
            if self.unbroken
            else []
        )
        return [*known, *unbroken, f"too short: {self.too_short}", *counted]


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """A run, its first decision, and the step of its onset; None if it learns nevertheless."""

    run: LabeledRun
    decision: Decision | None
    onset: int | None


def first_decision(trace: Trace) -> Decision | None:
    """Replay a trace and return the first decision with its step; None if there is none.

    Args:
        trace: Trace of a run without a rescue.
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
    """Request a decision, as during training at the end of each epoch, before validation."""
    rescuer.ask()
    return rescuer.decide()


def first_action(trace: Trace) -> Decision | None:
    """Return the first recorded action of a rescue with its step; None if there is none.

    Args:
        trace: Trace of a run with `rescue=auto`.
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
    """Replay the decisions on the labeled runs of a benchmark folder without rescues.

    Args:
        folder: Benchmark folder.
    """
    found = list(labeled_runs(Path(folder), _CONTROL))
    long_enough = [run for run in found if run.trace.steps.height >= _ASKED]
    cases = [_Case(run, first_decision(run.trace), 0) for run in long_enough]
    return _counted(cases, too_short=len(found) - len(long_enough))


def acted_folder(folder: Path | str) -> Replayed:
    """Read the first actions of rescues from `suite=rescue-healthy` and `suite=rescue-built-in`.

    A healthy run counts as without intervention if there was no action and, if the folder contains
    the same run without a rescue, both traces have the same digest.

    Args:
        folder: Benchmark folder.
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
    """Return the name of the arm without its rescue."""
    return _CONTROL if arm == AUTO else arm.removesuffix(f"{SIGN}{AUTO}")


def _rescued_label(arm: str) -> FaultLabel | None:
    """Return the label of an arm, with or without a rescue."""
    return HEALTHY if arm == AUTO else label_of(arm.removesuffix(f"{SIGN}{AUTO}"))


def _counted(cases: Sequence[_Case], too_short: int) -> Replayed:
    """Count the correct decisions."""
    by_arm: dict[str, dict[str, int]] = {}
    for case in cases:
        counts = by_arm.setdefault(case.run.arm, {})
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
        decisions=by_arm,
    )


def _right(case: _Case) -> bool:
    """Return whether a run with a structural fault is ended or restarted in time, for its cause."""
    if case.decision is None or case.onset is None:
        return False
    step, decision = case.decision
    ends = isinstance(decision, Ending) or decision.remedy == "restart"
    in_time = step < case.onset + _STEPS
    return ends and in_time and decision.cause in {case.run.label.cause, *case.run.label.also}


def _words(found: Decision | None) -> str:
    if found is None:
        return "no intervention"
    decision = found[1]
    return f"{'ended' if isinstance(decision, Ending) else decision.remedy}: {decision.cause}"
