"""The guard serves any PyTorch loop: no trainer of Ultralytics, and no import of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from plain_training import BAD, PlainTraining, images, same

from yolo_stability.guard.buffers import BufferSnapshot
from yolo_stability.guard.distributed import agree, is_distributed
from yolo_stability.guard.guard import Guard, StepSigns
from yolo_stability.guard.preconditions import require_sound_start
from yolo_stability.guard.snapshots import HealthyStates, Snapshot

MODULES = (
    "baseline buffers checkpoints distributed guard outcome preconditions snapshots training_state"
)


def test_importing_the_guard_imports_no_ultralytics() -> None:
    imports = "; ".join(f"import yolo_stability.guard.{name}" for name in MODULES.split())
    code = f"{imports}; import sys; print('ultralytics' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_bad_window_is_undone_and_its_losses_are_forgotten(tmp_path: Path) -> None:
    training = PlainTraining(tmp_path)
    guard = Guard(training)
    training.train(2)
    training.forward(images())
    guard.accept(training)
    training.update()
    loss, before = training.loss, training.fingerprint()
    guard.before_window()
    training.forward(images(BAD))
    assert not torch.isfinite(guard.largest_buffer()).all()
    guard.undo(training)
    assert same(training.fingerprint(), before)
    assert torch.equal(training.loss, loss)
    assert torch.equal(training.running_loss, loss)
    assert all(p.grad is None for p in training.model.parameters())
    assert guard.in_a_row == 1
    assert guard.is_finite(training)


@pytest.mark.parametrize("what", ["weight", "average", "statistics of the average"])
def test_a_state_that_is_not_finite_is_noticed(what: str, tmp_path: Path) -> None:
    training = PlainTraining(tmp_path)
    guard = Guard(training)
    assert training.ema is not None
    tensors = {
        "weight": training.model[0].weight,
        "average": training.ema.ema[0].weight,
        "statistics of the average": training.ema.ema[1].running_var,
    }
    with torch.no_grad():
        tensors[what].view(-1)[0] = torch.nan
    assert not guard.is_finite(training)


def test_losses_between_two_steps_stay_finite(tmp_path: Path) -> None:
    training = PlainTraining(tmp_path)
    guard = Guard(training)
    training.forward(images(BAD))
    guard.screen_losses(training)
    assert float(training.loss) == 0.0
    assert float(training.running_loss) == 0.0


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
@pytest.mark.parametrize("amp", [False, True])
@pytest.mark.parametrize("ema", [False, True])
def test_a_rollback_restores_the_whole_state(
    optimizer: str, amp: bool, ema: bool, tmp_path: Path
) -> None:
    training = PlainTraining(tmp_path, optimizer=optimizer, amp=amp, ema=ema)
    states = HealthyStates(training, 0, age=4)
    marks = {0: training.fingerprint()}
    for step in range(1, 20):
        training.train(1)
        marks[step] = training.fingerprint()
        states.observe(training, step, healthy=True)
    with torch.no_grad():
        training.model[0].weight.fill_(torch.nan)
    restored = states.restore(training)
    assert 0 < restored < 19
    assert same(training.fingerprint(), marks[restored])


def test_a_snapshot_follows_an_average_that_was_exchanged(tmp_path: Path) -> None:
    training = PlainTraining(tmp_path)
    saved = Snapshot(training)
    saved.take(training, 0)
    training.train(3)
    other = PlainTraining(tmp_path)
    training.ema = other.ema
    saved.take(training, 3)
    expected = training.fingerprint()
    training.train(2)
    saved.restore(training)
    assert same(training.fingerprint(), expected)


def test_buffers_go_back_in_place(tmp_path: Path) -> None:
    training = PlainTraining(tmp_path)
    place = training.model[1].running_mean.data_ptr()
    buffers = BufferSnapshot(training.model)
    buffers.take()
    before = [b.clone() for b in training.model.buffers()]
    training.forward(images(BAD))
    buffers.restore()
    assert same(list(training.model.buffers()), before)
    assert training.model[1].running_mean.data_ptr() == place


def test_new_weights_are_not_checked_and_one_process_agrees_with_itself(
    tmp_path: Path,
) -> None:
    training = PlainTraining(tmp_path)
    with torch.no_grad():
        training.model[0].weight.fill_(torch.nan)
    require_sound_start(training)  # it comes from no checkpoint
    signs = StepSigns(
        loss=1.0, nonfinite_gradients=2, largest_buffer=None, scaler_enabled=training.resume
    )
    assert not is_distributed(training)
    assert agree(training, signs, [3.0]) == (signs, [(3.0,)])
    assert signs.reason == "gradient"
