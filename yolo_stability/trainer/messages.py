"""Where a training reports what is no part of Ultralytics' own log: notes on its data, and warnings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from yolo_stability.compat.ultralytics import LOGGER

__all__ = ["LOGGED", "RunMessages"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMessages:
    """Takes the messages of a training as they come.

    Attributes:
        note: Called with a line about the data.
        warning: Called with what a user should know, in a sentence or two.
    """

    note: Callable[[str], None]
    warning: Callable[[str], None]


def _note(text: str) -> None:
    LOGGER.info(text)


def _warn(text: str) -> None:
    LOGGER.warning(f"stability: {text}")


LOGGED = RunMessages(note=_note, warning=_warn)
"""Ultralytics' log, where the other messages of a run are."""
