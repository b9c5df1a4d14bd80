"""Remedies of a rescue by cause, and advice where no remedy acts."""

from __future__ import annotations

from collections.abc import Mapping

from yolo_stability.core.types import CauseName

__all__ = [
    "BEARABLE",
    "NO_REMEDY",
    "PLANS",
    "SGD_PLAN",
    "SPECIFIC",
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
