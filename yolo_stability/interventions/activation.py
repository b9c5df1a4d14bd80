"""`act=`: replaces the activation function in every block.

Ultralytics' own option, `activation:` in the model's YAML, affects only layers that do not specify
one. Here every activation stored in an attribute `act` is replaced. Gates (such as the sigmoid of
an attention) and functions called by name are unchanged.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from yolo_stability.core.errors import ConfigError
from yolo_stability.core.suggestions import nearest

__all__ = ["ACTIVATIONS", "apply_activation", "check_activation"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.1),
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
"""Activations by name. LeakyReLU has the slope of the Darknet models, 0.1."""

_HIDDEN = (nn.SiLU, nn.ReLU, nn.LeakyReLU, nn.GELU, nn.Hardswish, nn.Mish, nn.ELU)
_WHERE = "act"


def check_activation(name: str) -> None:
    """Raise if an activation is unknown.

    Args:
        name: Name that the user typed.

    Raises:
        ConfigError: No activation has that name.
    """
    if name not in ACTIVATIONS:
        raise ConfigError(
            f"Invalid value act={name}: unknown activation.{nearest(name, ACTIVATIONS)} "
            f"Choose from {', '.join(ACTIVATIONS)}."
        )


def apply_activation(model: nn.Module, name: str) -> tuple[int, int]:
    """Replace the activations of a model in place.

    Args:
        model: An Ultralytics model.
        name: Name of the activation, a key of `ACTIVATIONS`.

    Returns:
        Number of replaced modules, and number of activation modules elsewhere that are unchanged.
    """
    shared = ACTIVATIONS[name]()  # one module for all, as in Ultralytics: it has no parameters
    changed = [m for m in model.modules() if isinstance(getattr(m, _WHERE, None), _HIDDEN)]
    for module in changed:
        module.act = shared
    stay = sum(isinstance(m, _HIDDEN) and m is not shared for m in model.modules())
    return len(changed), stay
