"""The step loop and its parts work with any PyTorch training loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from plain_training import BAD, PlainTraining, images, same
from torch import Tensor

from yolo_stability.config import make_settings
from yolo_stability.core.actions import Action
from yolo_stability.core.types import Event, StepRecord
from yolo_stability.gradients.updates import NOTHING, UpdateSampling
from yolo_stability.interventions.switches import Switches
from yolo_stability.trainer.rescue.controller import Rescue
from yolo_stability.trainer.rescue.remedies import LiveRemedies
from yolo_stability.trainer.step import records
from yolo_stability.trainer.step.clipping import Clipping
from yolo_stability.trainer.step.gradient_reading import GradientReader
from yolo_stability.trainer.step.healthy_steps import Health
from yolo_stability.trainer.step.journal import Journal
from yolo_stability.trainer.step.loop import StepLoop


class Followed:
    """A plain training loop with a step loop attached."""

    def __init__(self, training: PlainTraining, **own: Any) -> None:
        self.training = training
        self.records: list[StepRecord] = []
        self.events: list[Event] = []
        settings = make_settings(**{"incidents": 0, **own})
        self.switches = Switches(settings)
        journal = Journal(self.events.append)
        self.loop = StepLoop(training, settings, self.switches, journal, self.records.append)

    def step(self, batch: Tensor | None = None) -> bool:
        """Take one step; return whether the weights were updated."""
        training, loop = self.training, self.loop
        loop.begin_iteration()
        given = {"img": images() if batch is None else batch}
        loop.on_batch(given)
        training.forward(given["img"])
        loop.before_unscale()
        training.scaler.unscale_(training.optimizer)
        admitted = loop.admits()
        if admitted:
            loop.clip()
            loop.before_update()
            training.update()
            loop.after_update()
        loop.end_iteration()
        return admitted

    def accumulate(self, batch: Tensor | None = None) -> None:
        """Run an iteration without a step."""
        self.loop.begin_iteration()
        given = {"img": images() if batch is None else batch}
        self.loop.on_batch(given)
        self.training.forward(given["img"])
        self.loop.end_iteration()

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


@pytest.mark.parametrize("amp", [False, True])
def test_a_step_that_is_not_finite_is_skipped_and_leaves_nothing_behind(
    amp: bool, tmp_path: Path
) -> None:
    run = Followed(PlainTraining(tmp_path, amp=amp))
    for _ in range(3):
        assert run.step()
    before = run.training.fingerprint()
    assert not run.step(images(BAD))
    assert same(run.training.fingerprint()[:-1], before[:-1])  # all but the scale, which AMP halves
    assert run.training.scaler.get_scale() == (32.0 if amp else 1.0)
    assert run.kinds() == ["guard_skip"]
    assert run.loop.recovery.unhealthy_step == 3
    assert run.step()
    assert run.loop.recovery.unhealthy_step == -1  # the batch was to blame
    run.loop.records.flush()
    assert [record.skipped for record in run.records] == [None, None, None, "guard", None]
    assert [record.step for record in run.records] == [0, 1, 2, 3, 4]


def test_watching_changes_no_weight(tmp_path: Path) -> None:
    run = Followed(PlainTraining(tmp_path), clip="none", watch_every=1)
    torch.manual_seed(1)
    for _ in range(5):
        run.step()
    watched = run.training.fingerprint()
    stock = PlainTraining(tmp_path)
    torch.manual_seed(1)
    stock.train(5)
    assert same(watched, stock.fingerprint())


def test_a_fault_strikes_at_its_step_and_the_guard_limit_ends_the_run(tmp_path: Path) -> None:
    run = Followed(PlainTraining(tmp_path), fault="nan_grad@2", guard="stop")
    states = []
    for _ in range(3):
        run.step()
        states.append(run.training.fingerprint())
    assert run.kinds() == ["guard_skip", "guard_stop"]
    assert run.training.stopped
    assert run.loop.journal.stopped is not None
    assert "The state of step 0 was restored" in run.loop.journal.stopped


def test_a_rollback_brings_back_every_part_of_the_state(tmp_path: Path) -> None:
    run = Followed(PlainTraining(tmp_path, amp=True))
    marks = {0: run.training.fingerprint()}
    for step in range(1, 13):
        run.step()
        marks[step] = run.training.fingerprint()
    restored = run.loop.recovery.roll_back(None)
    assert restored > 0
    assert same(run.training.fingerprint(), marks[restored])
    assert run.loop.recovery.healthy_steps == 0
    run.loop.recovery.keep_finite()
    assert run.kinds() == []
    with torch.no_grad():
        run.training.model[0].weight.fill_(torch.nan)
    run.loop.recovery.keep_finite()
    assert run.kinds() == ["rollback"]
    assert same(run.training.fingerprint(), marks[restored])


class Policy:
    """Decides once."""

    def __init__(self, action: Action) -> None:
        self.actions = [action]
        self.forgotten: list[int] = []

    def decide(self) -> Action | None:
        return self.actions.pop() if self.actions else None

    def undone(self, restored: int) -> None:
        self.forgotten.append(restored)


def rescued(run: Followed, remedy: str, value: str) -> tuple[Rescue, Policy]:
    action = Action(remedy=remedy, value=value, cause="learning_rate", why="because")
    policy: Any = Policy(action)
    remedies = LiveRemedies(run.switches)
    loop = run.loop
    return Rescue(run.training, loop.recovery, loop.journal, policy, remedies, "auto"), policy


def test_a_rescue_rolls_back_and_lowers_the_rate(tmp_path: Path) -> None:
    run = Followed(PlainTraining(tmp_path, optimizer="SGD"), rescue="auto")
    start = run.training.fingerprint()
    rescue, policy = rescued(run, "lower_rate", "0.1")
    for _ in range(3):
        run.step()
    slots = len(run.training.optimizer.state)
    rescue.act(stepped=True)
    assert run.training.rates() == pytest.approx([0.001])
    assert run.training.scheduler.base_lrs == pytest.approx([0.001])
    assert run.training.warmup_bias_lr == pytest.approx(0.1)
    assert slots > 0
    assert same(run.training.fingerprint(), start)
    assert policy.forgotten == [0]
    event = run.events[-1]
    assert event.kind == "rescue"
    assert event.data["restored_step"] == 0
    assert event.data["warmup_back"] == event.data["iterations"] == 3
    for _ in range(33):
        run.step()
        rescue.act(stepped=True)
    assert run.kinds()[-1] == "rescued"


def test_a_restart_begins_with_new_weights(tmp_path: Path) -> None:
    run = Followed(PlainTraining(tmp_path), rescue="auto", init="gain:3")
    rescue, _ = rescued(run, "restart", "default")
    run.step()
    before = run.training.model[0].weight.clone()
    rescue.act(stepped=True)
    assert not torch.equal(run.training.model[0].weight, before)
    assert torch.equal(run.training.ema.ema[0].weight, run.training.model[0].weight)  # type: ignore[union-attr]
    assert not run.training.optimizer.state


def test_several_iterations_make_one_step_with_one_transfer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Followed(PlainTraining(tmp_path), watch_every=1)
    run.step()
    flushes: list[int] = []
    monkeypatch.setattr(
        records, "to_host", lambda *vectors: flushes.append(1) or [v.numpy() for v in vectors]
    )
    run.accumulate()
    run.step()
    assert flushes == []  # what was deferred travelled along
    assert [record.step for record in run.records] == [0]
    run.loop.records.flush()
    assert flushes == [1]
    assert [record.accumulate for record in run.records] == [1, 2]
    assert run.records[1].micro_norm is not None
    assert all(stats.update_ratio for stats in run.records[1].blocks if stats.grad_norm)


def test_a_step_of_somebody_else_is_recorded_only(tmp_path: Path) -> None:
    run = Followed(PlainTraining(tmp_path), guard="off")
    run.loop.begin_iteration()
    run.loop.on_batch({"img": images()})
    run.training.forward(images())
    run.loop.record_only()
    run.training.update()
    run.loop.end_iteration()
    assert [(r.step, r.clip_coef) for r in run.records] == [(0, None)]
    assert run.loop.journal.step == run.loop.journal.iteration == 1


def test_an_epoch_that_starts_over_is_a_new_attempt(tmp_path: Path) -> None:
    run = Followed(PlainTraining(tmp_path))
    run.accumulate()
    run.loop.restart("oom_restart", {"epoch": 0})
    run.step()
    run.loop.records.flush()
    assert run.kinds() == ["oom_restart"]
    assert (run.records[0].attempt, run.records[0].accumulate) == (1, 1)


# --- the parts by themselves ----------------------------------------------------------------------


def test_health_resolves_a_skip_with_the_next_healthy_step() -> None:
    health = Health()
    health.skipped(4)
    assert health.unhealthy_step == 4
    assert health.applied(5, 1.0, 1.0)
    assert health.unhealthy_step == -1
    assert not health.applied(6, torch.nan, 1.0)
    assert health.unhealthy_step == 6


@pytest.mark.parametrize(("step", "trusted"), [(10, False), (18, False), (19, True)])
def test_a_doubtful_state_is_not_trusted_for_a_while(step: int, trusted: bool) -> None:
    health = Health()
    assert health.trusts(step)
    health.doubtful_step = 10
    assert health.trusts(step) == trusted


def test_a_reading_is_held_once(tmp_path: Path) -> None:
    training = PlainTraining(tmp_path)
    reader = GradientReader(training)
    reader.window.begin()
    training.forward(images())
    reader.window.absorb(training)
    reading = reader.read(NOTHING, ())
    grads = [p.grad.flatten() for p in training.model.parameters() if p.grad is not None]
    assert reading.grad_norm == pytest.approx(float(torch.cat(grads).norm()))
    assert reading.signs.loss == pytest.approx(float(training.loss.detach()))
    reader.hold(reading)
    assert reader.take() is reading
    with pytest.raises(AssertionError):
        reader.take()


def test_clipping_reuses_the_norm_and_says_by_how_much(tmp_path: Path) -> None:
    training = PlainTraining(tmp_path)
    reader = GradientReader(training)
    training.forward(100 * images())
    reading = reader.read(NOTHING, ())
    clipping = Clipping(Switches(make_settings(clip="norm:0.001")))
    clipped = clipping.apply(training, reading)
    assert clipped.clip_coef == pytest.approx(0.001 / reading.grad_norm, rel=1e-3)
    assert reader.read(NOTHING, ()).grad_norm == pytest.approx(0.001, rel=1e-3)
    assert len(clipping.take_coefficient()) == 0


def test_updates_are_measured_where_they_are_due(tmp_path: Path) -> None:
    training = PlainTraining(tmp_path)
    training.model[0].weight.requires_grad = False
    sampling = UpdateSampling(GradientReader(training).index, every=0)
    sampling.before_update(0)
    assert [len(v) for v in sampling.after_update()] == [0, 0]
    sampling = UpdateSampling(GradientReader(training).index, every=1)
    assert sampling.wants(0)
    sampling.before_update(0)
    training.train(1)
    weights, deltas = sampling.after_update()
    assert len(weights) == len(deltas) == len(sampling.positions) == 5
    assert float(deltas.sum()) > 0
