"""Remedies of a rescue by cause, their strength, and advice where no remedy acts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from yolo_stability.core.types import CauseName
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.trace.arrays import median_of

__all__ = [
    "BEARABLE",
    "NO_REMEDY",
    "PLANS",
    "SGD_PLAN",
    "SPECIFIC",
    "is_adaptive",
    "tighter_clip",
]

PLANS: Mapping[CauseName, tuple[str, ...]] = {
    "learning_rate": ("lower_rate", "tighten_clip", "lower_rate"),
    "batch_noise": ("lower_rate", "tighten_clip", "lower_rate"),
    "data": ("quarantine", "tighten_clip", "lower_rate"),
    "numeric_range": ("lower_scale", "tighten_clip", "lower_rate"),
    "initialization": ("restart", "lower_rate", "tighten_clip"),
    "unknown": ("lower_rate", "tighten_clip", "lower_rate"),
}
"""Remedies by cause, in the order in which they are tried; no remedy acts on other causes."""

SGD_PLAN = ("tighten_clip", "lower_rate", "lower_rate")
"""The same for an SGD rate up to `BEARABLE`: adaptive clipping tolerates it and learns faster."""

BEARABLE = 2.0

NO_REMEDY: Mapping[CauseName, str] = {
    "normalization": (
        "no remedy helps a running model without normalization: "
        "restart with norm=batch or norm=group, or at least with init=lsuv"
    ),
    "activation": (
        "no remedy helps a running model with a saturating activation: "
        "restart with act=silu or act=relu"
    ),
    "depth": (
        "no remedy helps a running model that is too deep for its gradients: "
        "restart with residual=true and depth_mult=1"
    ),
    "initialization": "restart with init=default",
    "module": "no remedy helps against code that computes NaN from numbers in range",
    "evaluation": (
        "no remedy of the training helps against a failure in validation only: "
        "correct what the model does in evaluation mode"
    ),
    "settings": (
        "no remedy changes what the settings ask for: restart with the settings that the findings "
        "name"
    ),
}


SPECIFIC = frozenset({"module", "settings"})
"""Causes whose finding names what to change."""


def is_adaptive(optimizer: str) -> bool:
    """Return whether an optimizer normalizes gradients, so that clipping has little effect.

    Example:
        >>> is_adaptive("AdamW"), is_adaptive("SGD")
        (True, False)
    """
    return any(part in optimizer.lower() for part in ("adam", "rmsprop", "musgd"))


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
    norm, usual = context.run.norm, context.usual_norm
    with np.errstate(invalid="ignore"):
        healthy = norm[np.isfinite(norm) & ~(norm > 5 * usual)]
    own = min(float(median_of(healthy)) if healthy.size else 10.0, 10.0) / 10
    return f"norm:{max(min(own, bound / 3 if kind == 'norm' else own), 1e-4):.3g}"
