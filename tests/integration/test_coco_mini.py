"""The main job on real COCO images, from the command line to the trace."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch.optim.optimizer import register_optimizer_step_post_hook
from training import NANO
from ultralytics import YOLO

from yolo_stability import load_trace
from yolo_stability.cli.main import main

pytestmark = [pytest.mark.trains, pytest.mark.coco_mini]


@pytest.mark.parametrize("task", ["detect", "pose"])
def test_train_on_a_coco_folder(task: str, coco_mini: Path, tmp_path: Path) -> None:
    """Rows are counted against the calls of `optimizer.step()` that torch itself saw."""
    taken: list[int] = []
    before = {p: p.stat().st_mtime_ns for p in coco_mini.rglob("*")}
    hook = register_optimizer_step_post_hook(lambda *_: taken.append(1))
    try:
        words = f"train {task} model={NANO[task]} data={coco_mini} project={tmp_path} name=run"
        quick = "epochs=2 imgsz=64 batch=8 device=cpu workers=0 plots=False"
        code = main([*words.split(), *quick.split()])
    finally:
        hook.remove()

    assert code == 0
    trace = load_trace(tmp_path / "run")
    assert trace.steps.height == len(taken) > 0
    model = YOLO(NANO[task]).model
    with_parameters = {f"model.{m.i}" for m in model.model if any(True for _ in m.parameters())}
    recorded = set(trace.blocks["block"].cast(str).unique())
    assert {".".join(name.split(" ")[0].split(".")[:2]) for name in recorded} == with_parameters
    assert trace.blocks.height == trace.steps.height * len(trace.header.blocks)
    assert trace.blocks["grad_norm"].null_count() == 0
    notices = [
        data for kind, data in trace.events.select("kind", "data").iter_rows() if kind == "notice"
    ]
    assert len(notices) == (task == "pose")  # 28 images, accumulated to 64: one step in two epochs
    assert all("nbs=8 takes a step after every batch" in notice for notice in notices)
    assert {
        p: p.stat().st_mtime_ns for p in coco_mini.rglob("*")
    } == before  # used in place, untouched
