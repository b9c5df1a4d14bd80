"""Construction hooks: let higher layers act on new trainers without the mixin importing them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["CONSTRUCTION", "Construction"]


class Construction:
    """Calls subscribed functions with every trainer right after its construction."""

    def __init__(self) -> None:
        self._functions: list[Callable[[Any], None]] = []

    def subscribe(self, function: Callable[[Any], None]) -> None:
        """Register a function to be called with every trainer constructed from now on.

        Args:
            function: Takes the trainer.
        """
        self._functions.append(function)

    def report(self, trainer: Any) -> None:
        """Call the subscribed functions with a trainer that has just been constructed.

        Args:
            trainer: The trainer.
        """
        for function in self._functions:
            function(trainer)


CONSTRUCTION = Construction()
"""Hooks that every trainer with `StabilityMixin` calls."""
