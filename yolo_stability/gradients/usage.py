"""What can be wrong with the order of calls in a user's own loop: one sentence each, with the remedy."""

from __future__ import annotations

import math

__all__ = ["NO_GRADIENT", "NO_STEP", "TOO_LATE", "TWICE", "UNUSED", "forgotten_scale"]

NO_STEP = (
    "optimizer.step() ran without r.step() before it: the norms of such steps are those that the optimizer saw, after "
    "any clipping; call r.step(loss=loss) between loss.backward() and the clipping"
)
TOO_LATE = (
    "r.step() came after optimizer.step(): the gradients had been clipped and used by then, so the call was ignored; "
    "move it between loss.backward() and the clipping"
)
TWICE = (
    "r.step() was called again before optimizer.step(): the later call counts; call it once for each optimizer.step(), "
    "after the last backward()"
)
NO_GRADIENT = "r.step() found no gradient in the model, so the call was ignored: call it after loss.backward()"
UNUSED = (
    "a non-finite gradient was not followed by optimizer.step(): recorded as skipped by the scaler, which your loop, "
    "or a GradScaler that was not passed as scaler=, must have done"
)
_LEAST_POWER = 6  # a clip that hits a power of two this large by chance, to 1e-6, is unlikely


def forgotten_scale(coefficient: float) -> str | None:
    """Return what to say when gradients were still multiplied by the scale of a GradScaler that we do not know.

    Args:
        coefficient: Norm of the gradient at the optimizer's step over that at `r.step()`.
    """
    if not 0 < coefficient < 2.0**-_LEAST_POWER:
        return None
    power = -math.log2(coefficient)
    if abs(power - round(power)) > 1e-6:
        return None
    return (
        f"between r.step() and optimizer.step() the gradient shrank by exactly 2^{round(power)}: it was still "
        "multiplied by the scale of a GradScaler; write record(..., scaler=scaler), or call scaler.unscale_(optimizer) "
        "before r.step()"
    )
