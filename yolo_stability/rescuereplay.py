"""What `rescue=auto` would have decided first on runs that are on disk: on the labelled runs of `suite=faults`.

The decision rests on the records alone, so that a recorded run gives the same first decision as a running one. What
would have come of it only a real rescue can tell; see `suite=rescue`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from yolo_stability.actions import Action, Ending
from yolo_stability.faultbench.runs import LabelledRun, labelled_runs
from yolo_stability.rescue import Rescuer
from yolo_stability.results import Interval
from yolo_stability.statistics import wilson
from yolo_stability.trace.records import as_records
from yolo_stability.types import Event, Trace

__all__ = ["Replayed", "first_decision", "replay_folder"]

_BUILT_IN = frozenset({"normalisation", "activation", "depth", "initialisation"})
_STEPS = 30
_ASKED = 3  # steps in a row that the guard leaves out before a rescue is asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What would have been done to the labelled runs of a folder.

    Attributes:
        healthy: Share of healthy runs that a rescue would have left alone.
        built_in: Share of runs with a structural fault that would have been ended, or begun again with the default
            initialisation, within 30 steps and for the right cause.
        too_short: Runs that the guard had ended before a rescue would have been asked: they tell nothing.
        told: By arm, what was decided first and how often, such as `ended: normalisation`.
    """

    healthy: Interval
    built_in: Interval
    too_short: int
    told: Mapping[str, Mapping[str, int]]


def first_decision(trace: Trace, mode: str = "auto") -> tuple[int, Action | Ending] | None:
    """Return the step of the first decision and the decision; None if there would have been none.

    Args:
        trace: A run.
        mode: As in `Rescuer`.
    """
    rescuer = Rescuer(mode)
    rescuer.open(trace.header.blocks, trace.header)
    columns = trace.events.select("attempt", "step", "kind", "block", "data").rows()
    waiting = [
        Event(attempt=a, step=s, kind=k, block=b, data=json.loads(d or "{}"))
        for a, s, k, b, d in columns
        if k not in {"rescue", "resume"}
    ]
    for record in as_records(trace):
        rescuer.observe(record)
        while waiting and waiting[0].step <= record.step:
            rescuer.event(waiting.pop(0))
        decision = rescuer.decide()
        if decision is not None:
            return record.step, decision
    return None


def replay_folder(folder: Path | str, control: str = "control") -> Replayed:
    """Replay the labelled runs of a benchmark folder.

    Args:
        folder: The benchmark's folder.
        control: Name of the control, which is healthy by definition.
    """
    told: dict[str, dict[str, int]] = {}
    alone, healthy, right, built_in, too_short = 0, 0, 0, 0, 0
    for run in labelled_runs(Path(folder), control):
        if run.trace.steps.height < _ASKED:
            too_short += 1
            continue
        found = first_decision(run.trace)
        words = _words(found)
        counts = told.setdefault(run.arm, {})
        counts[words] = counts.get(words, 0) + 1
        if run.label.healthy:
            healthy, alone = healthy + 1, alone + (found is None)
        elif run.label.cause in _BUILT_IN:
            built_in, right = built_in + 1, right + _right(run, found)
    return Replayed(healthy=wilson(alone, healthy), built_in=wilson(right, built_in), too_short=too_short, told=told)


def _right(run: LabelledRun, found: tuple[int, Action | Ending] | None) -> bool:
    """Return whether a run with a structural fault is ended or begun again in time, for the right cause."""
    if found is None:
        return False
    step, decision = found
    ends = isinstance(decision, Ending) or decision.remedy == "restart"
    return ends and step < _STEPS and decision.cause in {run.label.cause, *run.label.also}


def _words(found: tuple[int, Action | Ending] | None) -> str:
    if found is None:
        return "left alone"
    decision = found[1]
    return f"{'ended' if isinstance(decision, Ending) else decision.remedy}: {decision.cause}"
