"""Remedies change the state that Ultralytics keeps, and their changes persist."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from ultralytics.utils.torch_utils import ModelEMA

from yolo_stability.config import make_settings
from yolo_stability.core.actions import Action
from yolo_stability.core.errors import ConfigError
from yolo_stability.interventions.switches import Switches
from yolo_stability.trainer.rescue.preconditions import require_memory, state_bytes
from yolo_stability.trainer.rescue.remedies import LiveRemedies
from yolo_stability.trainer.trainer_state import TrainerState


def make_trainer() -> SimpleNamespace:
    """A trainer with the learning rate in groups, scheduler and arguments, as in Ultralytics."""
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(
        [{"params": [model.weight]}, {"params": [model.bias], "param_group": "bias"}], lr=0.1
    )
    return SimpleNamespace(
        model=model,
        ema=ModelEMA(model),
        optimizer=optimizer,
        scheduler=LambdaLR(optimizer, lambda epoch: 1 - epoch / 10),
        args=SimpleNamespace(warmup_bias_lr=0.1),
        scaler=torch.amp.GradScaler("cpu", init_scale=65536.0),
    )


def rates(trainer: SimpleNamespace) -> list[float]:
    return [group["lr"] for group in trainer.optimizer.param_groups]


def remedies() -> LiveRemedies:
    return LiveRemedies(Switches(make_settings()))


def action(remedy: str, value: str | None = None, **more: Any) -> Action:
    return Action(remedy=remedy, value=value, cause="learning_rate", why="because", **more)


def next_epoch(trainer: SimpleNamespace) -> None:
    trainer.optimizer.step()
    trainer.scheduler.step()


def test_a_lowered_rate_outlives_the_epoch_and_the_warm_up() -> None:
    trainer = make_trainer()
    done = remedies().apply(TrainerState(trainer), action("lower_rate", "0.1"))
    assert "0.01" in done
    assert rates(trainer) == pytest.approx([0.01, 0.01])
    next_epoch(trainer)
    assert rates(trainer) == pytest.approx([0.009, 0.009])
    assert [group["initial_lr"] for group in trainer.optimizer.param_groups] == pytest.approx(
        [0.01, 0.01]
    )
    assert trainer.args.warmup_bias_lr == 0.1  # stock, which no factor has raised


def everywhere(trainer: SimpleNamespace, i: int) -> None:
    group = trainer.optimizer.param_groups[i]
    group["lr"], group["initial_lr"] = 500 * group["lr"], 500 * group["initial_lr"]
    trainer.scheduler.base_lrs[i] *= 500


def current(trainer: SimpleNamespace, i: int) -> None:
    trainer.optimizer.param_groups[i]["lr"] *= 500


def schedule(trainer: SimpleNamespace, i: int) -> None:
    share = trainer.scheduler.lr_lambdas[i]
    trainer.scheduler.lr_lambdas[i] = lambda epoch: 500 * share(epoch)
    trainer.optimizer.param_groups[i]["lr"] *= 500


@pytest.mark.parametrize("groups", [("pg0",), ("bias",), ("pg0", "bias")], ids=str)
@pytest.mark.parametrize("leap", [everywhere, current, schedule])
def test_a_leap_is_undone_wherever_rates_are_kept(leap: Any, groups: tuple[str, ...]) -> None:
    """The rates are those of a training without a leap, in this epoch and in the next."""
    trainer, stock, live = make_trainer(), make_trainer(), remedies()
    live.know_rates(TrainerState(trainer))
    for each in (trainer, stock):
        next_epoch(each)
    for i, name in enumerate(("pg0", "bias")):
        if name in groups:
            leap(trainer, i)
    done = live.apply(TrainerState(trainer), action("lower_rate", "0.002", groups=groups))
    assert " and ".join(groups) in done
    assert rates(trainer) == pytest.approx(rates(stock))
    for each in (trainer, stock):
        next_epoch(each)
    assert rates(trainer) == pytest.approx(rates(stock))
    if leap is everywhere:
        initial = [group["initial_lr"] for group in trainer.optimizer.param_groups]
        assert initial == pytest.approx([0.1, 0.1])


def test_a_base_rate_that_was_raised_without_showing_is_restored_too() -> None:
    """In the warm-up the rate of the biases hardly depends on their base rate yet."""
    trainer, live = make_trainer(), remedies()
    live.know_rates(TrainerState(trainer))
    for i in range(2):
        everywhere(trainer, i)
    trainer.optimizer.param_groups[1]["lr"] = 0.09
    live.apply(TrainerState(trainer), action("lower_rate", "0.002", groups=("pg0",)))
    assert rates(trainer) == pytest.approx([0.1, 0.09])
    assert trainer.scheduler.base_lrs == pytest.approx([0.1, 0.1])
    initial = [group["initial_lr"] for group in trainer.optimizer.param_groups]
    assert initial == pytest.approx([0.1, 0.1])


def test_a_leap_that_was_undone_is_not_lowered_again_by_a_resume() -> None:
    trainer, live = make_trainer(), remedies()
    live.resume(TrainerState(trainer), action("lower_rate", "0.002", groups=("bias",)))
    live.follow(TrainerState(trainer), 0.1)
    assert trainer.scheduler.base_lrs == pytest.approx([0.1, 0.1])


def test_a_rate_that_was_lowered_is_the_one_to_restore() -> None:
    trainer, live = make_trainer(), remedies()
    live.know_rates(TrainerState(trainer))
    live.apply(TrainerState(trainer), action("lower_rate", "0.1"))
    everywhere(trainer, 0)
    live.apply(TrainerState(trainer), action("lower_rate", "0.002", groups=("pg0",)))
    assert trainer.scheduler.base_lrs == pytest.approx([0.01, 0.01])


@pytest.mark.parametrize("saved", [0.1, 0.01])
def test_after_a_resume_rates_are_lowered_once_whatever_the_checkpoint_says(saved: float) -> None:
    """The checkpoint may have been written before or after the rescue."""
    trainer, live = make_trainer(), remedies()
    for group in trainer.optimizer.param_groups:
        group["lr"] = group["initial_lr"] = saved
    trainer.args.warmup_bias_lr = saved
    live.resume(TrainerState(trainer), action("lower_rate", "0.1"))
    live.follow(TrainerState(trainer), 0.01)
    assert [group["initial_lr"] for group in trainer.optimizer.param_groups] == pytest.approx(
        [0.01, 0.01]
    )
    assert trainer.args.warmup_bias_lr == 0.01
    next_epoch(trainer)
    assert rates(trainer) == pytest.approx([0.009, 0.009])


def test_a_new_warm_up_gives_the_whole_rate_back_and_follows_the_schedule() -> None:
    trainer, live = make_trainer(), remedies()
    live.apply(TrainerState(trainer), action("rewarm", "10"))
    seen = [rates(trainer)[0]]
    for _ in range(12):
        live.after_iteration(TrainerState(trainer))
        seen.append(rates(trainer)[0])
    assert seen[0] == pytest.approx(0.002)
    assert all(a < b for a, b in pairwise(seen[:11]))
    assert seen[10:] == pytest.approx([0.1, 0.1, 0.1])
    next_epoch(trainer)
    assert rates(trainer) == pytest.approx([0.09, 0.09])


def test_a_second_warm_up_before_the_first_has_ended_gives_no_more_than_the_whole_rate() -> None:
    trainer, live = make_trainer(), remedies()
    live.apply(TrainerState(trainer), action("rewarm", "10"))
    for _ in range(4):
        live.after_iteration(TrainerState(trainer))
    live.apply(TrainerState(trainer), action("rewarm", "10"))
    for _ in range(12):
        live.after_iteration(TrainerState(trainer))
    assert rates(trainer) == pytest.approx([0.1, 0.1])


@pytest.mark.parametrize(("gone", "first"), [(0, 0.002), (5, 0.051), (10, 0.1), (99, 0.1)])
def test_after_a_resume_a_new_warm_up_goes_on_where_the_checkpoint_was(
    gone: int, first: float
) -> None:
    trainer, live = make_trainer(), remedies()
    live.resume(TrainerState(trainer), action("rewarm", "10"), gone)
    live.follow(TrainerState(trainer), 0.1)
    assert [group["initial_lr"] for group in trainer.optimizer.param_groups] == pytest.approx(
        [first, first]
    )
    for _ in range(12):
        live.after_iteration(TrainerState(trainer))
    assert [group["initial_lr"] for group in trainer.optimizer.param_groups] == pytest.approx(
        [0.1, 0.1]
    )
    assert trainer.args.warmup_bias_lr == pytest.approx(0.1)


def test_two_warm_ups_and_a_lowered_rate_are_put_back_in_force_together() -> None:
    """The second warm-up starts during the first; the checkpoint is three iterations newer."""
    trainer, live = make_trainer(), remedies()
    live.resume(TrainerState(trainer), action("rewarm", "10"), 9)
    live.resume(TrainerState(trainer), action("lower_rate", "0.1"), 9)
    live.resume(TrainerState(trainer), action("rewarm", "10"), 3)
    live.follow(TrainerState(trainer), 0.01)
    share = 0.02 + 0.98 * 0.3
    assert [group["initial_lr"] for group in trainer.optimizer.param_groups] == pytest.approx(
        [0.01 * share] * 2
    )


def test_a_tighter_clip_is_the_one_that_the_run_uses() -> None:
    switches = Switches(make_settings())
    live = LiveRemedies(switches)
    assert (
        live.apply(TrainerState(make_trainer()), action("tighten_clip", "agc:0.01"))
        == "clip=agc:0.01 instead of norm:10"
    )
    assert str(switches.clip) == "agc:0.01"


def test_a_lower_scale_grows_more_slowly() -> None:
    trainer = make_trainer()
    trainer.scaler.scale(torch.ones(1))  # the scale exists only then
    interval, before = trainer.scaler.get_growth_interval(), trainer.scaler.state_dict()
    live = remedies()
    live.apply(TrainerState(trainer), action("lower_scale", "0.0625"))
    assert trainer.scaler.get_scale() == 4096
    assert trainer.scaler.get_growth_interval() == 10 * interval
    trainer.scaler.load_state_dict(before)  # as a rollback does
    live.after_rollback(TrainerState(trainer))
    assert trainer.scaler.get_scale() == 4096
    assert trainer.scaler.get_growth_interval() == 10 * interval


def test_a_lower_scale_is_in_force_before_the_first_step_of_a_resumed_run() -> None:
    """Before its first step a scaler has no scale yet, and torch rejects a new one."""
    first = make_trainer()
    first.scaler.scale(torch.ones(1))
    live = remedies()
    live.apply(TrainerState(first), action("lower_scale", "0.0625"))
    for scale, expected in (
        (65536.0, 4096),
        (1024.0, 1024),
    ):  # a checkpoint from before the rescue, and a younger one
        trainer, again = make_trainer(), remedies()
        trainer.scaler.load_state_dict(
            {**first.scaler.state_dict(), "scale": scale, "growth_interval": 2000}
        )
        again.amp_cap = live.amp_cap
        again.after_rollback(TrainerState(trainer))
        trainer.scaler.scale(torch.ones(1))
        assert trainer.scaler.get_scale() == expected
        assert trainer.scaler.get_growth_interval() == 20000


def test_what_does_not_fit_into_memory_is_refused_with_both_figures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer = make_trainer()
    assert (
        state_bytes(trainer) == 2 * 10 * 4 + 2 * 10 * 4
    )  # 10 numbers, model and EMA, and two moments
    assert "320 B" in require_memory(trainer) or "0.00032 MB" in require_memory(trainer)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=100))
    with pytest.raises(
        ConfigError, match=r"two training states .* GB are free for the second: set guard=off"
    ):
        require_memory(trainer)
