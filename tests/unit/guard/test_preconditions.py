"""What a training may begin from: nothing that is NaN or Inf, if it came from a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics.utils.torch_utils import ModelEMA

from yolo_stability.core.errors import StabilityError
from yolo_stability.guard.preconditions import is_number, require_sound_start
from yolo_stability.trainer.trainer_state import TrainerState


def make_trainer(folder: Path, *, resume: bool = True, model: str = "last.pt") -> SimpleNamespace:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    net.register_buffer("mask", torch.tensor([-math.inf, 0.0]))  # as an attention's, for good
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    return SimpleNamespace(
        model=net,
        ema=ModelEMA(net),
        optimizer=optimizer,
        scaler=torch.amp.GradScaler("cpu", init_scale=8.0),
        resume=resume,
        args=SimpleNamespace(model=model),
        save_dir=folder,
        best_fitness=0.5,
    )


def put(tensor: torch.Tensor) -> None:
    with torch.no_grad():
        tensor.view(-1)[0] = math.nan


def slot(trainer: Any) -> torch.Tensor:
    return next(iter(trainer.optimizer.state.values()))["momentum_buffer"]


BROKEN: dict[str, tuple[Callable[[Any], None], str]] = {
    "weight": (lambda t: put(t.model[0].weight), "in 0.weight,"),
    "statistics": (lambda t: put(t.model[1].running_var), "in 1.running_var,"),
    "EMA": (lambda t: put(t.ema.ema[0].bias), "in EMA: 0.bias,"),
    "updates": (lambda t: setattr(t.ema, "updates", math.nan), "in the EMA's number of updates,"),
    "slot": (lambda t: put(slot(t)), "in the optimizer's momentum_buffer,"),
    "setting": (
        lambda t: t.optimizer.param_groups[0].update(momentum=math.inf),
        "in the optimizer's momentum,",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_named_and_refused(what: str, tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    require_sound_start(TrainerState(trainer))
    breaks, expected_text = BROKEN[what]
    breaks(trainer)
    with pytest.raises(StabilityError) as caught:
        require_sound_start(TrainerState(trainer))
    assert expected_text in str(caught.value)
    assert "from another checkpoint" in str(caught.value)


def test_the_healthy_checkpoint_of_the_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "stability").mkdir()
    (tmp_path / "stability" / "healthy.pt").touch()
    trainer = make_trainer(tmp_path)
    put(trainer.model[0].weight)
    put(trainer.model[1].running_mean)
    with pytest.raises(StabilityError, match=r"and 1 more, .*model=.*healthy\.pt"):
        require_sound_start(TrainerState(trainer))


def test_new_weights_are_not_checked(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, resume=False, model="yolo26n.yaml")
    put(trainer.model[0].weight)
    require_sound_start(TrainerState(trainer))
    trainer.args.model = "bad.pt"
    with pytest.raises(StabilityError, match=r"bad\.pt contains NaN or Inf"):
        require_sound_start(TrainerState(trainer))


def test_a_best_fitness_that_is_no_number_is_forgotten(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    require_sound_start(TrainerState(trainer))
    assert trainer.best_fitness == 0.5
    trainer.best_fitness = math.nan
    require_sound_start(TrainerState(trainer))
    assert trainer.best_fitness is None


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *(
            (0.1, True),
            (3, True),
            (True, True),
            (None, True),
            ("cosine", True),
            ((0.9, 0.99), True),
        ),
        *(
            (torch.tensor(1.0), True),
            (math.nan, False),
            (-math.inf, False),
            ((0.9, math.nan), False),
        ),
        (torch.tensor([1.0, math.inf]), False),
    ],
)
def test_numbers(value: object, number: bool) -> None:
    assert is_number(value) is number
