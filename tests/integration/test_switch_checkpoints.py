"""Runs with switches write plain Ultralytics checkpoints, usable without this package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from training import MODELS, overrides

from yolo_stability import train

pytestmark = pytest.mark.trains

# A process in which the package cannot be imported. For each line of words that it reads, it forks a process that loads
# both checkpoints and does with them what people do; so the imports, which take longer, are paid once.
SCRIPT = """
import json, os, sys, traceback
sys.modules["yolo_stability"] = None
import numpy as np, onnxruntime, torch
import ultralytics.models.yolo
torch.set_num_threads(1)
from ultralytics import YOLO, RTDETR

def first(value):
    while isinstance(value, (list, tuple)):
        value = value[0]
    return value

def use(folder, data, out, kind):
    os.chdir(out)
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
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
    return found

answers = os.fdopen(int(sys.argv[1]), "w")
for line in sys.stdin:
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        continue
    try:
        answer = use(*json.loads(line))
    except BaseException:
        answer = traceback.format_exc()
    print(json.dumps(answer), file=answers, flush=True)
    os._exit(0)
"""


class Elsewhere:
    """Uses checkpoints where the package cannot be imported."""

    def __init__(self) -> None:
        ours, theirs = os.pipe()
        command = [sys.executable, "-c", SCRIPT, str(theirs)]
        self._answers = os.fdopen(ours)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(theirs,),
            text=True,
        )
        os.close(theirs)

    def use(self, save_dir: Path, data: str, folder: Path, kind: str = "yolo") -> dict[str, Any]:
        """Use both checkpoints of a run and return what was found."""
        assert self._process.stdin is not None
        words = [str(save_dir), data, str(folder), kind]
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        found = json.loads(self._answers.readline())
        assert isinstance(found, dict), found
        return found

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._answers.close()


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    """Give the process; it lives as long as the tests of this file run."""
    process = Elsewhere()
    yield process
    process.close()


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


def check(found: dict[str, Any], task: str) -> None:
    """Check what the script found."""
    for name in ("last.pt", "best.pt"):
        assert found[name]["difference"] <= 1e-4 * max(1.0, found[name]["size"])
        assert found[name]["predicted"] == 1
    assert f"metrics/mAP50({'P' if task == 'pose' else 'B'})" in found["val"]
    assert (found["torchscript"], found["onnx"]) == (1, 1)


@pytest.mark.parametrize(("task", "name"), QUICK)
def test_checkpoints_are_plain(task: str, name: str, tmp_path: Path, elsewhere: Elsewhere) -> None:
    settings = overrides(task, tmp_path, epochs=1, warmup_epochs=0)
    result = train(model=MODELS[task], **SWITCHES[name], **settings)
    check(elsewhere.use(result.save_dir, settings["data"], tmp_path), task)


# Each switch meets each family once, detection and pose in turns: 27 of the 54 combinations.
FAMILIES = ("yolov8n", "yolo11n", "yolo26n")
CASES = [
    (f"{family}-pose.yaml" if (row + column) % 2 else f"{family}.yaml", name)
    for row, name in enumerate(SWITCHES)
    for column, family in enumerate(FAMILIES)
]


@pytest.mark.full
@pytest.mark.parametrize(("model", "name"), CASES)
def test_checkpoints_of_every_family_are_plain(
    model: str, name: str, tmp_path: Path, elsewhere: Elsewhere
) -> None:
    task = "pose" if "pose" in model else "detect"
    settings = overrides(task, tmp_path, epochs=1, warmup_epochs=0)
    result = train(model=model, **SWITCHES[name], **settings)
    check(elsewhere.use(result.save_dir, settings["data"], tmp_path), task)


@pytest.mark.full
@pytest.mark.parametrize("name", ["none", "group", "frozen", "act"])
def test_rtdetr_where_it_can_be_changed(name: str, tmp_path: Path, elsewhere: Elsewhere) -> None:
    """Its transformer keeps LayerNorm and its own additions; the header says so."""
    settings = overrides(
        "detect", tmp_path, epochs=1, warmup_epochs=0, optimizer="AdamW", lr0=1e-4, fraction=[8, 4]
    )
    result = train(model="rtdetr-resnet50.yaml", **SWITCHES[name], **settings)
    said = result.trace.header.effective["switches"]
    if name in {"none", "group"}:
        assert "LayerNorm unchanged" in said["norm"]
    check(elsewhere.use(result.save_dir, settings["data"], tmp_path, "rtdetr"), "detect")
