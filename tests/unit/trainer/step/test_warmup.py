"""Warm-up progress after rollbacks, resumes and restarted epochs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from yolo_stability.compat.ultralytics import DEFAULT_CFG_DICT
from yolo_stability.trainer.step.warmup import WarmUp, lower_bias_rate, restored_warmup
from yolo_stability.trainer.trainer_state import TrainerState


def make_trainer(*, warmup_epochs: float = 2.0, nbs: int = 8) -> SimpleNamespace:
    """Four batches of 4 per epoch, ten epochs; the warm-up ends at iteration 8."""
    model = nn.Linear(4, 2)
    groups = [
        {"params": [model.weight], "param_group": "weight", "initial_lr": 0.01},
        {"params": [model.bias], "param_group": "bias", "initial_lr": 0.01},
    ]
    return SimpleNamespace(
        optimizer=torch.optim.SGD(groups, lr=0.01, momentum=0.9),
        train_loader=range(4),
        batch_size=4,
        epochs=10,
        epoch=3,
        accumulate=2,
        lf=lambda epoch: 0.5,
        args=SimpleNamespace(
            warmup_bias_lr=0.1,
            warmup_momentum=0.8,
            momentum=0.9,
            warmup_epochs=warmup_epochs,
            nbs=nbs,
        ),
        _get_warmup_iterations=lambda batches: round(warmup_epochs * batches),
    )


def rates(trainer: SimpleNamespace) -> list[float]:
    return [group["lr"] for group in trainer.optimizer.param_groups]


def test_nothing_is_touched_while_nothing_was_given_back() -> None:
    trainer, warmup = make_trainer(), WarmUp()
    warmup.apply(TrainerState(trainer), 1)
    assert rates(trainer) == [0.01, 0.01]


@pytest.mark.parametrize(
    ("iteration", "weight", "bias", "momentum", "accumulate"),
    [(20, 0.0, 0.1, 0.8, 1), (24, 0.0025, 0.0525, 0.85, 2), (28, 0.005, 0.005, 0.9, 2)],
)
def test_a_restored_state_warms_up_from_its_own_place(
    iteration: int, weight: float, bias: float, momentum: float, accumulate: int
) -> None:
    trainer, warmup = make_trainer(), WarmUp()
    warmup.return_to(0, 20)
    assert warmup.back == 20
    warmup.apply(TrainerState(trainer), iteration)
    assert rates(trainer) == pytest.approx([weight, bias])
    assert trainer.optimizer.param_groups[0]["momentum"] == pytest.approx(momentum)
    assert trainer.accumulate == accumulate


def test_after_its_end_the_schedule_is_left_alone() -> None:
    trainer, warmup = make_trainer(), WarmUp()
    warmup.return_to(0, 20)
    warmup.apply(TrainerState(trainer), 29)
    assert rates(trainer) == [0.01, 0.01]


def test_a_state_that_was_taken_while_it_warmed_up_again_goes_on_from_there() -> None:
    warmup = WarmUp()
    warmup.return_to(0, 20)
    place = warmup.place(25)
    assert place == 5
    warmup.return_to(place, 40)
    assert [warmup.place(iteration) for iteration in (40, 41)] == [5, 6]


def test_an_epoch_that_begins_anew_is_counted_as_ultralytics_does() -> None:
    trainer, warmup = make_trainer(), WarmUp()
    warmup.begin_epoch(
        TrainerState(trainer), 1, 7
    )  # killed in the middle of epoch 1, resumed at its beginning: 3 iterations twice
    assert warmup.place(7) == 4
    warmup.return_to(2, 9)
    warmup.begin_epoch(TrainerState(trainer), 2, 11)
    assert warmup.place(11) == 4


def test_without_a_warm_up_there_is_none_to_give_back() -> None:
    trainer, warmup = make_trainer(warmup_epochs=0.0), WarmUp()
    warmup.return_to(0, 20)
    for iteration in (19, 20, 21):
        warmup.apply(TrainerState(trainer), iteration)
        assert rates(trainer) == [0.01, 0.01]


@pytest.mark.parametrize(
    ("before", "factor", "after"),
    [(0.1, 0.001, 0.1), (10.0, 0.1, 1.0), (10.0, 0.001, 0.1), (0.02, 0.1, 0.02)],
)
def test_biases_never_begin_below_what_stock_begins_with(
    before: float, factor: float, after: float
) -> None:
    assert DEFAULT_CFG_DICT["warmup_bias_lr"] == 0.1
    trainer = SimpleNamespace(args=SimpleNamespace(warmup_bias_lr=before))
    lower_bias_rate(TrainerState(trainer), factor)
    assert trainer.args.warmup_bias_lr == pytest.approx(after)


@pytest.mark.parametrize(
    ("history", "epoch", "back"),
    [
        ([], 3, 0),
        ([("rescue", 40, 20)], 10, 20),
        ([("rescue", 40, 20)], 3, 0),  # the checkpoint is older
        ([("rescue", 8, 5), ("rescue", 40, 20)], 3, 5),
        ([("rescue", 40, 20), ("resume", 5, 0)], 10, 20),
        ([("rescue", 40, 20), ("resume", 2, 0)], 10, 0),  # that session started before the rescue
        ([("rescue", 40, 20), ("resume", 2, 0), ("rescue", 30, 7)], 10, 7),
    ],
    ids=str,
)
def test_a_warm_up_is_given_back_to_what_was_put_back(
    history: list[tuple[str, int, int]], epoch: int, back: int
) -> None:
    events = [
        (kind, {"iterations": at, "warmup_back": given} if kind == "rescue" else {"epoch": at})
        for kind, at, given in history
    ]
    assert restored_warmup(events, epoch, 8) == back
