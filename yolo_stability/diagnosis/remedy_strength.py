"""Strength of remedies: by how much a rescue lowers rates and tightens clips."""

from __future__ import annotations

import numpy as np

from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.rate_leaps import find_leaps
from yolo_stability.trace.arrays import median_of

__all__ = ["is_adaptive", "lower_rate_by", "tighter_clip"]

_LEAP = 3.0
_RECENT = 16  # steps within which a leap counts
_TENTH = 0.1


def is_adaptive(optimizer: str) -> bool:
    """Return whether an optimizer normalizes gradients, so that clipping has little effect.

    Example:
        >>> is_adaptive("AdamW"), is_adaptive("SGD")
        (True, False)
    """
    return any(part in optimizer.lower() for part in ("adam", "rmsprop", "musgd"))


def lower_rate_by(context: DiagnosisContext, rate: float, usual: tuple[float, float]) -> float:
    """Return the factor for the learning rate: back to its earlier or usual value, or a tenth.

    Args:
        context: The run, whose recorded rates show whether the rate has jumped.
        rate: Current base learning rate, before the schedule.
        usual: Usual rate of the optimizer type, and the rate above which it is hardly ever used.
    """
    recent = context.run.step.size - _RECENT
    leaps = [leap.factor for leap in find_leaps(context, _LEAP) if leap.row > recent]
    if leaps:
        return 1 / max(leaps)
    if rate > usual[1]:
        return min(_TENTH, usual[0] / rate)
    return _TENTH


def tighter_clip(context: DiagnosisContext, now: str, *, adaptive: bool) -> str:
    """Return a clip that is tighter than the current one, scaled by the run's own healthy norms.

    Under SGD that is adaptive gradient clipping, which compares each unit's gradient with its own
    weights; for Adam-type optimizers a bound on the total norm, since only deviations from the
    steps before reach the weights. A clip of the same kind is tightened by a factor of 3.

    Args:
        context: The run.
        now: Current clip, such as `norm:10`.
        adaptive: Whether the optimizer is of Adam type.
    """
    kind, _, text = now.partition(":")
    bound = float(text) if text else float("inf")
    if kind == "agc":
        return f"agc:{min(0.01, bound / 3):.3g}"
    if not adaptive and not (kind == "norm" and bound < 1):
        return "agc:0.01"
    norm, usual = context.norm, context.usual_norm
    with np.errstate(invalid="ignore"):
        healthy = norm[np.isfinite(norm) & ~(norm > 5 * usual)]
    own = min(float(median_of(healthy)) if healthy.size else 10.0, 10.0) / 10
    return f"norm:{max(min(own, bound / 3 if kind == 'norm' else own), 1e-4):.3g}"
