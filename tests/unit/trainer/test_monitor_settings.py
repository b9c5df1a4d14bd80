"""A monitor accepts yolo_stability options or validated settings, but not both."""

from __future__ import annotations

import pytest

from yolo_stability.config import make_settings
from yolo_stability.trainer.base_monitor import Monitor
from yolo_stability.trainer.monitor import StabilityMonitor


def test_checked_settings_are_taken_as_they_are() -> None:
    settings = make_settings(guard="stop", clip="norm:1")
    assert StabilityMonitor.from_settings(settings).settings is settings


def test_checked_settings_beside_own_keys_are_refused() -> None:
    with pytest.raises(TypeError, match="guard"):
        Monitor(checked=make_settings(), guard="off")
