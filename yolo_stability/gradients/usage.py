"""Warnings about the order of calls in a custom training loop: the problem and its fix."""

from __future__ import annotations

import math

__all__ = ["NO_GRADIENT", "NO_STEP", "TOO_LATE", "TWICE", "UNUSED", "forgotten_scale"]

NO_STEP = (
    "optimizer.step() ran without a preceding r.step(), so the recorded norms are those after any "
    "clipping; call r.step(loss=loss) between loss.backward() and the clipping"
)
TOO_LATE = (
    "r.step() came after optimizer.step(), when the gradients were already clipped and used, so "
    "the call was ignored; move it between loss.backward() and the clipping"
)
TWICE = (
    "r.step() was called twice before optimizer.step(), and only the last call counts; call it "
    "once per optimizer.step(), after the last backward()"
)
NO_GRADIENT = (
    "r.step() found no gradient in the model, so the call was ignored; call it after "
    "loss.backward()"
)
UNUSED = (
    "a non-finite gradient was not followed by optimizer.step(), so the step is recorded as "
    "skipped by the scaler; if the loop uses a GradScaler, pass it as scaler="
)
_LEAST_POWER = 6  # a clip is unlikely to hit such a large power of two to 1e-6 by chance


def forgotten_scale(coefficient: float) -> str | None:
    """Return a warning if gradients were still multiplied by the scale of an unknown GradScaler.

    Args:
        coefficient: Gradient norm at the optimizer's step divided by that at `r.step()`.

    Returns:
        The warning, or None unless the ratio is a power of two below 1/64.

    Example:
        >>> forgotten_scale(0.5) is None
        True
        >>> "2^16" in forgotten_scale(2.0**-16)
        True
    """
    if not 0 < coefficient < 2.0**-_LEAST_POWER:
        return None
    power = -math.log2(coefficient)
    if abs(power - round(power)) > 1e-6:
        return None
    return (
        f"between r.step() and optimizer.step() the gradient shrank by exactly 2^{round(power)}, "
        "so it was still multiplied by the scale of a GradScaler; use record(..., scaler=scaler) "
        "or call scaler.unscale_(optimizer) before r.step()"
    )
