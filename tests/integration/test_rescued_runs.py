"""Failing runs are rescued or end cleanly, healthy runs are unaffected; tiny real trainings."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from shorter import DETECT_SHORT
from training import MODELS, NANO, bad_tensors, one_thread, overrides, state
from ultralytics import YOLO
from ultralytics.utils.torch_utils import unwrap_model

from yolo_stability import RunResult, StabilityMonitor, load_trace, train

pytestmark = pytest.mark.trains

EVERYWHERE = pytest.mark.parametrize(
    ("task", "optimizer"),
    [
        ("detect", "AdamW"),
        *(
            pytest.param(*case, marks=pytest.mark.full)
            for case in (("detect", "SGD"), ("pose", "AdamW"), ("pose", "SGD"))
        ),
    ],
)
"""Each mishap on both tasks, under both kinds of optimizer; one of them in the short tests."""


def rescued_run(task: str, folder: Path, **changed: Any) -> RunResult:
    """A run with `rescue=auto`, 40 optimizer steps."""
    base = {
        "model": MODELS[task],
        "epochs": 10,
        "optimizer": "AdamW",
        "lr0": 0.005,
        "rescue": "auto",
    }
    return train(task, **{**overrides(task, folder), **base, **changed})


def events(result: RunResult, kind: str) -> list[dict[str, Any]]:
    """Data of the events of a kind."""
    return [json.loads(data) for data in result.trace.events.filter(pl.col("kind") == kind)["data"]]


def saved_is_healthy(save_dir: Path) -> bool:
    """Whether `last.pt` is finite and no kernel in it is zero, unlike what stock leaves behind."""
    tensors = YOLO(save_dir / "weights" / "last.pt").model.state_dict()
    finite = all(bool(torch.isfinite(t.float()).all()) for t in tensors.values())
    return finite and not any(bool((t == 0).all()) for t in tensors.values() if t.ndim == 4)


@pytest.mark.smoke
@pytest.mark.parametrize("task", DETECT_SHORT)
def test_a_thousandfold_learning_rate_is_lowered_to_where_it_learns(
    task: str, tmp_path: Path
) -> None:
    result = rescued_run(task, tmp_path, lr_mult=1000.0)
    done = events(result, "rescue")
    assert result.stopped is None
    assert done[0]["remedy"] == "lower_rate"
    assert done[0]["cause"] == "learning_rate"
    assert events(result, "rescued")
    rates = (
        result.trace.steps["lr/weight"].to_list()
        if "lr/weight" in result.trace.steps.columns
        else []
    )
    losses = result.trace.steps["loss"].to_list()
    assert result.trace.steps.height == 40
    assert losses[-1] < losses[0]
    assert not rates or max(rates[-8:]) < 0.1
    assert saved_is_healthy(result.save_dir)


def test_a_healthy_run_is_left_alone_and_the_same_bit_for_bit(tmp_path: Path) -> None:
    found: dict[str, dict[str, torch.Tensor]] = {}
    for rescue in ("off", "auto"):
        model = YOLO(MODELS["detect"])
        one_thread(model)
        monitor = StabilityMonitor(rescue=rescue).attach(model)
        model.train(
            **overrides("detect", tmp_path / rescue, epochs=8, optimizer="AdamW", lr0=0.002)
        )
        found[rescue] = state(model.trainer)
        assert not {"rescue", "rescue_stop"} & set(monitor.trace.events["kind"].to_list())
    assert all(torch.equal(found["off"][name], found["auto"][name]) for name in found["off"])


@pytest.mark.parametrize(
    ("changed", "cause", "advice"),
    [
        ({"norm": "none"}, "normalization", "norm=batch"),
        ({"norm": "none", "act": "sigmoid"}, "activation", "act=silu"),
    ],
)
def test_what_is_built_in_ends_early_with_advice(
    changed: dict[str, Any], cause: str, advice: str, tmp_path: Path
) -> None:
    result = rescued_run("detect", tmp_path, epochs=16, model=NANO["detect"], **changed)
    (ending,) = events(result, "rescue_stop")
    assert result.stopped is not None
    assert (ending["cause"], advice in ending["advice"]) == (cause, True)
    assert result.trace.steps.height <= 48
    assert saved_is_healthy(result.save_dir)


def test_a_bad_initialization_begins_again_with_the_default(tmp_path: Path) -> None:
    result = rescued_run(
        "detect", tmp_path, norm="none", init="gain:30", clip="none", optimizer="SGD", lr0=0.01
    )
    done = events(result, "rescue")
    assert done[0]["remedy"] == "restart"
    assert done[0]["restored_step"] == 0
    first, last = result.trace.steps["loss"][0], result.trace.steps["loss"][-1]
    assert not first < 1e6  # NaN, or absurd
    assert last < 1e3
    assert saved_is_healthy(result.save_dir)


@EVERYWHERE
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("nan_grad@1", marks=pytest.mark.full),  # in the first epoch
        pytest.param("nan_grad@3,7,11", marks=pytest.mark.full),  # the last batch of three epochs
        pytest.param("nan_loss@3", marks=pytest.mark.full),
        "inf_pixel@5",
        pytest.param("nan_grad@5,10,15,20", marks=pytest.mark.full),
        pytest.param("nan_loss@4,5,6,7", marks=pytest.mark.full),
        "lr_jump@16",
    ],
)
def test_each_mishap_is_survived_or_ends_cleanly(
    fault: str, task: str, optimizer: str, tmp_path: Path
) -> None:
    seen: list[str] = []
    model = YOLO(MODELS[task])
    model.add_callback("on_train_epoch_end", lambda trainer: seen.extend(bad_tensors(trainer)))
    result = rescued_run(task, tmp_path, fault=fault, model=model, optimizer=optimizer, epochs=6)
    assert seen == []
    assert result.trace.steps.height == 24 or result.stopped
    assert saved_is_healthy(result.save_dir)
    assert not result.trace.events["kind"].is_in(["nan_recovery"]).any()


@EVERYWHERE
def test_statistics_alone_that_break_are_put_back(
    task: str, optimizer: str, tmp_path: Path
) -> None:
    """Loss and gradients stay finite: in training BatchNorm does not look at them."""
    iteration = itertools.count()

    def spoil(trainer: Any) -> None:
        if next(iteration) != 6:
            return

        def broken(module: Any, inputs: Any) -> None:
            handle.remove()
            unwrap_model(trainer.model).model[0].bn.running_mean[0] = torch.nan

        handle = trainer.model.register_forward_pre_hook(broken)

    seen: list[str] = []
    model = YOLO(MODELS[task])
    model.add_callback("on_train_batch_start", spoil)
    model.add_callback("on_train_epoch_end", lambda trainer: seen.extend(bad_tensors(trainer)))
    result = rescued_run(task, tmp_path, model=model, optimizer=optimizer, epochs=4)
    assert seen == []
    assert result.stopped is None
    assert [skip["reason"] for skip in events(result, "guard_skip")] == ["buffer"]
    assert result.trace.steps["loss"].is_finite().all()
    assert result.trace.steps.height == 16
    assert saved_is_healthy(result.save_dir)


@EVERYWHERE
@pytest.mark.full
def test_numbers_that_break_in_validation_leave_training_alone(
    task: str, optimizer: str, tmp_path: Path
) -> None:
    """A NaN validation loss: there is no fitness, but weights and checkpoint remain valid."""
    model = YOLO(MODELS[task])

    def spoil(validator: Any) -> None:
        if validator.loss is not None:
            validator.loss = {k: v * float("nan") for k, v in validator.loss.items()}

    model.add_callback("on_val_batch_end", spoil)
    result = rescued_run(task, tmp_path, model=model, optimizer=optimizer, val=True, epochs=3)
    assert result.stopped is None
    assert result.trace.steps.height == 12
    assert saved_is_healthy(result.save_dir)


@EVERYWHERE
def test_an_image_that_is_bad_for_good_is_left_out(
    task: str, optimizer: str, tmp_path: Path
) -> None:
    result = rescued_run(task, tmp_path, fault="nan_pixel:0.05", optimizer=optimizer)
    quarantined = [
        action for action in events(result, "rescue") if action["remedy"] == "quarantine"
    ]
    assert quarantined
    skipped = result.trace.steps.filter(pl.col("skipped") == "guard")["step"].to_list()
    blamed = {image for action in quarantined for image in action["images"]}
    after = [e for e in events(result, "incident") if set(e["images"]) & blamed]
    assert len(after) == 2 * len(blamed)  # twice each, and not again
    assert len(skipped) >= 2
    assert result.stopped is None
    assert saved_is_healthy(result.save_dir)


@pytest.mark.parametrize("rescue", ["auto", pytest.param("quarantine", marks=pytest.mark.full)])
def test_a_file_that_a_mosaic_is_named_by_is_not_left_out(rescue: str, tmp_path: Path) -> None:
    """Two epochs with mosaic, in which nobody knows which file is to blame, then those without."""
    result = rescued_run(
        "detect", tmp_path, fault="nan_pixel:0.05", mosaic=1.0, close_mosaic=8, rescue=rescue
    )
    rows = result.trace.events.filter(pl.col("kind").is_in(["incident", "rescue"])).select(
        "kind", "step", "data"
    )
    mixed = [(kind, step, json.loads(data)) for kind, step, data in rows.rows() if step < 8]
    assert [data["mixed"] for kind, _, data in mixed if kind == "incident"]
    assert all(
        data["mixed"] and "another of them" in data["text"]
        for kind, _, data in mixed
        if kind == "incident"
    )
    assert "quarantine" not in [data["remedy"] for kind, _, data in mixed if kind == "rescue"]
    assert result.stopped is None
    assert saved_is_healthy(result.save_dir)


@pytest.mark.full
def test_a_run_that_cannot_be_rescued_ends_with_its_last_healthy_state(tmp_path: Path) -> None:
    result = rescued_run(
        "detect", tmp_path, lr_mult=1e6, clip="none", rescue="rewarm", rescue_limit=2
    )
    assert result.stopped is not None
    assert "rewarm, rewarm did not help" in result.stopped
    assert len(events(result, "rescue")) == 2
    assert saved_is_healthy(result.save_dir)


@pytest.mark.full
def test_an_explosion_after_a_resume_knows_what_was_done_before(tmp_path: Path) -> None:
    first = rescued_run("detect", tmp_path, lr_mult=1000.0, epochs=10, save_period=4)
    factor = float(events(first, "rescue")[0]["value"])
    kept = first.save_dir / "weights" / "epoch4.pt"
    model, seen = YOLO(kept), []
    model.add_callback(
        "on_train_epoch_start",
        lambda trainer: seen.append(
            (trainer.scheduler.base_lrs[0], trainer.optimizer.param_groups[0]["initial_lr"])
        ),
    )
    monitor = StabilityMonitor().attach(model)
    model.train(resume=str(kept))
    assert monitor.settings.rescue == "off"  # what holds is what the first sitting was told
    assert seen
    assert all(rate == pytest.approx(5 * factor) for pair in seen for rate in pair)
    trace = load_trace(first.save_dir)
    assert trace.events["kind"].to_list().count("rescue") == len(events(first, "rescue"))


def test_a_resume_without_history_is_told_and_goes_on(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    model = YOLO(MODELS["detect"])
    model.train(**overrides("detect", tmp_path, epochs=6, save_period=2, exist_ok=True))
    kept = Path(model.trainer.save_dir) / "weights" / "epoch2.pt"
    again = YOLO(kept)
    monitor = StabilityMonitor(rescue="auto").attach(again)
    again.train(resume=str(kept))
    assert monitor.stopped is None
    assert "the trace of earlier sessions is missing" in log.text
    assert all(torch.isfinite(p).all() for p in unwrap_model(again.trainer.model).parameters())


@EVERYWHERE
def test_a_resumed_run_is_rescued_as_its_first_sitting_was_told(
    task: str, optimizer: str, tmp_path: Path
) -> None:
    """The settings travel in the sidecar; whoever resumes need not repeat them."""
    first = rescued_run(task, tmp_path, epochs=10, save_period=2, optimizer=optimizer)
    assert not events(first, "rescue")
    kept = first.save_dir / "weights" / "epoch2.pt"
    model = YOLO(kept)
    monitor = StabilityMonitor().attach(model)

    def break_the_schedule(trainer: Any) -> None:
        if trainer.epoch == 6:
            trainer.scheduler.base_lrs = [rate * 1000 for rate in trainer.scheduler.base_lrs]

    model.add_callback("on_train_epoch_start", break_the_schedule)
    model.train(resume=str(kept))
    done = monitor.trace.events.filter(pl.col("kind") == "rescue", pl.col("attempt") == 1)[
        "data"
    ].to_list()
    assert json.loads(done[0])["remedy"] == "lower_rate"
    assert len(done) == 1 or optimizer == "SGD"
    assert monitor.trace.steps.filter(pl.col("attempt") == 1).height == 28 or monitor.stopped
    assert saved_is_healthy(first.save_dir)
