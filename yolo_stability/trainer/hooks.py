"""Set from above: what the package does with every trainer it makes, so that the mixin imports nothing above it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["CONSTRUCTION", "Construction"]


class Construction:
    """Calls functions with every trainer right after its construction."""

    def __init__(self) -> None:
        self._functions: list[Callable[[Any], None]] = []

    def subscribe(self, function: Callable[[Any], None]) -> None:
        """Call a function with every trainer from now on.

        Args:
            function: Takes the trainer.
        """
        self._functions.append(function)

    def report(self, trainer: Any) -> None:
        """Report that a trainer has been constructed.

        Args:
            trainer: The trainer.
        """
        for function in self._functions:
            function(trainer)


CONSTRUCTION = Construction()
"""That of every trainer with `StabilityMixin`."""
