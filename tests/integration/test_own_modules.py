"""Modules of one's own that are broken in training, backward, half precision or evaluation.

The module is named, no image is excluded, and what is advised helps.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn
from training import MODELS, one_thread, overrides, state
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn import tasks

import yolo_stability as ys
from yolo_stability.core.findings import Diagnosis
from yolo_stability.diagnosis.causes import rank_causes
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.targets import examine_target
from yolo_stability.trace import load_trace
from yolo_stability.trace.arrays import as_series

pytestmark = pytest.mark.trains

AT = 3
"""Layer of the tiny model that the module follows; it is then layer 4."""


class Own(nn.Module):
    """A block of one's own: `fault` names what is wrong with it."""

    fault = ""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels, 1, 1))
        self.register_buffer("scale", torch.zeros(1))
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        chosen = x.mean((1, 2, 3), keepdim=True)
        chosen = chosen == chosen.max()  # one image of each batch, whichever it is
        if self.fault == "forward" and self.training and self.calls > 5:
            return self.gain * torch.where(chosen, x * 0 / (x * 0).sum(), x)
        if self.fault == "forward, repaired" and self.training:
            return self.gain * torch.where(chosen, x * 0 / ((x * 0).sum() + 1e-6), x)
        if self.fault == "backward" and self.training and self.calls > 5:
            return self.gain * x + torch.where(chosen, (x * 0).square().sum().sqrt(), x * 0)
        if self.fault == "half" and self.training and self.calls > 5:
            half = x.half() * 60000  # beyond the range, unless x is next to nothing
            return self.gain * half.float().clamp(max=1e30)
        if self.fault == "evaluation" and not self.training:
            return self.gain * x / self.scale
        return self.gain * x


@pytest.fixture
def model_with_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Return a function that writes the tiny model with a broken module, and returns its path."""
    monkeypatch.setattr(tasks, "Own", Own, raising=False)

    def written(fault: str) -> str:
        monkeypatch.setattr(Own, "fault", fault)
        net = yaml.safe_load(Path(MODELS["detect"]).read_text())
        rows = len(net["backbone"])
        channels = _channels(net)

        def moved(source: Any) -> Any:
            if isinstance(source, list):
                return [moved(one) for one in source]
            return source + 1 if source > AT else source

        for part in ("backbone", "head"):
            net[part] = [[moved(source), *rest] for source, *rest in net[part]]
        assert rows > AT
        net["backbone"].insert(AT + 1, [-1, 1, "Own", [channels]])
        path = tmp_path / "own.yaml"
        path.write_text(yaml.safe_dump(net))
        return str(path)

    yield written
