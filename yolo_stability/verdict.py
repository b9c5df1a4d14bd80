"""Whether a run went well, from its trace against those of the control.

A simple verdict behind one function, until a full diagnosis replaces it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from yolo_stability.series import Floats, RunSeries, as_series
from yolo_stability.signs import Found, Pair, Sign, find_signs, number, pair_up, place_of, ratio_of, step_at
from yolo_stability.types import Trace

__all__ = ["Verdict", "verdict"]

Word = Literal["stable", "unstable", "failed", "inconclusive"]

_FEW_STEPS = 16  # healthy and vanishing runs differ plainly only by steps 16 to 32
_LEARNED = 0.1
_CONTROL_LEARNED = 0.05  # below it the control has learned nothing that could be compared with


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a run went.

    Attributes:
        verdict: stable, unstable, failed or inconclusive.
        why: What it rests on, in one sentence with numbers.
        onset_step: Step of the first sign of trouble; None without any.
        onset_sign: That sign; None without any.
        onset_block: Block in which trouble began, if one stands out.
    """

    verdict: Word
    why: str
    onset_step: int | None = None
    onset_sign: Sign | None = None
    onset_block: str | None = None


def verdict(
    trace: Trace | RunSeries,
    control: Sequence[Trace | RunSeries],
    *,
    outcome: str | None = None,
    fitness: float | None = None,
    control_fitness: float | None = None,
) -> Verdict:
    """Judge a run.

    Args:
        trace: The run.
        control: Runs of the control on the same task and model, whatever their seeds. A run of the control itself may
            be among them: it is then judged by its own past.
        outcome: How its process ended, as `RunResultRow.outcome` has it; by default what the trace says.
        fitness: Its final fitness, if known.
        control_fitness: That of the control, if known.

    Returns:
        `failed`: an update with non-finite numbers was applied, the guard stopped the run or was still skipping at its
        end, loss and gradients stayed at exactly 0, the loss ended far above its beginning or collapsed after a
        blow-up, the process died, or there was a sign of trouble and the run learned less than a tenth of the control.
        `unstable`: any other sign. `inconclusive`: no sign, but no control, too few steps, or nothing learned.
    """
    run = as_series(trace)
    controls = (run if other is trace else as_series(other) for other in control)
    pair = pair_up(run, tuple(series for series in controls if series.step.size))
    signs = find_signs(pair, outcome, _share(fitness, control_fitness))
    if signs:
        return _troubled(pair, signs, fitness, control_fitness)
    return _untroubled(pair, fitness, control_fitness)


def _troubled(pair: Pair, signs: Sequence[Found], fitness: float | None, control_fitness: float | None) -> Verdict:
    """Return the verdict on a run that shows signs of trouble."""
    first = min(signs, key=lambda s: s.row)  # of signs at the same step, the one that weighs more comes first
    main = next((s for s in signs if s.fatal), first)
    share, why = _share(fitness, control_fitness), main.text
    if main is not first:
        why += f"; the first sign: {first.text}"
    unlearned = share is not None and share < _LEARNED
    if unlearned:
        why += f"; and it did not learn: final fitness {number(fitness)} against {number(control_fitness)}"
    return Verdict(
        verdict="failed" if main.fatal or unlearned else "unstable",
        why=why,
        onset_step=step_at(pair.run, first.row),
        onset_sign=first.sign,
        onset_block=place_of(pair, first),
    )


def _untroubled(pair: Pair, fitness: float | None, control_fitness: float | None) -> Verdict:
    """Return the verdict on a run without any sign: stable only if there was enough to see one."""
    run, share = pair.run, _share(fitness, control_fitness)
    if run.step.size < _FEW_STEPS:
        why = f"{run.step.size} steps without a sign of trouble are too few to say; {_FEW_STEPS} are needed"
        return Verdict(verdict="inconclusive", why=why)
    if not pair.controls:
        return Verdict(verdict="inconclusive", why="no sign of trouble, but no run of the control to compare with")
    if share is not None and share < _LEARNED:
        fitnesses = f"final fitness {number(fitness)} against {number(control_fitness)} of the control"
        return Verdict(
            verdict="inconclusive", why=f"it did not learn ({fitnesses}), yet its trace shows no sign of why"
        )
    own, other = _highest(ratio_of(run.norm, pair.usual)), _highest(ratio_of(run.norm, pair.expected))
    why = (
        f"no sign of trouble in {run.step.size} steps: the gradient norm reached {number(own)} times its running median"
    )
    why += "" if np.isnan(other) else f" and {number(other)} times the control's"
    return Verdict(verdict="stable", why=why)


def _highest(ratio: Floats) -> float:
    known = ratio[np.isfinite(ratio)]
    return float(known.max()) if known.size else float("nan")


def _share(fitness: float | None, control_fitness: float | None) -> float | None:
    """Return what part of the control's fitness a run reached; None where that says nothing."""
    if fitness is None or control_fitness is None or control_fitness < _CONTROL_LEARNED:
        return None
    return fitness / control_fitness
