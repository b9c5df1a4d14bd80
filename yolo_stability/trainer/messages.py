"""Receivers of the messages of a training: notes about its dataset, and warnings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from yolo_stability.compat.ultralytics import LOGGER

__all__ = ["LOGGED", "RunMessages"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMessages:
    """Receives the messages of a training as they occur.

    Attributes:
        note: Called with one line about the dataset.
        warning: Called with a warning of one or two sentences.
    """

    note: Callable[[str], None]
    warning: Callable[[str], None]


def _note(text: str) -> None:
    LOGGER.info(text)


def _warn(text: str) -> None:
    LOGGER.warning(f"stability: {text}")


LOGGED = RunMessages(note=_note, warning=_warn)
"""Writes to Ultralytics' log, next to the other messages of a run."""
