"""Set from above: what the package does with every trainer it makes, so that the mixin imports nothing above it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["built", "on_built"]

_on_built: list[Callable[[Any], None]] = []


def on_built(function: Callable[[Any], None]) -> None:
    """Call a function with every trainer right after its construction.

    Args:
        function: Takes the trainer.
    """
    _on_built.append(function)


def built(trainer: Any) -> None:
    """Report that a trainer has been constructed.

    Args:
        trainer: The trainer.
    """
    for function in _on_built:
        function(trainer)
