"""The ways to bind a monitor, and trainers of the user's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from training import MODELS, bad_tensors, one_thread, overrides, state, train_stock
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionTrainer

from yolo_stability import StabilityError, StabilityMonitor, load_trace, train
from yolo_stability.config import make_settings
from yolo_stability.gradients.blocks import model_blocks
from yolo_stability.trainer.mixin import StabilityMixin

pytestmark = [pytest.mark.trains, pytest.mark.smoke]


class Plain(DetectionTrainer):
    """A user's trainer that leaves the optimizer step alone."""


class OwnStep(DetectionTrainer):
    """A user's trainer with an optimizer step of its own: it clips at 1."""

    def optimizer_step(self) -> None:
        """Clip harder than stock."""
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), max_norm=1.0)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.ema.update(self.model)


class Interrupted(RuntimeError):
    """What ends a training in these tests."""


def interrupt(trainer: Any) -> None:
    """End a training after its second epoch."""
    if trainer.epoch == 1:
        raise Interrupted


def test_a_trainer_that_is_built_can_be_attached_to(tmp_path: Path) -> None:
    trainer = Plain(
        overrides={"model": MODELS["detect"], **overrides("detect", tmp_path, epochs=1)}
    )
    monitor = StabilityMonitor(fault="nan_grad@1").attach(trainer)
    trainer.train()
    assert monitor.trace.steps["skipped"].to_list() == [None, "guard", None, None]


def test_callbacks_can_be_wired_by_hand(tmp_path: Path) -> None:
    model = YOLO(MODELS["detect"])
    monitor = StabilityMonitor()
    for event, callback in monitor.callbacks().items():
        model.add_callback(event, callback)
    model.train(**overrides("detect", tmp_path, epochs=1))
    assert monitor.trace.steps.height == 4
    assert monitor.save_dir == model.trainer.save_dir


def test_a_users_trainer_class_is_guarded(tmp_path: Path) -> None:
    model = YOLO(MODELS["detect"])
    monitor = StabilityMonitor(fault="nan_grad@2").attach(model)
    model.train(trainer=Plain, **overrides("detect", tmp_path, epochs=1))
    assert isinstance(model.trainer, Plain)
    assert monitor.trace.steps["skipped"].to_list() == [None, None, "guard", None]


def test_a_trainer_with_its_own_step_is_recorded_not_guarded_and_told_so(tmp_path: Path) -> None:
    """Its step stays its own: the weights equal those of the same trainer unwatched."""
    reference = YOLO(MODELS["detect"])
    one_thread(reference)
    reference.train(trainer=OwnStep, **overrides("detect", tmp_path / "reference"))

    model = YOLO(MODELS["detect"])
    one_thread(model)
    monitor = StabilityMonitor(guard="skip").attach(model)
    model.train(trainer=OwnStep, **overrides("detect", tmp_path / "watched"))

    expected, seen = state(reference.trainer), state(model.trainer)
    assert all(torch.equal(expected[name], seen[name]) for name in expected)
    trace = monitor.trace
    assert trace.steps.height == 8
    assert trace.steps["grad_norm"].null_count() == 0
    assert trace.steps["clip_coef"].null_count() == 8
    assert trace.header.requested["guard"] == "skip"
    assert trace.header.effective["guard"] == "off"
    notices = trace.events.filter(pl.col("kind") == "notice")["data"].to_list()
    assert len(notices) == 1
    assert "OwnStep overrides optimizer_step" in notices[0]


def test_norms_of_a_trainer_with_its_own_step_are_those_before_its_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = train_stock("detect", tmp_path / "stock", monkeypatch, trainer=OwnStep)
    model = YOLO(MODELS["detect"])
    one_thread(model)
    monitor = StabilityMonitor().attach(model)
    model.train(trainer=OwnStep, **overrides("detect", tmp_path / "watched"))
    assert monitor.trace.steps["grad_norm"].to_list() == pytest.approx(stock.totals, rel=1e-5)


def test_one_monitor_follows_several_trainings_of_a_model(tmp_path: Path) -> None:
    model = YOLO(MODELS["detect"])
    monitor = StabilityMonitor().attach(model)
    model.train(**overrides("detect", tmp_path, epochs=1, name="one"))
    first = monitor.save_dir
    model.train(**overrides("detect", tmp_path, epochs=1, name="two"))
    assert monitor.save_dir != first
    assert load_trace(first).steps.height == load_trace(monitor.save_dir).steps.height == 4


