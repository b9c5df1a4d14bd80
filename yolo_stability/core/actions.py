"""What a rescue does to a run that goes wrong, in words that travel: decided by rules, carried out on a trainer.

Standard library only: the side that decides knows no trainer, the side that acts knows no rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from yolo_stability.core.types import CauseName

__all__ = ["LIVE_REMEDIES", "Action", "Ending"]

LIVE_REMEDIES: Mapping[str, str] = {
    "lower_rate": "go back and lower every learning rate, wherever Ultralytics keeps it",
    "tighten_clip": "go back and clip tighter, measured by the run's own healthy norms",
    "rewarm": "go back and let the learning rate rise anew",
    "lower_scale": "go back and lower the loss scale of AMP",
    "quarantine": "leave the images out that an incident has blamed",
    "restart": "begin again with the weights of init=default",
}
"""What can be done to a run while it goes on, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One remedy to apply now.

    Attributes:
        remedy: Name in `LIVE_REMEDIES`.
        value: Its strength as text: a factor, a clip, a number of steps; None where it has none.
        cause: What the run was diagnosed with.
        why: The finding that called for it, in one sentence.
        images: Names of image files to leave out.
        roll_back: Go back to the last healthy state first.
        onset: Step at which trouble first showed; None if unknown.
    """

    remedy: str
    cause: CauseName
    why: str
    value: str | None = None
    images: tuple[str, ...] = ()
    roll_back: bool = True
    onset: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Give up: end the run with its last healthy state.

    Attributes:
        cause: What the run was diagnosed with.
        why: The finding that called for it.
        advice: What to do instead, in one sentence.
    """

    cause: CauseName
    why: str
    advice: str
