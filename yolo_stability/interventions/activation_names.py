"""Names of the activations for `act=`, without torch; `activation.py` has the modules."""

from __future__ import annotations

__all__ = ["ACTIVATION_NAMES"]

ACTIVATION_NAMES = ("silu", "relu", "leaky_relu", "gelu", "tanh", "sigmoid")
