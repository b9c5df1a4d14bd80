"""Watching changes nothing: the weights of a watched run equal those of a stock run bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from shorter import short
from training import MODELS, one_thread, overrides, state, train_stock
from ultralytics import YOLO

from yolo_stability import StabilityMonitor

pytestmark = pytest.mark.trains


@pytest.mark.parametrize(
    ("optimizer", "task"),
    short(
        [("SGD", "detect"), ("SGD", "pose"), ("AdamW", "detect"), ("AdamW", "pose")],
        ("SGD", "detect"),
        ("AdamW", "pose"),
    ),
)
def test_weights_and_ema_are_bit_identical(
    task: str, optimizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = {"optimizer": optimizer, "val": True}
    stock = train_stock(task, tmp_path / "stock", monkeypatch, **changed)
    model = YOLO(MODELS[task])
    one_thread(model)
    monitor = StabilityMonitor(guard="skip", watch_every=2).attach(model)
    model.train(**overrides(task, tmp_path / "watched", **changed))

    expected, seen = state(stock.trainer), state(model.trainer)
    assert stock.steps == 8
    assert expected.keys() == seen.keys()
    assert [name for name in expected if not torch.equal(expected[name], seen[name])] == []
    assert monitor.trace.steps.height == stock.steps


@pytest.mark.smoke
def test_accumulation_and_an_open_window_at_the_end_of_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = {
        "batch": 4,
        "nbs": 12,
        "epochs": 3,
        "warmup_epochs": 0,
    }  # 8 iterations an epoch, 3 to a step
    stock = train_stock("detect", tmp_path / "stock", monkeypatch, **changed)
    model = YOLO(MODELS["detect"])
    one_thread(model)
    monitor = StabilityMonitor().attach(model)
    model.train(**overrides("detect", tmp_path / "watched", **changed))

    steps = monitor.trace.steps
    assert steps.height == stock.steps
    assert steps["accumulate"].to_list() == [3] * stock.steps
    assert steps["micro_norm"].null_count() == 0
    assert steps["iteration"].to_list() == [3 * i + 2 for i in range(stock.steps)]
    expected, seen = state(stock.trainer), state(model.trainer)
    assert all(torch.equal(expected[name], seen[name]) for name in expected)
