"""The culprit of a window: which micro-batch, which image, or that it is neither."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from yolo_stability.guard.incidents.search import Culprit, Hits, search
from yolo_stability.guard.incidents.window import KeptBatch, RandomState

CPU = torch.device("cpu")


class Model(nn.Module):
    """A convolution with BatchNorm; `rule` maps the images to a term of the loss."""

    def __init__(self, rule: Callable[[Tensor], Any] = lambda images: 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.bn, self.rule = nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), rule

    def forward(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        loss = self.bn(self.conv(batch["img"])).square().mean() + self.rule(batch["img"])
        return loss, {}


def kept(values: list[float], first: int = 0, loss: float | None = None) -> KeptBatch:
    """Return a micro-batch whose images are constant but for a little noise."""
    noise = torch.rand(len(values), 3, 4, 4, generator=torch.Generator().manual_seed(first)) / 100
    images = torch.tensor(values).reshape(-1, 1, 1, 1) + noise
    return KeptBatch(
        iteration=first,
        batch={"img": images, "im_file": [f"folder/{first + i}.jpg" for i in range(len(values))]},
        random=RandomState.now(CPU),
        loss=None if loss is None else torch.tensor(loss),
    )


def run(
    model: nn.Module, *window: KeptBatch, hits: Hits | None = None, seconds: float = 60.0
) -> Culprit:
    return search(model, window, hits or Hits(sign="loss"), autocast=None, seconds=seconds)


def nan_if(condition: Callable[[Tensor], Any]) -> Callable[[Tensor], float]:
    return lambda images: torch.nan if bool(condition(images)) else 0.0


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("place", [0, 2, 3])
def test_an_image_that_is_bad_itself_is_named(value: float, place: int) -> None:
    window = kept([0.1, 0.2, 0.3, 0.4])
    window.batch["img"][place, 1, 2, 2] = value
    culprit = run(Model(), window)
    assert culprit.reproduced
    assert culprit.names == (f"{place}.jpg",)
    assert culprit.images == (f"folder/{place}.jpg",)
    assert culprit.place is not None
    assert culprit.place.phase == "forward"
    assert culprit.message.startswith(f"image {place}.jpg, first bad module conv")


def test_the_micro_batch_is_found_wherever_it_lies() -> None:
    for place in range(3):
        window = [kept([0.1, 0.2], first=10 * i) for i in range(3)]
        window[place].batch["img"][1, 0, 0, 0] = torch.nan
        culprit = run(Model(), *window)
        assert (culprit.micro_batch, culprit.names) == (place, (f"{10 * place + 1}.jpg",))


def test_a_finite_image_that_fails_alone_is_named() -> None:
    culprit = run(
        Model(nan_if(lambda x: (x.mean(dim=(1, 2, 3)) > 0.8).any())), kept([0.1, 0.9, 0.3])
    )
    assert culprit.names == ("1.jpg",)
    assert culprit.why == "it fails alone"


def test_an_image_without_which_the_batch_is_fine_is_named() -> None:
    """Two dark ones go wrong only beside the bright one: no image does alone."""
    culprit = run(Model(nan_if(lambda x: x.max() - x.min() > 0.8)), kept([0.0, 0.9, 0.0]))
    assert culprit.names == ("1.jpg",)
    assert culprit.why == "without it the batch does not fail"


def test_a_bad_weight_is_not_blamed_on_images() -> None:
    model = Model()
    with torch.no_grad():
        model.conv.weight[0] = torch.inf
    culprit = run(model, kept([0.1, 0.2]))
    assert culprit.reproduced
    assert culprit.names == ()
    assert "gray images fail as well" in culprit.message


def test_when_all_images_go_wrong_alone_none_is_named() -> None:
    culprit = run(Model(nan_if(lambda x: x.mean() < 0.4)), kept([0.1, 0.2, 0.3]))
    assert culprit.names == ()
    assert culprit.why == "every image fails alone"


def test_a_batch_of_one_image_blames_it_unless_a_gray_one_fails_too() -> None:
    assert run(Model(nan_if(lambda x: x.mean() > 0.8)), kept([0.9])).names == ("0.jpg",)
    assert run(Model(nan_if(lambda x: True)), kept([0.9])).names == ()


def test_an_image_whose_gradient_alone_is_bad_is_named() -> None:
    """The root has an infinite derivative at zero, while its value is fine."""
    model = Model()
    model.rule = lambda images: (
        (model.bn.bias.sum() * 0 + (images.mean(dim=(1, 2, 3)) < 0.8).float()).sqrt().sum()
    )
    culprit = run(model, kept([0.1, 0.9, 0.2]))
    assert culprit.names == ("1.jpg",)
    assert culprit.place is not None
    assert (culprit.place.phase, culprit.place.operation) == ("backward", "SqrtBackward0")


def test_without_time_no_image_is_tried() -> None:
    culprit = run(
        Model(nan_if(lambda x: (x.mean(dim=(1, 2, 3)) > 0.8).any())),
        kept([0.1, 0.9, 0.3]),
        seconds=0.0,
    )
    assert culprit.reproduced
    assert culprit.names == ()
    assert culprit.why == "there was no time to try every image"


def test_a_gradient_hit_from_outside_names_the_parameter() -> None:
    model = Model()
    model.conv.weight.grad = torch.full_like(model.conv.weight, torch.nan)
    model.bn.bias.grad = torch.ones(2)
    named = [(n, p.grad) for n, p in model.named_parameters() if p.grad is not None]
    hits = Hits.of("gradient", named)
    assert (hits.parameters, hits.count, hits.total) == (("conv.weight",), 1, 2)
    culprit = run(model, kept([0.1, 0.2]), hits=hits)
    assert not culprit.reproduced
    expected = (
        "the batch alone does not reproduce it; the gradient of conv.weight in conv Conv2d was hit"
    )
    assert culprit.message == expected


def test_a_loss_hit_from_outside_names_its_iteration() -> None:
    window = [kept([0.1, 0.2], first=7, loss=1.0), kept([0.1, 0.2], first=8, loss=torch.nan)]
    culprit = run(Model(), *window)
    assert not culprit.reproduced
    assert culprit.micro_batch == 1
    expected = "the batch alone does not reproduce it; the loss of iteration 8 (8.jpg and 1 more) was not finite"
    assert culprit.message == expected


def test_dropped_micro_batches_are_reported_missing() -> None:
    lost = kept([0.1, 0.2])
    lost.batch["img"][0] = torch.nan
    lost.lighten()
    culprit = run(Model(), lost, kept([0.1, 0.2], first=5))
    assert not culprit.reproduced
    assert culprit.message.startswith("1 of 2 micro-batches were too large to keep")


def test_random_numbers_are_those_of_the_first_time() -> None:
    """Dropout decides which pass fails, so only the same generator state reproduces it."""
    model = Model()
    model.rule = lambda images: torch.nan if float(torch.rand(1)) < 0.5 else 0.0
    for _ in range(10):
        window = kept([0.1, 0.2])
        expected = float(torch.rand(1)) < 0.5
        assert run(model, window).reproduced == expected
        window.random.restore(CPU)
        torch.rand(1)
