"""Snapshots: complete, in place, and trusted only after they have proven themselves."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from ultralytics.utils.torch_utils import ModelEMA

from yolo_stability.guard.snapshots import HealthyStates, Snapshot


def make_trainer(optimizer: str = "AdamW") -> SimpleNamespace:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 1))
    return SimpleNamespace(
        model=model,
        ema=ModelEMA(model),
        optimizer=getattr(torch.optim, optimizer)(model.parameters(), lr=0.1),
        scaler=torch.amp.GradScaler("cpu", init_scale=8.0),
        device=torch.device("cpu"),
    )


def train(trainer: SimpleNamespace, steps: int = 1) -> None:
    for _ in range(steps):
        loss = trainer.model(torch.randn(2, 3, 8, 8)).square().mean()
        trainer.scaler.scale(loss).backward()
        trainer.scaler.step(trainer.optimizer)
        trainer.scaler.update()
        trainer.optimizer.zero_grad()
        trainer.ema.update(trainer.model)


def fingerprint(trainer: SimpleNamespace) -> list[torch.Tensor]:
    tensors = [*trainer.model.state_dict().values(), *trainer.ema.ema.state_dict().values()]
    for slots in trainer.optimizer.state.values():
        tensors += [v for v in slots.values() if isinstance(v, torch.Tensor)]
    tensors.append(torch.tensor([trainer.ema.updates, trainer.scaler.get_scale()]))
    return [t.detach().clone() for t in tensors]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW", "RMSprop"])
@pytest.mark.parametrize("before", [0, 3])
def test_restoring_brings_back_every_part_of_the_state(optimizer: str, before: int) -> None:
    trainer = make_trainer(optimizer)
    train(trainer, before)
    saved = Snapshot(trainer)
    saved.take(trainer, before)
    expected = fingerprint(trainer)
    train(trainer, 4)
    trainer.scaler.update(2.0)
    trainer.model[0].weight.data.fill_(torch.nan)
    assert not same(fingerprint(trainer), expected)
    saved.restore(trainer)
    assert same(fingerprint(trainer), expected)


def test_training_after_a_restore_repeats_what_came_before() -> None:
    trainer = make_trainer()
    train(trainer, 2)
    saved = Snapshot(trainer)
    saved.take(trainer, 2)
    torch.manual_seed(1)
    train(trainer, 3)
    expected = fingerprint(trainer)
    saved.restore(trainer)
    torch.manual_seed(1)
    train(trainer, 3)
    assert same(fingerprint(trainer), expected)


def test_tensors_keep_their_identity_or_the_ema_would_average_the_wrong_ones() -> None:
    trainer = make_trainer()
    train(trainer)
    pointers = [p.data_ptr() for p in (*trainer.model.parameters(), *trainer.ema.ema.parameters())]
    saved = Snapshot(trainer)
    saved.take(trainer, 1)
    saved.restore(trainer)
    assert pointers == [
        p.data_ptr() for p in (*trainer.model.parameters(), *trainer.ema.ema.parameters())
    ]


def test_learning_rates_go_on_as_they_are() -> None:
    trainer = make_trainer()
    saved = Snapshot(trainer)
    saved.take(trainer, 0)
    trainer.optimizer.param_groups[0]["lr"] = 0.01
    saved.restore(trainer)
    assert trainer.optimizer.param_groups[0]["lr"] == 0.01


@pytest.mark.parametrize(
    ("key", "value"), [("lr", math.nan), ("weight_decay", math.inf), ("betas", (0.9, math.nan))]
)
def test_a_setting_that_is_not_a_number_is_restored(key: str, value: object) -> None:
    """Or each step after the restore would be as bad as those before it."""
    trainer = make_trainer()
    before = trainer.optimizer.param_groups[0][key]
    saved = Snapshot(trainer)
    saved.take(trainer, 0)
    trainer.optimizer.param_groups[0][key] = value
    saved.restore(trainer)
    assert trainer.optimizer.param_groups[0][key] == before


def test_steps_that_were_not_taken_prove_nothing() -> None:
    trainer = make_trainer()
    states = HealthyStates(trainer, 0, age=8)
    run(states, trainer, [True, False, False, False, False, False, True])
    assert states.step == 0


def run(
    states: HealthyStates, trainer: SimpleNamespace, health: list[bool], start: int = 0
) -> None:
    for step, healthy in enumerate(health, start=start + 1):
        train(trainer)
        states.observe(trainer, step, healthy=healthy)


def test_a_snapshot_counts_only_after_enough_healthy_steps() -> None:
    trainer = make_trainer()
    states = HealthyStates(trainer, 0, age=8)
    assert states.step == 0
    seen = []
    for step in range(1, 40):
        train(trainer)
        states.observe(trainer, step, healthy=True)
        seen.append(states.step)
        assert step - states.step <= 16  # never older than two ages
        assert step == states.step or step - states.step >= min(4, step)
    assert seen[3] == 0  # step 4: the snapshot of step 1 has seen three more
    assert seen[4] == 1
    assert sorted(seen) == seen


def test_an_unhealthy_step_disqualifies_the_younger_snapshot() -> None:
    trainer = make_trainer()
    states = HealthyStates(trainer, 0, age=8)
    run(states, trainer, [True] * 30)
    trusted = states.step
    run(states, trainer, [True] * 3 + [False] + [True] * 3, start=30)
    assert states.step == trusted
    train(trainer, 1)
    assert states.restore(trainer) == trusted


@pytest.mark.parametrize(("before", "younger"), [(None, False), (33, False), (40, True)])
def test_the_younger_snapshot_will_do_where_trouble_showed_well_after_it(
    before: int | None, younger: bool
) -> None:
    """The trusted state is of step 19, the younger of step 28, used if the onset is known."""
    trainer = make_trainer()
    states = HealthyStates(trainer, 0, age=8)
    run(states, trainer, [True] * 30)
    trusted = states.step
    run(states, trainer, [False] * 2 + [True] * 5, start=30)  # the younger one is still what it was
    candidate = states._candidate.step
    assert trusted < candidate <= 30
    assert states.restore(trainer, before) == (candidate if younger else trusted)


def test_after_trouble_the_younger_snapshot_is_not_replaced_at_once() -> None:
    trainer = make_trainer()
    states = HealthyStates(trainer, 0, age=8)
    run(states, trainer, [True] * 30)
    before = states._candidate.step
    run(states, trainer, [False] + [True] * 7, start=30)
    assert states._candidate.step == before
    run(states, trainer, [True], start=38)
    assert states._candidate.step == 39


def test_a_rescue_keeps_the_beginning_for_longer() -> None:
    trainer = make_trainer()
    states = HealthyStates(trainer, 0, youngest=16)
    run(states, trainer, [True] * 16)
    assert states.step == 0
    run(states, trainer, [True], start=16)
    assert states.step == 1


def test_a_second_rollback_does_not_take_a_state_from_inside_the_first_trouble() -> None:
    trainer = make_trainer()
    states = HealthyStates(trainer, 0, age=8)
    run(states, trainer, [True] * 30)
    trusted = states.step
    assert states.restore(trainer, 25) == trusted  # trouble showed before the younger one was taken
    assert states.restore(trainer, 100) == trusted
