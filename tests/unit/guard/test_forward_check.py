"""A saved checkpoint is run forward in evaluation mode: finite, not finite, or not possible."""

from __future__ import annotations

import random
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from ultralytics import YOLO

from yolo_stability.guard.forward_check import forward_problem

TINY = Path(__file__).parents[2] / "models" / "tiny.yaml"


class OnlyTraining(nn.Module):
    """Fails in evaluation mode: with NaN, or with an exception."""

    def __init__(self, error: str = "") -> None:
        super().__init__()
        self.error = error
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        """Compute zero divided by zero."""
        if self.error:
            raise ValueError(self.error)
        return [{"y": x if self.training else (x - x) / (x - x)}]


class FixedSize(nn.Module):
    """Takes images of one size and with four channels."""

    yaml: ClassVar = {"channels": 4}

    def __init__(self, size: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.ones(1, 4, size, size))

    def forward(self, x: Tensor) -> Tensor:
        """Add the positions."""
        return torch.add(x, self.positions)


def saved(folder: Path, model: nn.Module, **content: object) -> Path:
    """Save a model as Ultralytics saves its EMA, in half precision and training mode."""
    path = folder / "last.pt"
    torch.save({"ema": model.train().half(), "model": None, **content}, path)
    return path


def test_a_sound_model_passes_and_nothing_random_changes(tmp_path: Path) -> None:
    path = saved(tmp_path, YOLO(str(TINY)).model)
    torch.manual_seed(1), np.random.seed(1), random.seed(1)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.random(), random.random()  # noqa: NPY002
    torch.manual_seed(1), np.random.seed(1), random.seed(1)  # noqa: NPY002
    assert forward_problem(path) is None
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.random(), random.random()) == before[1:]  # noqa: NPY002
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]


def test_statistics_beyond_every_number_are_found(tmp_path: Path) -> None:
    """Training would never notice: it uses the statistics of the batch."""
    model = YOLO(str(TINY)).model
    norm = next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    assert norm.running_mean is not None
    norm.running_mean.fill_(float("nan"))
    problem = forward_problem(saved(tmp_path, model))
    assert problem == "computes NaN or Inf in evaluation mode"


def test_code_that_fails_only_in_evaluation_is_found(tmp_path: Path) -> None:
    assert forward_problem(saved(tmp_path, OnlyTraining())) == (
        "computes NaN or Inf in evaluation mode"
    )
    assert forward_problem(saved(tmp_path, OnlyTraining("no table"))) == (
        "cannot run in evaluation mode (ValueError: no table)"
    )


@pytest.mark.parametrize(("size", "passes"), [(64, True), (96, True), (80, False)])
def test_an_image_has_the_size_and_channels_of_the_training(
    size: int, passes: bool, tmp_path: Path
) -> None:
    problem = forward_problem(saved(tmp_path, FixedSize(size), train_args={"imgsz": 96}))
    assert (problem is None) == passes


def test_a_file_that_is_gone_is_no_judgment(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        forward_problem(tmp_path / "gone.pt")
