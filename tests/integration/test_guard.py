"""One bad number no longer kills a run: injected damage, with the unguarded run as the control."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from shorter import DETECT_SHORT, short
from training import (
    MODELS,
    bad_tensors,
    one_thread,
    overrides,
    state,
    train_stock,
    zero_tensors,
    zeros,
)
from ultralytics import YOLO
from ultralytics.utils.torch_utils import unwrap_model

from yolo_stability import StabilityMonitor, Trace

pytestmark = pytest.mark.trains

STEPS_AN_EPOCH = 4


class Watched:
    """A watched run and what was seen from outside at the end of each batch."""

    def __init__(
        self, task: str, folder: Path, *, own: dict[str, Any] | None = None, **changed: Any
    ) -> None:
        self.model = YOLO(MODELS[task])
        one_thread(self.model)
        self.bad: list[str] = []
        self.losses: list[float] = []
        self.model.add_callback(
            "on_train_batch_end", lambda trainer: self.bad.extend(bad_tensors(trainer))
        )
        self.monitor = StabilityMonitor(**(own or {})).attach(self.model)
        self.model.add_callback(
            "on_train_batch_end", lambda trainer: self.losses.append(float(trainer.loss.detach()))
        )
        self.states: list[dict[str, torch.Tensor]] = []  # after 0, 1, 2, ... batches
        self.model.add_callback(
            "on_train_start", lambda trainer: self.states.append(state(trainer))
        )
        self.model.add_callback(
            "on_train_batch_end", lambda trainer: self.states.append(state(trainer))
        )
        self.model.train(**overrides(task, folder, **changed))

    @property
    def trace(self) -> Trace:
        """The trace on disk."""
        return self.monitor.trace

    @property
    def save_dir(self) -> Path:
        """The run folder."""
        return self.monitor.save_dir

    def guard_skips(self) -> list[int]:
        """Steps that the guard skipped."""
        return self.trace.steps.filter(pl.col("skipped") == "guard")["step"].to_list()

    def recoveries(self) -> int:
        """Times Ultralytics went back to last.pt."""
        return self.trace.events.filter(pl.col("kind") == "nan_recovery").height


def results_have_nan(save_dir: Path) -> bool:
    """Return whether `results.csv` holds a NaN or Inf."""
    return any(
        word in (save_dir / "results.csv").read_text().lower().split("\n", 1)[1]
        for word in ("nan", "inf")
    )


@pytest.fixture(scope="module")
def zero_at_start(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Tensors that are all zero before the first step, by task (biases, mostly); no other one may ever be."""
    names: dict[str, set[str]] = {}
    for task in MODELS:
        model = YOLO(MODELS[task])
        model.add_callback(
            "on_train_start",
            lambda trainer, t=task: names.update({t: zeros(_model_state(trainer))}),
        )
        model.train(**overrides(task, tmp_path_factory.mktemp(task), epochs=1, fraction=[8, 4]))
    return names


def _model_state(trainer: Any) -> dict[str, torch.Tensor]:
    """Return the tensors of the trainer's model."""
    tensors: dict[str, torch.Tensor] = unwrap_model(trainer.model).state_dict()
    return tensors


@pytest.mark.smoke
@pytest.mark.parametrize("task", DETECT_SHORT)
@pytest.mark.parametrize(
    ("fault", "skipped"),
    [
        ("nan_grad@3", 3),
        ("nan_grad@7", 7),  # the last step of epoch 2
        ("inf_pixel@1", 1),
        ("nan_loss@1", 1),
        ("nan_loss@7", 7),  # the last batch of an epoch: stock would go back to last.pt
    ],
)
def test_one_bad_number_costs_one_step(
    task: str, fault: str, skipped: int, tmp_path: Path, zero_at_start: dict[str, set[str]]
) -> None:
    run = Watched(task, tmp_path, own={"fault": fault})

    assert run.monitor.stopped is None
    assert run.guard_skips() == [skipped]
    assert run.trace.steps.height == 2 * STEPS_AN_EPOCH
    assert run.bad == []
    assert all(math.isfinite(loss) for loss in run.losses)
    assert run.recoveries() == 0
    assert not results_have_nan(run.save_dir)
    assert zero_tensors(run.save_dir / "weights" / "last.pt") <= zero_at_start[task]
    healthy = run.save_dir / "stability" / "healthy.pt"
    assert healthy.exists() == (
        skipped != 7
    )  # after the last step nothing can prove that the batch was to blame
    assert skipped == 7 or zero_tensors(healthy) <= zero_at_start[task]
    events = run.trace.events.filter(pl.col("kind") == "guard_skip")
    assert events["step"].to_list() == [skipped]


