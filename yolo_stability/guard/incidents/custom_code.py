"""Code of the user in a model, as opposed to classes of torch and Ultralytics."""

from __future__ import annotations

from torch import nn

__all__ = ["has_custom_loss", "inside_custom"]

_KNOWN = frozenset({"torch", "torchvision", "ultralytics", "yolo_stability"})


def inside_custom(model: nn.Module, name: str) -> bool:
    """Return whether a module, or one that holds it, is of a class of the user.

    Args:
        model: The model, whose own class does not count.
        name: Dotted name of the module.
    """
    parts = name.split(".")
    paths = (".".join(parts[:count]) for count in range(1, len(parts) + 1))
    return any(_is_custom(model.get_submodule(path)) for path in paths)


def has_custom_loss(model: nn.Module) -> bool:
    """Return whether the class that computes the loss is one of the user."""
    return _is_custom(getattr(model, "criterion", model))


def _is_custom(of: object) -> bool:
    return type(of).__module__.partition(".")[0] not in _KNOWN
