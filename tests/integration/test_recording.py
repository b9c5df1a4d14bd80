"""What is recorded of batches, epochs and the end of a run, against what the trainer had."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from training import MODELS, one_thread, overrides
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionTrainer

from yolo_stability import StabilityMonitor, Trace, diagnose, load_trace
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.rules.noise import Noise
from yolo_stability.trace.arrays import as_series

pytestmark = pytest.mark.trains

IMAGES = {"fraction": [30, 4]}  # batches of 8, 8, 8 and 6


class Run:
    """A watched training, and what its batches held according to the trainer itself."""

    def __init__(self, folder: Path, **changed: Any) -> None:
        self.folder, self.changed = folder, changed
        self.model = YOLO(MODELS["detect"])
        one_thread(self.model)
        self.monitor = StabilityMonitor().attach(self.model)
        self.images: list[torch.Tensor] = []
        self.objects: list[int] = []
        self.losses: list[float] = []
        self.model.add_callback("on_train_batch_end", self._note_loss)

    def _note_loss(self, trainer: Any) -> None:
        self.losses.append(float(trainer.loss.detach()))

    def train(self, monkeypatch: pytest.MonkeyPatch | None = None) -> Trace:
        with (monkeypatch or pytest.MonkeyPatch()).context() as patch:
            stock = DetectionTrainer.preprocess_batch

            def note(trainer: Any, batch: Any) -> Any:
                batch = stock(trainer, batch)
                if trainer.model.training:
                    self.images.append(batch["img"].clone())
                    self.objects.append(len(batch["bboxes"]))
                return batch

            patch.setattr(DetectionTrainer, "preprocess_batch", note)
            self.model.train(**overrides("detect", self.folder, **{**IMAGES, **self.changed}))
        return self.monitor.trace

    def end(self) -> dict[str, Any]:
        trace = self.monitor.trace
        assert trace.events["kind"][-1] == "end"
        return dict(json.loads(trace.events["data"][-1]))


def windows(trace: Trace) -> Iterator[slice]:
    """Yield the iterations that each step accumulates."""
    first = 0
    for count in trace.steps["accumulate"]:
        yield slice(first, first + count)
        first += count


@pytest.mark.parametrize("changed", [{}, {"nbs": 16, "warmup_epochs": 0}, {"mosaic": 1.0}], ids=str)
def test_counts_losses_and_pixels_of_each_step(tmp_path: Path, changed: dict[str, Any]) -> None:
    run = Run(tmp_path, **changed)
    trace = run.train()
    steps = trace.steps
    assert trace.header.effective["loss_factor"] == "images"
    assert {len(images) for images in run.images} == {8, 6}
    spans = list(windows(trace))
    assert spans[-1].stop <= len(run.images) == len(run.losses) == 8
    for i, span in enumerate(spans):
        row = steps.row(i, named=True)
        images = sum(len(images) for images in run.images[span])
        assert row["images"] == images
        assert row["objects"] == sum(run.objects[span])
        assert row["loss"] == pytest.approx(sum(run.losses[span]) / images, rel=1e-6)
        first = run.images[span.start]
        assert (row["input_min"], row["input_max"]) == (float(first.min()), float(first.max()))
        assert row["input_mean"] == pytest.approx(float(first.mean()), rel=1e-5)
        assert row["input_std"] == pytest.approx(float(first.std(correction=0)), rel=1e-4)
    assert trace.epochs is not None
    assert trace.epochs["images"].to_list() == [30, 30]
    assert trace.epochs["steps"].sum() == steps.height
    series = as_series(trace)
    assert series.summed
    np.testing.assert_array_equal(series.images, steps["images"].to_numpy())


def test_classes_are_no_objects_and_their_loss_is_a_mean(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", 5), ("val", 2)):
        for name in ("dark", "light"):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 120, (32, 32, 3), dtype=np.uint8) + 120 * (name == "light")
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    model = YOLO("yolov8n-cls.yaml")
    monitor = StabilityMonitor().attach(model)
    losses: list[float] = []
    model.add_callback("on_train_batch_end", lambda trainer: losses.append(float(trainer.loss)))
    changed = {"data": str(tmp_path / "data"), "imgsz": 32, "batch": 4, "nbs": 4, "fraction": 1.0}
    model.train(**overrides("detect", tmp_path / "run", **changed, epochs=1))
    trace = monitor.trace
    assert trace.header.effective["loss_factor"] == "none"
    assert trace.steps["images"].to_list() == [4, 4, 2]
    assert trace.steps["objects"].null_count() == 3
    assert trace.steps["loss"].to_list() == pytest.approx(losses, rel=1e-6)
    assert not as_series(trace).summed


def test_a_smaller_last_batch_is_no_noise(tmp_path: Path) -> None:
    """100 images at batch 64, with weights that stay as they are: each image's loss is constant."""
    still = {"lr0": 1e-9, "warmup_bias_lr": 0.0, "warmup_epochs": 0, "optimizer": "SGD"}
    flat = {"hsv_h": 0, "hsv_s": 0, "hsv_v": 0, "fliplr": 0, "scale": 0, "translate": 0}
    run = Run(tmp_path, fraction=[100, 4], batch=64, nbs=64, epochs=34, imgsz=32, **still, **flat)
    series = as_series(run.train())
    assert list(Noise().look(DiagnosisContext(series))) == []
    assert sorted(set(series.images)) == [36, 64]
    raw = series.loss * series.images  # as version 1 recorded it
    before = replace(series, loss=raw, summed=False)
    found = next(iter(Noise().look(DiagnosisContext(before))))
    assert "loss changed by 0.5" in found.message


