"""`act=`: another activation function in every block.

Ultralytics' own way, `activation:` in the model's YAML, reaches only layers that name none; here each module that is
somebody's `act` is exchanged. Gates (the sigmoid of an attention) and functions called by name stay as they are.
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
"""By name. LeakyReLU has the slope of the Darknet models, 0.1."""

_HIDDEN = (nn.SiLU, nn.ReLU, nn.LeakyReLU, nn.GELU, nn.Hardswish, nn.Mish, nn.ELU)
_WHERE = "act"


def check_activation(name: str) -> None:
    """Refuse an unknown activation.

    Args:
        name: What the user typed.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in ACTIVATIONS:
        raise ConfigError(
            f"act={name}: '{name}' is no activation.{nearest(name, ACTIVATIONS)} Choose from {', '.join(ACTIVATIONS)}."
        )


def apply_activation(model: nn.Module, name: str) -> tuple[int, int]:
    """Exchange the activations of a model, in place.

    Args:
        model: A model of Ultralytics.
        name: One of `ACTIVATIONS`.

    Returns:
        How many modules got the new one, and how many activation modules elsewhere stay.
    """
    shared = ACTIVATIONS[name]()  # one for all, as Ultralytics does: it has no parameters
    changed = [m for m in model.modules() if isinstance(getattr(m, _WHERE, None), _HIDDEN)]
    for module in changed:
        module.act = shared
    stay = sum(isinstance(m, _HIDDEN) and m is not shared for m in model.modules())
    return len(changed), stay
