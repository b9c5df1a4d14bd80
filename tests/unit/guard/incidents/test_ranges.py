"""Ranges of an incident: what was usual, and what was not."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from yolo_stability.guard.incidents.localize import run_pass
from yolo_stability.guard.incidents.ranges import WeightRange, image_ranges, weights_finite
from yolo_stability.guard.incidents.search import Culprit, Hits, search
from yolo_stability.guard.incidents.window import KeptBatch, RandomState


class Reciprocal(nn.Module):
    """A block of one's own that divides by almost nothing."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        return x / self.by


class Model(nn.Module):
    """A convolution, a block of one's own and a convolution; the square of the output is the loss."""

    def __init__(self, by: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Conv2d(3, 2, 1), Reciprocal(by), nn.Conv2d(2, 2, 1))

    def forward(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        return self.model(batch["img"]).square().mean(), {}


def kept(images: Tensor) -> KeptBatch:
    names = [f"folder/{i}.jpg" for i in range(len(images))]
    random = RandomState.now(torch.device("cpu"))
    return KeptBatch(iteration=0, batch={"img": images, "im_file": names}, random=random)


@pytest.mark.parametrize("by", [0.0, 1e-30], ids=["infinite", "absurd"])
def test_a_block_of_ones_own_is_named_though_the_next_one_overflows(by: float) -> None:
    place = run_pass(Model(by), {"img": torch.rand(2, 3, 4, 4)}, autocast=None).place
    assert place is not None
    assert (place.layer, place.custom) == ("model.1 Reciprocal", True)
    assert place.largest_input is not None
    assert 0 < place.largest_input < 10


def test_a_block_of_torch_is_not_the_users_and_its_input_is_measured() -> None:
    images = torch.rand(2, 3, 4, 4)
    images[0, 0, 0, 0] = 3e38
    model = Model(1.0)
    with torch.no_grad():
        model.model[0].weight.fill_(10.0)
    place = run_pass(model, {"img": images}, autocast=None).place
    assert place is not None
    assert (place.layer, place.custom) == ("model.0 Conv2d", False)
    assert place.largest_input == pytest.approx(3e38)


def test_a_failure_that_needs_half_precision_is_known_as_such() -> None:
    """Finite images that a division makes too large for half precision, and only for that."""
    images = kept(torch.rand(2, 3, 8, 8) + 0.5)
    hits = Hits(sign="loss")
    found = search(Model(1e-8), [images], hits, autocast=torch.float16)
    assert (found.reproduced, found.only_in_half) == (True, True)
    whole = search(Model(0.0), [images], hits, autocast=torch.float16)
    assert (whole.reproduced, whole.only_in_half) == (True, False)


def test_weights_grow_against_their_start_or_against_one() -> None:
    model = Model(1.0)
    start = WeightRange(model)
    assert start.growth(model) == 1.0  # all are below 1
    with torch.no_grad():
        model.model[0].bias[0] = -40.0
    assert start.growth(model) == 40.0
    assert WeightRange(model).growth(model) == 1.0
    with torch.no_grad():
        model.model[2].weight[0] = torch.nan
    assert not math.isfinite(start.growth(model))
    assert not weights_finite(model)
    assert not math.isfinite(WeightRange(model).growth(model))


def test_a_mask_of_minus_infinity_is_no_weight() -> None:
    model = nn.Sequential(nn.BatchNorm2d(2))
    model.register_buffer("mask", torch.full((2,), -math.inf))
    assert weights_finite(model)
    model[0].running_var[0] = torch.nan
    assert not weights_finite(model)


def test_blamed_images_are_compared_with_the_others() -> None:
    images = torch.rand(3, 3, 4, 4)
    images[1, 0, 0, 0] = 900.0
    window = kept(images)
    found = image_ranges(Culprit(reproduced=True, message="", images=("folder/1.jpg",)), window)
    assert (found["images_finite"], found["largest_pixel"]) == (True, 900.0)
    assert found["other_largest_pixel"] <= 1.0
    images[2, 0, 0, 0] = torch.nan
    two = Culprit(reproduced=True, message="", images=("folder/2.jpg",))
    assert image_ranges(two, window)["images_finite"] is False
    nobody = Culprit(reproduced=True, message="")
    assert image_ranges(nobody, window)["images_finite"] is False
    assert image_ranges(nobody, None) == {}


def test_images_without_names_count_together() -> None:
    window = kept(torch.rand(2, 3, 4, 4))
    window.batch["im_file"] = ["", ""]
    found = image_ranges(Culprit(reproduced=True, message="", images=("",)), window)
    assert found["images_finite"]
    assert found["other_largest_pixel"] is None