# --- epochs ---------------------------------------------------------------------------------------


def results(folder: Path) -> list[dict[str, float]]:
    with (folder / "results.csv").open(newline="") as file:
        return [{k.strip(): float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def test_epochs_are_the_rows_of_results_csv(tmp_path: Path) -> None:
    run = Run(tmp_path, val=True, epochs=3)
    trace = run.train()
    rows = results(run.monitor.save_dir)
    assert trace.epochs is not None
    assert trace.epochs["epoch"].to_list() == [row["epoch"] - 1 for row in rows] == [0, 1, 2]
    names = [name for name in rows[0] if name.startswith(("val/", "metrics/"))]
    assert len(names) > 5
    for name in names:
        assert trace.epochs[name].to_list() == pytest.approx([row[name] for row in rows], rel=1e-5)
    assert trace.epochs["validated"].all()
    assert trace.epochs["fitness"].null_count() == 0
    without = as_series(trace).epochs
    (trace.path / "epochs.jsonl").unlink()
    assert trace.path.parent == run.monitor.save_dir
    lost = as_series(run.monitor.trace).epochs
    assert lost.epoch.tolist() == without.epoch.tolist()
    for name in names:
        np.testing.assert_allclose(lost.values[name], without.values[name], rtol=1e-5)


def test_an_epoch_without_a_validation_has_no_metrics(tmp_path: Path) -> None:
    trace = Run(tmp_path, val=False, epochs=3).train()
    assert trace.epochs is not None
    assert trace.epochs["validated"].to_list() == [False, False, True]
    for name in ("val/box_loss", "metrics/mAP50(B)", "fitness"):
        assert trace.epochs[name].is_null().to_list() == [True, True, False]
    (trace.path / "epochs.jsonl").unlink()  # the rows of results.csv are zeros or repetitions
    again = load_trace(trace.path).epochs
    assert again is not None
    assert again["validated"].to_list() == [False, False, True]


def test_a_replayed_epoch_has_two_rows(tmp_path: Path) -> None:
    run = Run(tmp_path, val=True, epochs=3)
    bad = iter([False, True, False, False])
    stock = DetectionTrainer.validate

    def validate(trainer: Any) -> Any:
        metrics, fitness = stock(trainer)
        if not next(bad):
            return metrics, fitness
        return {**metrics, "val/box_loss": math.nan}, math.nan

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DetectionTrainer, "validate", validate)
        trace = run.train()
    assert trace.epochs is not None
    assert trace.epochs.select("attempt", "epoch").rows() == [(0, 0), (0, 1), (1, 1), (1, 2)]
    assert trace.epochs["val/box_loss"].is_nan().to_list() == [False, True, False, False]
    assert math.isnan(trace.epochs["fitness"][1])
    found = as_series(trace).epochs
    assert found.epoch.tolist() == [0, 1, 2]
    assert np.isfinite(found.values["val/box_loss"]).all()


# --- the end --------------------------------------------------------------------------------------


def fail(trainer: Any) -> None:
    if trainer.epoch == 1:
        raise ZeroDivisionError("in a callback")


def fail_in_final_validation(validator: Any) -> None:
    if not validator.training:
        raise ZeroDivisionError("in the final validation")


def interrupt(trainer: Any) -> None:
    if trainer.epoch == 1:
        raise KeyboardInterrupt


def line_of(function: Callable[..., Any]) -> str:
    return f"{Path(__file__).name}:{function.__code__.co_firstlineno + 2}"


@pytest.mark.parametrize(
    ("event", "callback", "done"),
    [
        ("on_train_batch_end", fail, 1),
        ("on_fit_epoch_end", fail, 2),
        ("on_val_start", fail_in_final_validation, 2),
    ],
)
def test_an_exception_is_recorded_with_its_line(
    tmp_path: Path, event: str, callback: Callable[[Any], None], done: int
) -> None:
    run = Run(tmp_path, val=True)
    run.model.add_callback(event, callback)
    with pytest.raises(ZeroDivisionError):
        run.train()
    end = run.end()
    assert (end["completed"], end["stopped"], end["state"]) == (False, None, "exception")
    assert (end["reason"], end["epochs_done"], end["epochs_planned"]) == (None, done, 2)
    assert end["exception"]["type"] == "ZeroDivisionError"
    assert end["exception"]["message"].startswith("in ")
    assert end["exception"]["where"] == line_of(callback)


def test_an_error_in_a_library_names_the_line_that_trained(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.model.add_callback("on_train_batch_end", lambda trainer: int("none"))
    with pytest.raises(ValueError, match="invalid literal"):
        run.train()
    assert run.end()["exception"]["where"].startswith(f"{Path(__file__).name}:")


def test_an_interrupt_is_no_exception(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.model.add_callback("on_train_batch_end", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.train()
    end = run.end()
    assert (end["state"], end["exception"], end["epochs_done"]) == ("interrupted", None, 1)


def test_a_run_inside_an_except_block_has_not_failed(tmp_path: Path) -> None:
    run = Run(tmp_path, epochs=1)
    try:
        raise RuntimeError("of before")
    except RuntimeError:
        run.train()
    end = run.end()
    assert (end["state"], end["completed"], end["exception"]) == ("finished", True, None)


def test_a_stop_by_a_callback_is_the_users(tmp_path: Path) -> None:
    run = Run(tmp_path, epochs=4)
    run.model.add_callback("on_train_epoch_end", lambda trainer: setattr(trainer, "stop", True))
    run.train()
    end = run.end()
    assert (end["state"], end["reason"], end["completed"]) == ("stopped", "user", True)
    assert (end["epochs_done"], end["epochs_planned"]) == (1, 4)


def test_the_end_of_the_time_is_no_end_of_the_plan(tmp_path: Path) -> None:
    run = Run(tmp_path, epochs=500, time=1.0 / 3600)
    run.train()
    end = run.end()
    assert (end["state"], end["reason"], end["completed"]) == ("stopped", "time", True)
    assert 0 < end["epochs_done"] < 500


def test_a_stop_by_the_guard_is_named(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.monitor = StabilityMonitor(guard="stop", fault="nan_grad@2")
    run.model.reset_callbacks()
    run.monitor.attach(run.model)
    run.train()
    end = run.end()
    assert (end["state"], end["reason"], end["completed"]) == ("stopped", "guard", False)
    assert "consecutive" in end["stopped"]
    assert diagnose(run.monitor.save_dir).verdict == "failed"
