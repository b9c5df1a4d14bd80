"""A thousandfold learning rate on real images, with and without clip, and its console output."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from training import NANO, one_thread
from ultralytics import YOLO

from yolo_stability import RunResult, train

pytestmark = [pytest.mark.trains, pytest.mark.coco_mini]


def blow_up(task: str, data: Path, folder: Path, **changed: Any) -> tuple[RunResult, Any]:
    """Train ten steps of SGD without warm-up at a thousandfold learning rate."""
    settings = {
        "imgsz": 96,
        "batch": 4,
        "nbs": 4,
        "epochs": 2,
        "fraction": [20, 4],
        "optimizer": "SGD",
        "lr0": 0.01,
    }
    settings |= {
        "warmup_epochs": 0,
        "mosaic": 0.0,
        "amp": False,
        "plots": False,
        "val": False,
        "workers": 0,
    }
    yolo = YOLO(NANO[task])
    one_thread(yolo)
    project = {"project": str(folder), "name": "run", "device": "cpu"}
    return train(
        model=yolo, data=data, lr_mult=1000.0, **{**settings, **project, **changed}
    ), yolo.trainer


def test_without_the_clip_it_ends_non_finite_within_ten_steps(
    coco_mini: Path, tmp_path: Path
) -> None:
    """`guard=stop` ends the run at the first step that is not finite."""
    result, _ = blow_up("detect", coco_mini, tmp_path, clip="none", guard="stop")
    assert result.stopped is not None
    assert result.trace.steps.height <= 10
    assert result.trace.steps["skipped"].to_list()[-1] == "guard"


def test_with_the_clip_weights_stay_finite_and_failure_is_said(
    coco_mini: Path, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    result, trainer = blow_up("detect", coco_mini, tmp_path, guard="off")
    assert all(bool(torch.isfinite(p).all()) for p in trainer.model.parameters())
    losses = result.trace.steps["loss"].to_list()
    assert all(math.isfinite(loss) for loss in losses)
    assert max(losses) > 10 * losses[0]
    assert "clipping prevented NaN, not failure" in log.text
