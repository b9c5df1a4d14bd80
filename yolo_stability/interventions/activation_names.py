"""Names that `act=` takes; importing this loads no torch. `activation.py` has the functions."""

from __future__ import annotations

__all__ = ["ACTIVATION_NAMES"]

ACTIVATION_NAMES = ("silu", "relu", "leaky_relu", "gelu", "tanh", "sigmoid")
