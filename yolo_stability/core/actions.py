"""Rescue actions as data types: rules decide on them, a trainer carries them out.

Standard library only: the deciding side knows no trainer, the acting side knows no rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from yolo_stability.core.types import CauseName

__all__ = ["LIVE_REMEDIES", "Action", "Ending"]

LIVE_REMEDIES: Mapping[str, str] = {
    "lower_rate": "roll back and lower every learning rate, wherever Ultralytics keeps it",
    "tighten_clip": "roll back and clip at a tighter limit, derived from the run's healthy norms",
    "rewarm": "roll back and warm up the learning rate again",
    "lower_scale": "roll back and lower the AMP loss scale",
    "quarantine": "exclude the images that an incident identified as the cause",
    "restart": "restart with the weights of init=default",
}
"""Remedies that can be applied during a run: name and effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """A remedy to apply now.

    Attributes:
        remedy: Name in `LIVE_REMEDIES`.
        value: Strength as text: a factor, a clip, a number of steps; None where it has none.
        cause: Diagnosed cause.
        why: Finding that triggered it, in one sentence.
        images: Names of image files to exclude.
        roll_back: Whether to roll back to the last healthy state first.
        onset: Step at which the trouble first appeared; None if unknown.
        groups: Parameter groups whose rate leapt, for `lower_rate`: it then restores their rates;
            empty to lower every rate.
    """

    remedy: str
    cause: CauseName
    why: str
    value: str | None = None
    images: tuple[str, ...] = ()
    roll_back: bool = True
    onset: int | None = None
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The decision to give up: the run ends with its last healthy state.

    Attributes:
        cause: Diagnosed cause.
        why: Finding that triggered it.
        advice: What to do instead, in one sentence.
    """

    cause: CauseName
    why: str
    advice: str
