"""Rescues during gradient accumulation, and resumes during a new warm-up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from training import MODELS, one_thread, overrides, state
from ultralytics import YOLO

from yolo_stability import StabilityMonitor, load_trace
from yolo_stability.core.actions import Action
from yolo_stability.diagnosis.rescue_policy import Rescuer

pytestmark = pytest.mark.trains

ACTION = Action(remedy="lower_rate", value="0.5", cause="unknown", why="the test says so")


class Played:
    """A model whose run takes one given action after one iteration, regardless of findings."""

    def __init__(self, action: Action, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.model, self.iteration, self._left, self._at = YOLO(MODELS["detect"]), -1, [action], at
        one_thread(self.model)
        self.model.add_callback("on_train_batch_start", self._count)
        monkeypatch.setattr(Rescuer, "decide", lambda rescuer: self._decide())

    def _count(self, trainer: Any) -> None:
        self.iteration += 1

    def _decide(self) -> Action | None:
        return self._left.pop() if self._left and self.iteration == self._at else None


def test_half_summed_gradients_of_old_weights_do_not_reach_the_restored_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU tells of a step late, so that trouble may be found two batches into the next one."""
    played = Played(ACTION, 13, monkeypatch)  # steps of four batches: after 3, 7, 11 and 15
    seen: dict[str, Any] = {}

    def before(trainer: Any) -> None:
        if played.iteration == 13:
            seen["half"] = any(
                p.grad is not None and bool(p.grad.any()) for p in trainer.model.parameters()
            )
            for p in trainer.model.parameters():
                p.grad = torch.full_like(p, 1e6)  # not to be mistaken for anything else

    def after(trainer: Any) -> None:
        if played.iteration == 13:
            seen["left"] = [
                n
                for n, p in trainer.model.named_parameters()
                if p.grad is not None and bool(p.grad.any())
            ]
            seen["restored"] = state(trainer)

    played.model.add_callback("on_train_batch_end", before)
    monitor = StabilityMonitor(rescue="auto").attach(played.model)
    played.model.add_callback("on_train_start", lambda trainer: seen.update(first=state(trainer)))
    played.model.add_callback("on_train_batch_end", after)
    played.model.train(
        **overrides("detect", tmp_path, nbs=32, fraction=[64, 4], warmup_epochs=0, epochs=3)
    )
    assert seen["half"]
    assert seen["left"] == []
    assert [
        name
        for name, tensor in seen["first"].items()
        if not torch.equal(tensor, seen["restored"][name])
    ] == []
    steps = monitor.trace.steps
    assert steps["accumulate"].to_list() == [4, 4, 4, 2, 4, 4]
    assert max(steps["grad_norm"]) < 1e4
    assert steps["skipped"].null_count() == steps.height


@pytest.mark.parametrize("kept", [pytest.param(4, marks=pytest.mark.full), 6])
def test_a_new_warm_up_goes_on_after_a_resume(
    kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epochs of four batches: it begins after the second batch of the sixth, and takes twelve.

    The checkpoint of the fifth epoch is older: there it begins anew.
    """
    played = Played(replace(ACTION, remedy="rewarm", value="12"), 21, monkeypatch)
    whole = StabilityMonitor(rescue="auto").attach(played.model)
    played.model.train(
        **overrides("detect", tmp_path, epochs=10, save_period=1, lrf=1.0, warmup_epochs=0)
    )
    rates = whole.trace.steps["lr/weight"].to_list()
    assert rates[21] == pytest.approx(0.01)
    assert rates[22:36] == pytest.approx(
        [0.01 * (0.02 + 0.98 * min(k, 12) / 12) for k in range(14)]
    )
    again = YOLO(whole.save_dir / "weights" / f"epoch{kept}.pt")
    one_thread(again)
    monitor = StabilityMonitor().attach(again)
    again.train(resume=str(whole.save_dir / "weights" / f"epoch{kept}.pt"))
    resumed = monitor.trace.steps.filter(pl.col("attempt") == 1)["lr/weight"].to_list()
    assert len(resumed) == 4 * (10 - kept - 1)
    if kept == 6:
        assert resumed == pytest.approx(rates[28:])
    else:
        assert resumed[:14] == pytest.approx(rates[22:36])
    assert again.trainer.args.warmup_bias_lr == pytest.approx(0.1)


@pytest.mark.full
def test_skipped_steps_do_not_tell_that_a_remedy_worked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = Played(ACTION, 3, monkeypatch)
    faults = ",".join(str(step) for step in range(6, 20, 2))
    monitor = StabilityMonitor(rescue="auto", fault=f"nan_grad@{faults}", incidents=0).attach(
        played.model
    )
    played.model.train(**overrides("detect", tmp_path, epochs=12))
    trace = load_trace(monitor.save_dir)
    ((step, data),) = trace.events.filter(pl.col("kind") == "rescued").select("step", "data").rows()
    assert json.loads(data) == {"remedy": "lower_rate", "since": 4}
    assert step == 4 + 32 + 7


@pytest.mark.full
def test_early_states_are_trusted_in_time_and_updates_are_watched_after_a_rollback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state of step 1 is trusted after 16 healthy steps; step 51 is sampled anyway."""
    played = Played(ACTION, 22, monkeypatch)
    monitor = StabilityMonitor(rescue="auto").attach(played.model)
    played.model.train(**overrides("detect", tmp_path, optimizer="AdamW", lr0=0.001, epochs=15))
    (done,) = monitor.trace.events.filter(pl.col("kind") == "rescue")["data"].to_list()
    assert json.loads(done)["restored_step"] == 1
    sampled = monitor.trace.blocks.filter(pl.col("update_ratio").is_not_null())["step"].unique()
    assert set(range(51, 60)) <= set(sampled.to_list())