@pytest.mark.parametrize(
    ("fault", "epochs"),
    # the last: good checkpoints exist, and are overwritten
    short([("nan_grad@3", 2), ("nan_loss@3", 2), ("nan_grad@7", 3)], ("nan_grad@7", 3)),
)
def test_without_the_guard_the_same_damage_kills_the_run(
    fault: str, epochs: int, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="NaN persisted"):
        Watched("detect", tmp_path, own={"guard": "off", "fault": fault}, epochs=epochs)
    last = next(tmp_path.rglob("last.pt"))
    total = len(torch.load(last, weights_only=False)["ema"].state_dict())
    assert len(zero_tensors(last)) > total / 2


def test_without_the_guard_an_inf_pixel_poisons_the_statistics(tmp_path: Path) -> None:
    """Stock averages them into the EMA, and with them everything that is validated and saved."""
    model = YOLO(MODELS["detect"])
    one_thread(model)
    bad: list[str] = []
    model.add_callback("on_train_epoch_end", lambda trainer: bad.extend(bad_tensors(trainer)))
    StabilityMonitor(guard="off", fault="inf_pixel@1").attach(model)
    with pytest.raises(RuntimeError, match="NaN persisted"):
        model.train(**overrides("detect", tmp_path))
    assert any(name.startswith("model.") and "running_mean" in name for name in bad)
    assert any(name.startswith("ema.") and "running_mean" in name for name in bad)


def test_a_step_is_skipped_as_if_its_batch_had_not_been(tmp_path: Path) -> None:
    """A skipped first step leaves weights and buffers exactly as they were initialised."""
    snapshots: list[dict[str, torch.Tensor]] = []
    model = YOLO(MODELS["detect"])
    one_thread(model)
    model.add_callback("on_train_start", lambda trainer: snapshots.append(state(trainer)))
    model.add_callback("on_train_batch_end", lambda trainer: snapshots.append(state(trainer)))
    StabilityMonitor(fault="inf_pixel@0").attach(model)
    model.train(**overrides("detect", tmp_path, epochs=1))

    first, second = snapshots[0], snapshots[1]
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert any(not torch.equal(second[name], snapshots[2][name]) for name in second)


@pytest.mark.parametrize(
    "fault",
    short(
        ["nan_loss@2", "nan_loss@7", "nan_loss@8", "nan_loss@14", "inf_pixel@6", "inf_pixel@15"],
        *("nan_loss@7", "inf_pixel@15"),
    ),
)
def test_a_bad_micro_batch_spoils_its_window_only(fault: str, tmp_path: Path) -> None:
    """Batch 4 and nbs 12: 8 iterations an epoch, 3 to a step; 6, 7, 14 and 15 end their epoch without a step."""
    run = Watched(
        "detect",
        tmp_path,
        own={"fault": fault},
        batch=4,
        nbs=12,
        epochs=3,
        warmup_epochs=0,
        val=True,
    )

    assert run.guard_skips() == [int(fault.split("@")[1]) // 3]
    # An open window may hold bad buffers until its step decides; weights, EMA and optimizer never do.
    assert [
        name for name in run.bad if not name.startswith("model.") or "running_" not in name
    ] == []
    assert bad_tensors(run.model.trainer) == []
    assert run.trace.events.filter(pl.col("kind") == "rollback").height == 0
    assert all(math.isfinite(loss) for loss in run.losses)
    assert run.recoveries() == 0
    assert not results_have_nan(run.save_dir)


@pytest.mark.smoke
def test_an_amp_overflow_is_handled_exactly_as_stock_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflow(trainer: Any) -> None:
        trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)

    stock = train_stock(
        "detect", tmp_path / "stock", monkeypatch, callbacks={"on_pretrain_routine_end": overflow}
    )
    model = YOLO(MODELS["detect"])
    one_thread(model)
    model.add_callback("on_pretrain_routine_end", overflow)
    monitor = StabilityMonitor().attach(model)
    model.train(**overrides("detect", tmp_path / "watched"))

    steps = monitor.trace.steps
    skipped = steps["skipped"].to_list()
    assert "scaler" in skipped
    assert "guard" not in skipped
    # The scale halves after each overflow: an independent count of what the scaler skipped.
    assert skipped.count("scaler") == round(127 - math.log2(model.trainer.scaler.get_scale()))
    assert model.trainer.scaler.get_scale() == stock.trainer.scaler.get_scale()
    assert model.trainer.ema.updates == stock.trainer.ema.updates == 8
    expected, seen = state(stock.trainer), state(model.trainer)
    assert [name for name in expected if not torch.equal(expected[name], seen[name])] == []