def test_two_monitors_on_one_training_are_an_error(tmp_path: Path) -> None:
    model = YOLO(MODELS["detect"])
    StabilityMonitor().attach(model)
    StabilityMonitor().attach(model)
    with pytest.raises(StabilityError, match="Two monitors"):
        model.train(**overrides("detect", tmp_path, epochs=1))


def test_attach_to_something_else_is_an_error() -> None:
    with pytest.raises(StabilityError, match="YOLO model or an Ultralytics trainer, not Linear"):
        StabilityMonitor().attach(torch.nn.Linear(1, 1))


def test_a_monitor_without_a_training_has_no_trace() -> None:
    with pytest.raises(StabilityError, match="has not recorded a training yet"):
        _ = StabilityMonitor().trace


@pytest.mark.parametrize("task", ["detect", "pose"])
def test_train_returns_trace_metrics_and_folder(task: str, tmp_path: Path) -> None:
    arguments = overrides(task, tmp_path, epochs=1)
    result = train(task, model=MODELS[task], **arguments)

    assert result.stopped is None
    assert result.save_dir.parent == tmp_path
    assert result.trace.steps.height == 4
    assert [block.name for block in result.trace.header.blocks] == [
        block.name for block in model_blocks(YOLO(MODELS[task]).model)
    ]
    assert "metrics/mAP50(B)" in result.metrics
    assert result.trace.header.requested["model"] == MODELS[task]


def test_plots_draws_the_picture_in_the_run_folder(tmp_path: Path) -> None:
    result = train(model=MODELS["detect"], **overrides("detect", tmp_path, epochs=1, plots=True))
    assert (result.save_dir / "stability" / "gradient_norms.png").stat().st_size > 10_000


def test_exist_ok_replaces_the_old_trace_and_resume_goes_on_in_a_new_attempt(
    tmp_path: Path,
) -> None:
    arguments = {"exist_ok": True, "name": "run", "epochs": 3}
    old = train(model=MODELS["detect"], **overrides("detect", tmp_path, **arguments))

    model = YOLO(MODELS["detect"])
    monitor = StabilityMonitor().attach(model)
    model.add_callback("on_fit_epoch_end", interrupt)
    with pytest.raises(Interrupted):
        model.train(**overrides("detect", tmp_path, **arguments))
    broken = monitor.trace
    assert broken.header.run_id != old.trace.header.run_id
    assert broken.steps.height == 8

    last = monitor.save_dir / "weights" / "last.pt"
    resumed = train(model=last, resume=True).trace
    assert resumed.steps["step"].to_list() == list(range(12))
    assert resumed.steps["attempt"].to_list() == [0] * 8 + [1] * 4
    assert resumed.steps["epoch"].to_list()[8:] == [2] * 4
    assert "resume" in resumed.events["kind"].to_list()


def test_the_model_gets_its_own_callbacks_back(tmp_path: Path) -> None:
    model = YOLO(MODELS["detect"])
    before = {event: list(functions) for event, functions in model.callbacks.items()}
    train(model=model, **overrides("detect", tmp_path, epochs=1))
    assert {
        event: list(functions) for event, functions in model.callbacks.items() if functions
    } == {event: functions for event, functions in before.items() if functions}


def test_callbacks_survive_the_pickling_for_distributed_workers() -> None:
    import pickle

    model = YOLO(MODELS["detect"])
    monitor = StabilityMonitor(guard="stop", watch_every=3).attach(model)
    copy = pickle.loads(pickle.dumps(monitor.callbacks()))
    assert copy.keys() == monitor.callbacks().keys()
    revived = copy["on_train_start"].__self__
    assert revived is copy["teardown"].__self__
    assert revived._settings == monitor._settings
    assert [type(sink) for sink in revived._make_sinks()] == [
        type(sink) for sink in monitor._make_sinks()
    ]


def test_attaching_twice_is_attaching_once(tmp_path: Path) -> None:
    model = YOLO(MODELS["detect"])
    monitor = StabilityMonitor().attach(model).attach(model)
    model.train(**overrides("detect", tmp_path, epochs=1))
    assert monitor.trace.steps["iteration"].to_list() == [0, 1, 2, 3]


