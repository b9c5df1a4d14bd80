"""Leaps of the learning rate in real trainings: heard at their step, by their factor, and undone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from training import MODELS, overrides
from ultralytics import YOLO

from yolo_stability import RunResult, StabilityMonitor, train
from yolo_stability.core.findings import Finding
from yolo_stability.core.types import Trace
from yolo_stability.diagnosis.diagnose import diagnose_trace

pytestmark = pytest.mark.trains

Leap = Callable[[Any, float], None]


def everywhere(trainer: Any, factor: float) -> None:
    """Multiply every rate in all places where it is kept."""
    for group in trainer.optimizer.param_groups:
        group["lr"] *= factor
        group["initial_lr"] *= factor
    trainer.scheduler.base_lrs = [factor * rate for rate in trainer.scheduler.base_lrs]


def groups_only(trainer: Any, factor: float) -> None:
    """Multiply the current rates, which the schedule replaces in the next epoch."""
    for group in trainer.optimizer.param_groups:
        group["lr"] *= factor


def one_group(trainer: Any, factor: float) -> None:
    """Multiply the rate of the biases in all places."""
    for i, group in enumerate(trainer.optimizer.param_groups):
        if group.get("param_group") == "bias":
            group["lr"] *= factor
            group["initial_lr"] *= factor
            trainer.scheduler.base_lrs[i] *= factor


def base_rates(trainer: Any, factor: float) -> None:
    """Multiply the base rates of the scheduler, which act from the next epoch on."""
    trainer.scheduler.base_lrs = [factor * rate for rate in trainer.scheduler.base_lrs]


def schedule(trainer: Any, factor: float) -> None:
    """Replace the schedule by one that is too high from the next epoch on."""
    shares = trainer.scheduler.lr_lambdas
    trainer.scheduler.lr_lambdas = [lambda e, share=share: factor * share(e) for share in shares]


def leaping_model(at: int, leap: Leap, factor: float) -> YOLO:
    """Return a model whose rates leap before a batch, counted over the session."""
    model, batches = YOLO(MODELS["detect"]), 0

    def callback(trainer: Any) -> None:
        nonlocal batches
        if batches == at:
            leap(trainer, factor)
        batches += 1

    model.add_callback("on_train_batch_start", callback)
    return model


def rescued(model: YOLO, folder: Path, **changed: Any) -> RunResult:
    settings = {"epochs": 20, "optimizer": "SGD", "lr0": 0.01, "rescue": "auto", **changed}
    return train("detect", model=model, **overrides("detect", folder, **settings))


def leap_of(trace: Trace) -> Finding:
    """Return the finding about the leap, in the whole trace."""
    (found,) = [f for f in diagnose_trace(trace).findings if f.rule == "rate_leap"]
    return found


def events(trace: Trace, kind: str) -> list[tuple[int, dict[str, Any]]]:
    """Return step and data of the events of a kind."""
    rows = trace.events.filter(pl.col("kind") == kind).select("step", "data").rows()
    return [(step, json.loads(data)) for step, data in rows]


def heard(trace: Trace) -> int | None:
    """Return the step at which a leap was reported during the run."""
    steps = [step for step, data in events(trace, "finding") if data["rule"] == "rate_leap"]
    return steps[0] if steps else None


@pytest.mark.parametrize("factor", [15.0, 500.0])
@pytest.mark.parametrize(
    ("leap", "at", "step", "changed"),
    [
        (everywhere, 34, 34, {}),
        (one_group, 34, 34, {}),
        pytest.param(groups_only, 33, 33, {}, marks=pytest.mark.full),
        pytest.param(base_rates, 33, 36, {}, marks=pytest.mark.full),
        pytest.param(schedule, 33, 36, {}, marks=pytest.mark.full),
        (everywhere, 18, 18, {"warmup_epochs": 8}),
        pytest.param(everywhere, 34, 34, {"optimizer": "AdamW"}, marks=pytest.mark.full),
    ],
)
def test_a_leap_is_heard_at_its_step_and_undone(
    leap: Leap, at: int, step: int, changed: dict[str, Any], factor: float, tmp_path: Path
) -> None:
    result = rescued(leaping_model(at, leap, factor), tmp_path, **changed)
    found, trace = leap_of(result.trace), result.trace
    assert (found.severity, found.first_step) == ("critical", step)
    assert found.observed == pytest.approx(factor, rel=0.1)
    assert diagnose_trace(trace).cause == "learning_rate"
    assert heard(trace) is not None
    assert step <= heard(trace) <= step + 3
    ((acted, data),) = events(trace, "rescue")
    assert step <= acted <= step + 3
    assert (data["remedy"], data["cause"]) == ("lower_rate", "learning_rate")
    assert float(data["value"]) == pytest.approx(1 / factor, rel=0.1)
    assert (data["groups"] == ["bias"]) == (leap is one_group)
    assert events(trace, "rescued")
    assert result.stopped is None
    rates = trace.steps["lr/weight"].to_list()
    assert max(rates[step + 2 :]) < 0.02
    assert max(trace.steps["lr/bias"].to_list()[-16:]) < 0.02  # past any warm-up
    assert rates[-1] > 0.0005  # as without the leap, not lowered further


def test_a_callback_that_sets_the_rate_again_ends_the_run_with_a_clear_sentence(
    tmp_path: Path,
) -> None:
    model, batches = YOLO(MODELS["detect"]), 0

    def callback(trainer: Any) -> None:
        nonlocal batches
        batches += 1
        for group in trainer.optimizer.param_groups if batches > 34 else ():
            group["lr"] = 2.5

    model.add_callback("on_train_batch_start", callback)
    result = rescued(model, tmp_path)
    ((_, data),) = events(result.trace, "rescue")
    assert data["remedy"] == "lower_rate"
    assert result.stopped is not None
    assert "a callback or scheduler sets the learning rate" in result.stopped
    assert result.trace.steps.height < 40


@pytest.mark.parametrize("factor", [15.0, 500.0])
def test_a_leap_after_a_resume(factor: float, tmp_path: Path) -> None:
    first = rescued(YOLO(MODELS["detect"]), tmp_path, epochs=12, save_period=2)
    kept = first.save_dir / "weights" / "epoch4.pt"
    model, batches = YOLO(kept), 0

    def callback(trainer: Any) -> None:
        nonlocal batches
        if batches == 2:
            everywhere(trainer, factor)
        batches += 1

    model.add_callback("on_train_batch_start", callback)
    monitor = StabilityMonitor().attach(model)
    model.train(resume=str(kept))
    found, trace = leap_of(monitor.trace), monitor.trace
    assert (found.severity, found.first_step) == ("critical", 48 + 2)
    assert found.observed == pytest.approx(factor, rel=0.1)
    ((acted, data),) = events(trace, "rescue")
    assert 50 <= acted <= 53
    assert float(data["value"]) == pytest.approx(1 / factor, rel=0.1)
    assert monitor.stopped is None


@pytest.mark.parametrize(
    "changed",
    [
        {"warmup_epochs": 0},
        {"warmup_epochs": 3, "cos_lr": True, "lrf": 0.1, "optimizer": "AdamW", "lr0": 0.002},
        {"batch": 4, "nbs": 16, "warmup_epochs": 2, "mosaic": 1.0, "close_mosaic": 3},
    ],
)
def test_no_healthy_warm_up_or_schedule_is_a_leap(changed: dict[str, Any], tmp_path: Path) -> None:
    result = rescued(YOLO(MODELS["detect"]), tmp_path, **{"epochs": 8, **changed})
    assert heard(result.trace) is None
    assert not events(result.trace, "rescue")
    assert not [f for f in diagnose_trace(result.trace).findings if f.rule == "rate_leap"]
