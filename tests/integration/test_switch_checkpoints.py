"""Runs with switches write plain Ultralytics checkpoints, usable without this package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from training import MODELS, overrides

from yolo_stability import train

pytestmark = pytest.mark.trains

# Loads both checkpoints where the package cannot be imported, and does with them what people do.
SCRIPT = """
import json, sys
sys.modules["yolo_stability"] = None
import numpy as np, torch
torch.set_num_threads(1)
from ultralytics import YOLO, RTDETR
folder, data, out, kind = sys.argv[1:]
images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))

def first(value):
    while isinstance(value, (list, tuple)):
        value = value[0]
    return value

found = {}
for name in ("last.pt", "best.pt"):
    model = (RTDETR if kind == "rtdetr" else YOLO)(f"{folder}/weights/{name}")
    with torch.no_grad():
        plain = first(model.model.float().eval()(images))
        fused = first(model.model.fuse(verbose=False)(images))
    difference = float((plain - fused).abs().max())
    found[name] = {"difference": difference, "size": float(plain.abs().max())}
    model = (RTDETR if kind == "rtdetr" else YOLO)(f"{folder}/weights/{name}")
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    found[name]["predicted"] = len(model.predict(image, imgsz=64, verbose=False))
settings = dict(imgsz=64, batch=4, workers=0, verbose=False, plots=False)
metrics = model.val(data=data, project=out, **settings)
found["val"] = sorted(metrics.results_dict)
for format, options in {"torchscript": {}, "onnx": {"simplify": False}}.items():
    path = model.export(format=format, imgsz=64, verbose=False, **options)
    exported = RTDETR(path) if kind == "rtdetr" else YOLO(path, task=model.task)
    found[format] = len(exported.predict(image, imgsz=64, verbose=False))
print("RESULT " + json.dumps(found))
"""

SWITCHES: dict[str, dict[str, Any]] = {
    "none": {"norm": "none", "init": "kaiming"},
    "group": {"norm": "group"},
    "layer": {"norm": "layer", "act": "relu"},
    "frozen": {"norm": "frozen"},
    "act": {"act": "leaky_relu"},
    "residual": {"residual": False},
    "depth": {"depth_mult": 2.0},
    "lsuv": {"norm": "none", "init": "lsuv"},
    "all": {
        "norm": "group",
        "act": "gelu",
        "residual": False,
        "depth_mult": 2.0,
        "init": "orthogonal",
    },
}
QUICK = [("pose", "all")]


def use_elsewhere(save_dir: Path, data: str, folder: Path, kind: str = "yolo") -> dict[str, Any]:
    """Run the script and return what it found."""
    command = [sys.executable, "-c", SCRIPT, str(save_dir), data, str(folder), kind]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    found: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
    return found


def check(found: dict[str, Any], task: str) -> None:
    """Check what the script found."""
    for name in ("last.pt", "best.pt"):
        assert found[name]["difference"] <= 1e-4 * max(1.0, found[name]["size"])
        assert found[name]["predicted"] == 1
    assert f"metrics/mAP50({'P' if task == 'pose' else 'B'})" in found["val"]
    assert (found["torchscript"], found["onnx"]) == (1, 1)


@pytest.mark.parametrize(("task", "name"), QUICK)
def test_checkpoints_are_plain(task: str, name: str, tmp_path: Path) -> None:
    settings = overrides(task, tmp_path, epochs=1, warmup_epochs=0)
    result = train(model=MODELS[task], **SWITCHES[name], **settings)
    check(use_elsewhere(result.save_dir, settings["data"], tmp_path), task)


@pytest.mark.full
@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize(
    ("model", "task"),
    [
        ("yolov8n.yaml", "detect"),
        ("yolo11n.yaml", "detect"),
        ("yolo26n.yaml", "detect"),
        ("yolov8n-pose.yaml", "pose"),
        ("yolo11n-pose.yaml", "pose"),
        ("yolo26n-pose.yaml", "pose"),
    ],
)
def test_checkpoints_of_every_family_are_plain(
    model: str, task: str, name: str, tmp_path: Path
) -> None:
    if (task, name) in QUICK and "26" in model:
        pytest.skip("the quick tests do this one")
    settings = overrides(task, tmp_path, epochs=1, warmup_epochs=0)
    result = train(model=model, **SWITCHES[name], **settings)
    check(use_elsewhere(result.save_dir, settings["data"], tmp_path), task)


@pytest.mark.full
@pytest.mark.parametrize("name", ["none", "group", "frozen", "act"])
def test_rtdetr_where_it_can_be_changed(name: str, tmp_path: Path) -> None:
    """Its transformer keeps LayerNorm and its own additions; the header says so."""
    settings = overrides(
        "detect", tmp_path, epochs=1, warmup_epochs=0, optimizer="AdamW", lr0=1e-4, fraction=[8, 4]
    )
    result = train(model="rtdetr-resnet50.yaml", **SWITCHES[name], **settings)
    said = result.trace.header.effective["switches"]
    if name in {"none", "group"}:
        assert "LayerNorm unchanged" in said["norm"]
    check(use_elsewhere(result.save_dir, settings["data"], tmp_path, "rtdetr"), "detect")
