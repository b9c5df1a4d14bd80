"""An incident folder as a training writes it, from a model of three layers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import DEFAULT_CFG

from yolo_stability.config import StabilitySettings
from yolo_stability.guard.incidents.folder import Incident, write_incident
from yolo_stability.guard.incidents.model import describe_model
from yolo_stability.guard.incidents.window import KeptBatch, RandomState

LAYERS = {
    "nc": 2,
    "backbone": [
        [-1, 1, "Conv", [8, 3, 2]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "C2f", [16, True]],
    ],
    "head": [[[2], 1, "Detect", ["nc"]]],
}


def written(folder: Path) -> Path:
    """Write an incident whose second image holds a NaN, and return its folder."""
    torch.manual_seed(0)
    model = DetectionModel(json.loads(json.dumps(LAYERS)), ch=3, verbose=False)
    model.args = DEFAULT_CFG
    images = torch.rand(2, 3, 64, 64)
    images[1, 0, 3, 3] = torch.nan
    batch = {
        "img": images,
        "im_file": ["good.jpg", "bad.jpg"],
        "cls": torch.zeros(2, 1),
        "bboxes": torch.full((2, 4), 0.5),
        "batch_idx": torch.arange(2.0),
    }
    model.train()(batch)
    facts = {
        "step": 7,
        "sign": "loss",
        "culprit": {"module": None, "phase": None, "images": [], "micro_batch": 0},
        "hits": {"parameters": [], "count": 0, "total": 1},
        "model": describe_model(model),
        "args": vars(DEFAULT_CFG),
        "settings": StabilitySettings().model_dump(),
        "amp": None,
        "device": "cpu",
        "versions": {},
    }
    state = {name: value.clone() for name, value in model.state_dict().items()}
    kept = KeptBatch(
        iteration=7,
        batch=batch,
        random=RandomState.now(torch.device("cpu")),
        loss=torch.tensor(torch.nan),
    )
    write_incident(
        folder, Incident(facts=facts, weights=state, extras={}, window=[kept], culprit=0)
    )
    return folder


def changed(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """Change the content of `incident.json`."""
    file = folder / "incident.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    change(content)
    file.write_text(json.dumps(content), encoding="utf-8")
    return folder
