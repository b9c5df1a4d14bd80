"""What is recorded is true: compared with gradients captured from a stock run, in float64."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from shorter import short
from training import NANO, Stock, one_thread, overrides, train_stock
from ultralytics import YOLO

from yolo_stability import StabilityMonitor, Trace

pytestmark = pytest.mark.trains


def watch(task: str, folder: Path, *, scaler: float | None = None, **changed: Any) -> Trace:
    """Train watched and return the trace; a scaler enables AMP's gradient scaling at this scale."""
    model = YOLO(NANO[task])
    one_thread(model)
    if scaler is not None:
        model.add_callback("on_pretrain_routine_end", lambda trainer: cpu_scaler(trainer, scaler))
    monitor = StabilityMonitor().attach(model)
    model.train(**overrides(task, folder, **changed))
    return monitor.trace


def cpu_scaler(trainer: Any, scale: float) -> None:
    """Give a CPU trainer a gradient scaler whose scale does not grow."""
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=10**6)


def reference_norms(trace: Trace, stock: Stock) -> pl.DataFrame:
    """Return block norms in float64 from captured gradients, with blocks by parameter name only."""
    rows = []
    for step, gradients in enumerate(stock.gradients):
        squares: dict[str, float] = {}
        for name, gradient in gradients.items():
            parts = name.split(".")
            head = parts[1] == "23"
            key = f"model.{parts[1]}.{parts[2]} " if head else f"model.{parts[1]} "
            squares[key] = squares.get(key, 0.0) + float(gradient.double().square().sum())
        for block in trace.header.blocks:
            key = next(k for k in squares if block.name.startswith(k))
            rows.append({"step": step, "block": block.name, "reference": math.sqrt(squares[key])})
        assert len(squares) == len(trace.header.blocks)
    return pl.DataFrame(rows)


