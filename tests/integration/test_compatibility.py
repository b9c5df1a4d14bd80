"""Ultralytics in all its moods: each is really trained for a few steps, stock and watched, and the weights compared.

The documentation lists the rows of `MOODS` and `TASKS`; a test keeps the two equal.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from shorter import short
from torch.optim.optimizer import register_optimizer_step_post_hook
from training import MODELS, one_thread, overrides, state
from ultralytics import RTDETR, YOLO

from yolo_stability import StabilityMonitor, Trace

pytestmark = pytest.mark.trains

REPO = Path(__file__).resolve().parents[2]

MOODS: dict[str, dict[str, Any]] = {
    "AdamW": {"optimizer": "AdamW"},
    "MuSGD and its groups": {"optimizer": "MuSGD"},
    "optimizer=auto": {"optimizer": "auto"},
    "frozen layers": {"freeze": 5},
    "multi_scale": {"multi_scale": 0.5},
    "mosaic, closed for the last epoch": {"mosaic": 1.0, "close_mosaic": 1},
    "validation in every epoch": {"val": True},
    "early stopping": {"val": True, "patience": 1, "epochs": 4},
    "save_period": {"save_period": 1},
    "cosine schedule": {"cos_lr": True},
    "no warm-up": {"warmup_epochs": 0},
    "accumulation ramp": {"batch": 4, "nbs": 16},
    "class weights": {"cls_pw": 0.5},
    "single_cls": {"single_cls": True},
}


SHORT_MOODS = (
    "MuSGD and its groups",
    "early stopping",
    "multi_scale",
    "accumulation ramp",
    "no warm-up",
)


def run(
    model: Any, arguments: dict[str, Any], monitor: StabilityMonitor | None
) -> tuple[dict[str, torch.Tensor], int]:
    """Train and return the final weights, and how many optimizer steps torch itself saw."""
    one_thread(model)
    taken: list[int] = []
    hook = register_optimizer_step_post_hook(lambda *_: taken.append(1))
    try:
        if monitor:
            monitor.attach(model)
        model.train(**arguments)
    finally:
        hook.remove()
    return state(model.trainer), len(taken)


def compare(make: Callable[[], Any], arguments: dict[str, Any], folder: Path) -> Trace:
    """Train stock and watched, assert that nothing differs, and return the trace."""
    expected, _ = run(make(), {**arguments, "project": str(folder / "stock")}, None)
    monitor = StabilityMonitor(watch_every=2)
    model = make()
    seen, steps = run(model, {**arguments, "project": str(folder / "watched")}, monitor)
    assert expected.keys() == seen.keys()
    assert [name for name in expected if not torch.equal(expected[name], seen[name])] == []
    trace = monitor.trace
    assert trace.steps.height == steps > 0
    assert trace.blocks.height == steps * len(trace.header.blocks)
    assert trace.steps["skipped"].null_count() == steps
    return trace


@pytest.mark.parametrize("mood", short(list(MOODS), *SHORT_MOODS))
def test_mood(mood: str, tmp_path: Path) -> None:
    trace = compare(
        lambda: YOLO(MODELS["detect"]), overrides("detect", tmp_path, **MOODS[mood]), tmp_path
    )
    assert trace.steps["grad_norm"].is_finite().all()


def test_time_limit(tmp_path: Path) -> None:
    """A run that ends by the clock: one row for each step, the last of which comes without an end of its batch."""
    monitor = StabilityMonitor()
    arguments = overrides("detect", tmp_path, time=4 / 3600, epochs=100)
    _, steps = run(YOLO(MODELS["detect"]), arguments, monitor)
    assert monitor.trace.steps.height == steps > 0


def test_out_of_memory_halves_the_batch(tmp_path: Path) -> None:
    """The epoch starts over with half the batch: a new attempt, steps and iterations go on without a gap."""
    model = YOLO(MODELS["detect"])
    struck: list[int] = []

    def strike(trainer: Any) -> None:
        def fail(module: Any, inputs: Any) -> None:
            if module.training and len(struck) < 3:
                struck.append(1)
                if len(struck) == 3:
                    raise RuntimeError("CUDA out of memory (simulated)")

        trainer.model.register_forward_pre_hook(fail)

    model.add_callback("on_train_start", strike)
    monitor = StabilityMonitor()
    _, steps = run(model, overrides("detect", tmp_path, epochs=1), monitor)
    trace = monitor.trace
    assert (
        trace.steps.height == steps == 2 + 4
    )  # 32 images, batch 4, two of them to a step of nbs=8
    assert trace.steps["attempt"].to_list() == [0] * 2 + [1] * 4
    assert trace.steps["step"].to_list() == list(range(6))
    assert trace.steps["iteration"].to_list() == [0, 1, 3, 5, 7, 9]
    event = next(
        json.loads(d) for k, d in trace.events.select("kind", "data").rows() if k == "oom_restart"
    )
    assert event["batch"] == 4


def test_the_documentation_lists_what_is_tried_here() -> None:
    page = REPO / "docs" / "pages" / "measured" / "compatibility.md"
    section = page.read_text(encoding="utf-8").split("## Result")[1].split("\n## ")[0]
    for name in (*MOODS, *TASKS):
        assert name in section, name


# Tasks beside detect and pose, on data drawn here.


def draw(folder: Path, task: str) -> str:
    """Draw 16 training and 4 validation images with one rectangle each, and return the data of the task."""
    random = np.random.default_rng(0)
    for split, count in (("train", 16), ("val", 4)):
        for i in range(count):
            image = np.full((64, 64, 3), 30, np.uint8)
            x, y = random.integers(8, 32, 2).tolist()
            kind = i % 2
            cv2.rectangle(
                image, (x, y), (x + 20, y + 20), (0, 200, 250) if kind else (250, 120, 0), -1
            )
            if task == "classify":
                path = folder / split / ("ab"[kind]) / f"{i}.png"
            else:
                path = folder / "images" / split / f"{i}.png"
                corners = [(x, y), (x + 20, y), (x + 20, y + 20), (x, y + 20)]
                label = folder / "labels" / split / f"{i}.txt"
                label.parent.mkdir(parents=True, exist_ok=True)
                label.write_text(
                    f"{kind} "
                    + " ".join(f"{c / 64:.4f}" for point in corners for c in point)
                    + "\n"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image)
    if task == "classify":
        return str(folder)
    yaml = folder / "data.yaml"
    yaml.write_text(f"path: {folder}\ntrain: images/train\nval: images/val\nnames: [a, b]\n")
    return str(yaml)


TASKS: dict[str, tuple[Callable[[], Any], str]] = {
    "segment": (lambda: YOLO("yolo26n-seg.yaml"), "proto"),
    "obb": (lambda: YOLO("yolo26n-obb.yaml"), "angle"),
    "classify": (lambda: YOLO("yolo26n-cls.yaml"), "cls"),
    "YOLO11 detect": (lambda: YOLO("yolo11n.yaml"), "box"),
    "YOLOv8 detect": (lambda: YOLO("yolov8n.yaml"), "cls"),
}


@pytest.mark.parametrize("task", short(list(TASKS), "segment", "classify", "YOLOv8 detect"))
def test_task(task: str, tmp_path: Path) -> None:
    make, role = TASKS[task]
    data = draw(tmp_path / "data", task)
    arguments = overrides("detect", tmp_path, data=data, epochs=1, batch=4, nbs=4, fraction=1.0)
    trace = compare(make, arguments, tmp_path)
    assert role in {block.role for block in trace.header.blocks}


@pytest.mark.full
def test_rtdetr(tmp_path: Path) -> None:
    data = draw(tmp_path / "data", "detect")
    arguments = overrides(
        "detect", tmp_path, data=data, epochs=1, batch=4, nbs=4, fraction=1.0, optimizer="AdamW"
    )
    # Two runs of stock RT-DETR differ unless torch is told to be deterministic, which Ultralytics does on request.
    trace = compare(lambda: RTDETR("rtdetr-l.yaml"), {**arguments, "deterministic": True}, tmp_path)
    assert "decoder" in {block.role for block in trace.header.blocks}