def test_an_interrupt_before_the_first_step_blames_nobody(tmp_path: Path) -> None:
    model = YOLO(MODELS["detect"])
    monitor = StabilityMonitor().attach(model)

    def stop(trainer: Any) -> None:
        if monitor.save_dir and trainer.stability.loop.journal.iteration == 3:
            raise Interrupted

    model.add_callback("on_train_batch_end", stop)
    with pytest.raises(Interrupted):
        model.train(**overrides("detect", tmp_path, batch=4, nbs=32, warmup_epochs=0))
    assert monitor.trace.steps.height == 0
    assert "notice" not in monitor.trace.events["kind"].to_list()


def test_a_step_that_never_comes_past_is_said(tmp_path: Path) -> None:
    class Hides(StabilityMixin, DetectionTrainer):
        optimizer_step = OwnStep.optimizer_step

    model = YOLO(MODELS["detect"])
    monitor = StabilityMonitor().attach(model)
    model.train(trainer=Hides, **overrides("detect", tmp_path, epochs=1))
    assert monitor.trace.steps.height == 0
    assert "no optimizer step was recorded" in monitor.trace.events["data"].to_list()[0]


def test_distillation_is_watched_and_guarded(tmp_path: Path) -> None:
    teacher = YOLO(MODELS["detect"])
    teacher.train(**overrides("detect", tmp_path, epochs=1, name="teacher"))
    model = YOLO(MODELS["detect"])
    monitor = StabilityMonitor(fault="nan_loss@1").attach(model)
    model.train(**overrides("detect", tmp_path, epochs=1, distill_model=str(teacher.trainer.best)))

    trace = monitor.trace
    assert trace.steps["skipped"].to_list() == [None, "guard", None, None]
    assert "loss/dis_loss" in trace.steps.columns
    assert not any(
        p.startswith("teacher") for block in trace.header.blocks for p in block.param_names
    )
    assert bad_tensors(model.trainer) == []


def test_several_datasets_one_after_the_other(tmp_path: Path) -> None:
    arguments = overrides("detect", tmp_path, epochs=1)
    result = train(model=MODELS["detect"], **{**arguments, "data": ["shapes", arguments["data"]]})
    assert result.trace.steps.height == 4
    assert sum(name.endswith("metrics/mAP50(B)") for name in result.metrics) == 2


def test_a_finished_run_cannot_be_resumed(tmp_path: Path) -> None:
    done = train(model=MODELS["detect"], **overrides("detect", tmp_path, epochs=1))
    with pytest.raises(StabilityError, match="cannot be resumed"):
        train(model=done.save_dir / "weights" / "last.pt", resume=True)


def test_resume_keeps_settings_name_and_what_was_asked_for(tmp_path: Path) -> None:
    model = YOLO(MODELS["detect"])
    model.add_callback("on_fit_epoch_end", interrupt)
    with pytest.raises(Interrupted):
        train(
            model=model,
            guard="stop",
            watch_every=0,
            fault="nan_grad@99",
            **overrides("detect", tmp_path, epochs=3),
        )
    save_dir = model.trainer.save_dir
    first = load_trace(save_dir).header

    resumed = train(model=save_dir / "weights" / "last.pt", resume=True, guard_limit=3).trace
    assert resumed.header.run_id == first.run_id
    assert resumed.header.requested == first.requested
    assert resumed.header.requested["lr0"] == 0.01
    assert (
        resumed.blocks["weight_norm"].null_count() == resumed.blocks.height
    )  # watch_every=0 in both sittings
    data = json.loads(resumed.events.filter(pl.col("kind") == "resume")["data"][0])
    assert (
        data["settings"] == make_settings(guard="stop", guard_limit=3, watch_every=0).model_dump()
    )


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"epoch": 3}, "Unknown key 'epoch'. Did you mean 'epochs'"),
        ({"epochs": "x"}, "epochs"),
        ({"optimizer": "Sgdd"}, "Invalid value optimizer=Sgdd: expected one of auto"),
        ({"model": "nope.pt"}, "neither a file nor a model"),
        ({"guard": "maybe"}, "expected off, skip or stop"),
    ],
)
def test_mistakes_in_python_are_one_sentence_before_anything_starts(
    wrong: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(StabilityError, match=complaint):
        train(**{"model": MODELS["detect"], "data": "shapes", **wrong})
    assert list(Path.cwd().iterdir()) == []


def test_auto_that_ignores_lr0_is_logged(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    train(model=MODELS["detect"], **overrides("detect", tmp_path, epochs=1, optimizer="auto"))
    assert any(
        record.levelname == "WARNING"
        and "stability: optimizer=auto ignores lr0=0.01" in record.message
        for record in log.records
    )
