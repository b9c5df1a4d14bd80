"""What a batch holds: counts and statistics, on any layout and type of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from plain_training import PlainTraining
from torch import Tensor

from yolo_stability.guard import distributed
from yolo_stability.trainer.step import gradient_reading
from yolo_stability.trainer.step.accumulation import Window
from yolo_stability.trainer.step.gradient_reading import GradientReader, agreed
from yolo_stability.trainer.step.inputs import BatchCounts, input_statistics, is_sampled


def expected(images: Tensor) -> list[float]:
    values = images.double()
    spread = values.std(correction=0)
    return [float(v) for v in (values.min(), values.max(), values.mean(), spread)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_statistics_are_those_of_torch(dtype: torch.dtype, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    images = (255 * torch.rand(4, 3, 24, 40)).to(dtype).to(memory_format=layout)
    assert input_statistics(images).tolist() == pytest.approx(expected(images), rel=1e-4)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_those_of_large_images_are_nearly_so(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    images = torch.rand(4, 3, 320, 320).to(memory_format=layout)
    images[2, 1, 17, 18] = 300.0  # one hot pixel shows, wherever it is
    found, exact = input_statistics(images).tolist(), expected(images)
    assert found[:3] == pytest.approx(exact[:3], rel=1e-4)
    assert found[3] == pytest.approx(float(torch.rand(4, 3, 320, 320).std()), rel=0.01)


def test_a_sum_that_float16_cannot_hold() -> None:
    images = torch.full((2, 3, 64, 64), 60000.0, dtype=torch.float16)
    assert input_statistics(images).tolist() == pytest.approx([60000.0] * 3 + [0.0], abs=0.1)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_pixel_that_is_not_finite_shows(value: float) -> None:
    images = torch.rand(2, 3, 8, 8)
    images[1, 2, 3, 4] = value
    found = input_statistics(images)
    assert not torch.isfinite(found[1])
    assert not torch.isfinite(found[2])


@pytest.mark.parametrize(
    "images", [None, torch.zeros(0, 3), [1.0], torch.ones(2, dtype=torch.cfloat)]
)
def test_anything_else_has_no_statistics(images: Any) -> None:
    assert input_statistics(images).numel() == 0


def test_the_first_64_steps_are_sampled_then_every_4th() -> None:
    sampled = [step for step in range(80) if is_sampled(step)]
    assert sampled == [*range(64), 64, 68, 72, 76]


def test_a_sum_with_something_unknown_is_unknown() -> None:
    assert BatchCounts(2, 3) + BatchCounts(4, 0) == BatchCounts(6, 3)
    assert BatchCounts(2, 3) + BatchCounts(4) == BatchCounts(6)
    assert BatchCounts.of({"img": 3}) == BatchCounts()


def window(training: PlainTraining, sizes: list[int], objects: int = 2) -> Window:
    filled = Window()
    for size in sizes:
        filled.begin()
        owners = torch.zeros(objects * size)
        filled.look(
            {"img": torch.rand(size, 3, 8, 8), "cls": owners, "batch_idx": owners}, measure=True
        )
        training.forward(torch.rand(size, 3, 8, 8))
        training.loss = torch.tensor(float(3 * size))  # three per image
        filled.absorb(training)
    return filled


@pytest.mark.parametrize(("factor", "loss"), [("images", 3.0), ("none", 9.0), (None, 9.0)], ids=str)
def test_a_loss_is_divided_by_its_factor(tmp_path: Path, factor: str | None, loss: float) -> None:
    training = PlainTraining(tmp_path)
    reader = GradientReader(training)
    reader.loss_factor, reader.window = factor, window(training, [4, 2])
    reading = reader.read(torch.zeros(0), ())
    assert reading.loss == pytest.approx(loss)
    assert reading.signs.loss == pytest.approx(9.0)  # the guard sees the mean of 12 and 6
    assert reading.counts == BatchCounts(6, 12)
    assert reader.window.images_seen == 6
    reader.window.clear()
    assert (reader.window.counts, reader.window.images_seen) == (BatchCounts(0, 0), 6)
    assert reader.window.inputs.numel() == 0


def test_an_unknown_number_of_images_divides_nothing(tmp_path: Path) -> None:
    training = PlainTraining(tmp_path)
    reader = GradientReader(training)
    reader.loss_factor = "images"
    reader.window.begin()
    training.forward(torch.rand(4, 3, 8, 8))
    training.loss = torch.tensor(12.0)
    reader.window.absorb(training)
    reading = reader.read(torch.zeros(0), ())
    assert (reading.loss, reading.counts, reading.inputs) == (12.0, BatchCounts(), None)
    assert reader.window.images_seen is None


def test_ranks_share_counts_and_the_mean_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other rank has as much again, and a loss that is higher by 2."""
    training = PlainTraining(tmp_path)
    training.world_size = 2
    for module in (distributed, gradient_reading):
        monkeypatch.setattr(module, "is_distributed", lambda state: True)
    monkeypatch.setattr(
        distributed,
        "_gather",
        lambda state, row: [row, [row[0], row[1], row[2] + 2, *row[3:]]],
    )
    reader = GradientReader(training)
    reader.loss_factor, reader.window = "images", window(training, [4])
    reading = agreed(training, reader.read(torch.zeros(0), ()))
    # per image 3; Ultralytics multiplies by the world size, which is divided out
    assert reading.loss == pytest.approx((3 / 2 + 3 / 2 + 2) / 2)
    assert reading.counts == BatchCounts(8, 16)
