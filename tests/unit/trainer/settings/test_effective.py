"""Effective settings where not all options are supported."""

from __future__ import annotations

from typing import Any

import pytest

from yolo_stability.config import StabilitySettings
from yolo_stability.trainer.settings import effective


@pytest.mark.parametrize(
    ("ours", "several", "guard", "rescue"),
    [(True, False, "skip", "auto"), (True, True, "skip", "off"), (False, False, "off", "off")],
)
def test_a_rescue_needs_one_process_and_a_step_that_is_guarded(
    ours: bool, several: bool, guard: str, rescue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effective, "is_distributed", lambda trainer: several)
    trainer: Any = object()
    found = effective.supported(
        trainer, StabilitySettings(rescue="auto", watch_every=3), owns_step=ours
    )
    assert found == StabilitySettings(guard=guard, rescue=rescue, watch_every=3)