@pytest.mark.parametrize("task", ["detect", "pose"])
def test_norms_equal_a_float64_reference(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = train_stock(task, tmp_path / "stock", monkeypatch, models=NANO)
    trace = watch(task, tmp_path / "watched")

    both = trace.blocks.with_columns(pl.col("block").cast(pl.String)).join(
        reference_norms(trace, stock).with_columns(pl.col("step").cast(pl.UInt32)),
        on=["step", "block"],
        validate="1:1",
    )
    assert both.height == stock.steps * len(trace.header.blocks)
    np.testing.assert_allclose(both["grad_norm"], both["reference"], rtol=1e-5)
    np.testing.assert_allclose(trace.steps["grad_norm"], stock.totals, rtol=1e-5)
    squares = trace.blocks.group_by("step", maintain_order=True).agg(
        pl.col("grad_norm").cast(pl.Float64).pow(2).sum()
    )
    np.testing.assert_allclose(squares["grad_norm"].sqrt(), stock.totals, rtol=1e-5)
    clip = [min(1.0, 10.0 / (total + 1e-6)) for total in stock.totals]
    np.testing.assert_allclose(trace.steps["clip_coef"], clip, rtol=1e-5)


def test_norms_do_not_depend_on_the_amp_scale(tmp_path: Path) -> None:
    one = watch("detect", tmp_path / "one", scaler=1.0)
    large = watch("detect", tmp_path / "large", scaler=65536.0)

    assert one.steps["amp_scale"].unique().to_list() == [1.0]
    assert large.steps["amp_scale"].unique().to_list() == [65536.0]
    np.testing.assert_allclose(large.blocks["grad_norm"], one.blocks["grad_norm"], rtol=1e-5)
    np.testing.assert_allclose(large.steps["grad_norm"], one.steps["grad_norm"], rtol=1e-5)


class FirstBackward:
    """Measures the gradient norm in float64 after the first backward pass of each window.

    Args:
        scale: Scale that AMP shall have; None without.
    """

    def __init__(self, scale: float | None = None) -> None:
        self.norms: list[float] = []
        self._scale = scale
        self._empty = True
        self.callbacks = {"on_pretrain_routine_end": self._set_up, "on_train_batch_end": self._look}

    def _set_up(self, trainer: Any) -> None:
        if self._scale is not None:
            cpu_scaler(trainer, self._scale)

    def _look(self, trainer: Any) -> None:
        grads = [p.grad for p in trainer.model.parameters() if p.grad is not None]
        squares = sum(float(g.double().square().sum()) for g in grads)
        if self._empty and grads:
            self.norms.append(math.sqrt(squares) / (self._scale or 1.0))
        self._empty = not grads


@pytest.mark.parametrize("scale", short([None, 1024.0], 1024.0))
def test_the_micro_norm_is_that_of_the_first_batch_alone(
    scale: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = {
        "batch": 4,
        "nbs": 12,
        "epochs": 3,
        "warmup_epochs": 0,
    }  # 8 batches an epoch, 3 to a step
    first = FirstBackward(scale)
    stock = train_stock(
        "detect", tmp_path / "stock", monkeypatch, models=NANO, callbacks=first.callbacks, **changed
    )
    steps = watch("detect", tmp_path / "watched", scaler=scale, **changed).steps

    assert stock.steps == len(first.norms) == steps.height == 8
    np.testing.assert_allclose(steps["micro_norm"], first.norms, rtol=1e-5)
    np.testing.assert_allclose(steps["grad_norm"], stock.totals, rtol=1e-5)
    assert all(
        abs(one - total) > 0.05 * total
        for one, total in zip(first.norms, stock.totals, strict=True)
    )


def test_the_micro_norm_is_null_where_nothing_is_summed_or_sampled(tmp_path: Path) -> None:
    single = watch("detect", tmp_path / "single", epochs=1)
    assert single.steps["micro_norm"].null_count() == single.steps.height == 4
    model = YOLO(NANO["detect"])
    one_thread(model)
    monitor = StabilityMonitor(watch_every=0).attach(model)
    model.train(
        **overrides("detect", tmp_path / "never", batch=4, nbs=8, epochs=1, warmup_epochs=0)
    )
    never = monitor.trace.steps
    assert never["accumulate"].to_list() == [2] * 4
    assert never["micro_norm"].null_count() == 4


def test_update_ratio_equals_the_change_of_the_weights(tmp_path: Path) -> None:
    model = YOLO(NANO["detect"])
    one_thread(model)
    weights: list[dict[str, torch.Tensor]] = []

    def copy(trainer: Any) -> None:
        weights.append(
            {n: p.detach().double().clone() for n, p in trainer.model.named_parameters()}
        )

    model.add_callback("on_train_start", copy)
    model.add_callback("on_train_batch_end", copy)
    monitor = StabilityMonitor(watch_every=1).attach(model)
    model.train(**overrides("detect", tmp_path))

    trace = monitor.trace
    for block in trace.header.blocks:
        rows = trace.blocks.filter(pl.col("block") == block.name).sort("step")
        for step in range(8):
            before = torch.cat([weights[step][n].flatten() for n in block.param_names])
            after = torch.cat([weights[step + 1][n].flatten() for n in block.param_names])
            assert rows["weight_norm"][step] == pytest.approx(float(before.norm()), rel=1e-5)
            expected = float((after - before).norm() / before.norm())
            assert rows["update_ratio"][step] == pytest.approx(expected, rel=2e-3, abs=1e-9)


def test_a_frozen_block_is_null_and_settings_in_force_are_told(tmp_path: Path) -> None:
    trace = watch("detect", tmp_path, freeze=3, epochs=1, nbs=16)

    frozen = trace.blocks.filter(pl.col("block").cast(pl.String).str.contains(r"^model\.[012] "))
    others = trace.blocks.filter(~pl.col("block").cast(pl.String).str.contains(r"^model\.[012] "))
    assert frozen["grad_norm"].null_count() == frozen.height > 0
    assert others["grad_norm"].null_count() == 0
    effective = trace.header.effective
    assert effective["optimizer"] == "SGD"
    assert effective["accumulate"] == 2
    assert effective["groups"]["weight"]["lr"] == 0.01
    assert effective["groups"]["weight"]["weight_decay"] == pytest.approx(0.0005)
    assert effective["norm_layers"] == {"BatchNorm2d": 114}
    assert all(name.split(".")[1] in {"0", "1", "2"} for name in effective["frozen"])
    assert trace.header.requested["freeze"] == 3
    assert trace.header.seed == 0
    assert trace.header.dataset_digest


def test_a_norm_beyond_float32_is_recorded_and_not_skipped(tmp_path: Path) -> None:
    model = YOLO(NANO["detect"])
    one_thread(model)

    def inflate(trainer: Any) -> None:
        trainer.model.model[0].conv.weight.register_hook(lambda grad: torch.full_like(grad, 1e30))

    model.add_callback("on_train_start", inflate)
    monitor = StabilityMonitor().attach(model)
    model.train(**overrides("detect", tmp_path, epochs=1))

    trace = monitor.trace
    numel = model.trainer.model.model[0].conv.weight.numel()
    assert trace.steps["skipped"].null_count() == trace.steps.height
    assert trace.steps["nonfinite"].sum() == 0
    np.testing.assert_allclose(trace.steps["grad_norm"], 1e30 * math.sqrt(numel), rtol=1e-5)
    assert trace.steps["clip_coef"].to_list() == [0.0] * trace.steps.height
