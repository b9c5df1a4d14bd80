"""Which cases of a parametrised test the short tests take; the long ones take all others.

Not in `training.py`: child processes import that one, and must not know that tests are running.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

__all__ = ["DETECT_SHORT", "short"]


def short(values: Sequence[Any], *kept: Any) -> list[Any]:
    """Return values for `parametrize`: some for the short tests, all others for the long ones.

    Args:
        values: All of them.
        kept: Those that the short tests take.
    """
    assert all(value in values for value in kept)
    return [
        value if value in kept else pytest.param(*_each(value), marks=pytest.mark.full)
        for value in values
    ]


def _each(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


DETECT_SHORT = short(["detect", "pose"], "detect")
"""Both tasks, of which the short tests take detection."""