def test_a_nan_loss_under_amp_is_the_guards_and_leaves_the_scaler_usable(tmp_path: Path) -> None:
    model = YOLO(MODELS["detect"])
    one_thread(model)

    def scaler(trainer: Any) -> None:
        trainer.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

    model.add_callback("on_pretrain_routine_end", scaler)
    monitor = StabilityMonitor(fault="nan_loss@2").attach(model)
    model.train(**overrides("detect", tmp_path))

    assert monitor.trace.steps["skipped"].to_list() == [None, None, "guard", *[None] * 5]
    assert bad_tensors(model.trainer) == []


@pytest.mark.smoke
def test_too_many_bad_steps_end_the_run_with_its_last_healthy_state(
    tmp_path: Path, zero_at_start: dict[str, set[str]]
) -> None:
    """An older run's `last.pt` lies in the folder, `save=False`: the restored state is saved all the same."""
    old = tmp_path / "run" / "weights" / "last.pt"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"an older run")
    steps = ",".join(str(n) for n in range(5, 100))
    own = {"fault": f"nan_grad@{steps}", "guard_limit": 3}
    run = Watched("detect", tmp_path, own=own, epochs=5, save=False, name="run", exist_ok=True)

    assert run.guard_skips() == [5, 6, 7, 8]  # more than three in a row
    assert run.monitor.stopped
    assert run.bad == []
    assert run.trace.steps["step"].max() == 8
    event = json.loads(run.trace.events.filter(pl.col("kind") == "guard_stop")["data"][0])
    final, expected = state(run.model.trainer), run.states[event["restored_step"]]
    assert 0 < event["restored_step"] < 5
    assert [name for name in expected if not torch.equal(expected[name], final[name])] == []
    assert zero_tensors(run.save_dir / "weights" / "last.pt") <= zero_at_start["detect"]
    YOLO(run.save_dir / "stability" / "healthy.pt").predict(
        torch.zeros(1, 3, 64, 64), verbose=False
    )


def test_guard_stop_ends_at_the_first_bad_step(tmp_path: Path) -> None:
    run = Watched("detect", tmp_path, own={"fault": "nan_grad@5", "guard": "stop"}, epochs=4)

    assert run.guard_skips() == [5]
    assert run.monitor.stopped
    assert run.trace.steps["step"].max() == 5


@pytest.mark.parametrize("event", ["on_train_batch_end", "on_train_epoch_end"])
def test_weights_that_blow_up_after_a_finite_gradient_are_rolled_back_before_saving(
    event: str, tmp_path: Path, zero_at_start: dict[str, set[str]]
) -> None:
    model = YOLO(MODELS["detect"])
    one_thread(model)

    def blow_up(trainer: Any) -> None:
        if trainer.epoch == 1:
            with torch.no_grad():
                trainer.ema.ema.model[0].conv.weight.fill_(math.inf)
                trainer.model.model[0].conv.weight.fill_(math.inf)

    monitor = StabilityMonitor().attach(model)
    model.add_callback(event, blow_up)
    model.train(**overrides("detect", tmp_path, epochs=3, val=True))

    kinds = monitor.trace.events["kind"].to_list()
    assert "rollback" in kinds
    assert bad_tensors(model.trainer) == []
    assert zero_tensors(model.trainer.last) <= zero_at_start["detect"]


def test_a_save_that_fails_half_way_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = YOLO(MODELS["detect"])
    one_thread(model)
    before: dict[str, bytes] = {}
    write = Path.write_bytes

    def break_off(path: Path, content: bytes) -> int:
        last = model.trainer.save_dir / "weights" / "last.pt"
        if path.name == "last.pt" and last.exists():
            before["last"] = last.read_bytes()
            write(path, content[: len(content) // 2])
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", break_off)
    StabilityMonitor().attach(model)
    with pytest.raises(OSError, match="No space left"):
        model.train(**overrides("detect", tmp_path))
    last = model.trainer.save_dir / "weights" / "last.pt"
    assert last.read_bytes() == before["last"]
    assert list(last.parent.glob(".*")) == []
