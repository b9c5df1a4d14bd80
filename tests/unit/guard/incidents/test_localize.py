"""Where a batch goes wrong: small models whose bad place is known by construction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from yolo_stability.guard.incidents.localize import run_pass

Function = Callable[[Tensor], Tensor]


class Square(torch.autograd.Function):
    """A square whose derivative is infinite."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x**2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * torch.inf


class Criterion:
    def __init__(self, function: Function) -> None:
        self.function = function

    def __call__(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        loss = self.function(x.mean())
        return loss, {"loss": loss.detach()}


class Block(nn.Module):
    def __init__(self, act: nn.Module, after: Function) -> None:
        super().__init__()
        self.conv, self.bn, self.act = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), act
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.act(self.bn(self.conv(x))))


def same(x: Tensor) -> Tensor:
    return x


class Model(nn.Module):
    """Three blocks that share one activation, which writes over its input, as in YOLO."""

    def __init__(
        self, functions: dict[int, Function] | None = None, criterion: Function = same
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        act = nn.SiLU(inplace=True)
        self.model = nn.Sequential(*(Block(act, (functions or {}).get(i, same)) for i in range(3)))
        for i, block in enumerate(self.model):
            block.i = i  # type: ignore[assignment]
        self.criterion = Criterion(criterion)

    def forward(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        x = batch["img"]
        for block in self.model:
            x = block(x)
        return self.criterion(x)


def batch(value: float | None = None) -> dict[str, Any]:
    images = torch.rand(4, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    if value is not None:
        images[2, 0, 1, 1] = value
    return {"img": images}


def found(model: nn.Module, images: dict[str, Any] | None = None) -> tuple[bool, Any]:
    result = run_pass(model, images or batch(), autocast=None)
    assert run_pass(model, images or batch(), autocast=None, locate=False).bad == result.bad
    return result.bad, result.place


def test_a_healthy_batch_is_not_bad_and_its_loss_is_the_models() -> None:
    bad, place = found(Model())
    assert (bad, place) == (False, None)
    expected = float(Model()(batch())[0].detach())
    assert run_pass(Model(), batch(), autocast=None).loss == expected


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_bad_pixel_shows_in_the_first_layer(value: float) -> None:
    bad, place = found(Model(), batch(value))
    assert bad
    assert (place.phase, place.block, place.layer) == (
        "forward",
        "model.0 Block",
        "model.0.conv Conv2d",
    )


def test_a_bad_weight_is_found_behind_the_batch_norm_that_hides_nothing() -> None:
    model = Model()
    with torch.no_grad():
        model.model[1].conv.weight[0] = torch.inf
    _, place = found(model)
    assert (place.block, place.layer) == ("model.1 Block", "model.1.conv Conv2d")


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_shared_activation_is_named_under_the_block_that_called_it(index: int) -> None:
    """One instance serves all blocks; it is made to fail at one of its calls."""
    model, calls = Model(), iter(range(100))

    class Failing(nn.SiLU):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * (torch.nan if next(calls) == index else 1)

    act = Failing()
    for block in model.model:
        block.act = act
    place = run_pass(model, batch(), autocast=None).place
    assert place is not None
    assert (place.block, place.layer) == (f"model.{index} Block", f"model.{index}.act Failing")


def test_what_a_block_computes_outside_its_layers_is_the_blocks() -> None:
    _, place = found(Model({1: lambda x: x / 0}))
    assert (place.phase, place.layer) == ("forward", "model.1 Block")


def test_a_bad_loss_of_a_finite_forward_is_the_criterions() -> None:
    _, place = found(Model(criterion=lambda x: x / 0))
    assert (place.phase, place.block, place.layer) == ("loss", "Criterion", None)


def test_bad_statistics_with_a_finite_loss_are_bad() -> None:
    model = Model()
    model.model[2].bn.running_var[1] = torch.inf
    bad, place = found(model)
    assert bad
    assert (place.phase, place.layer) == ("forward", "model.2.bn BatchNorm2d")


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_bad_derivative_is_found_in_its_block(index: int) -> None:
    bad, place = found(Model({index: Square.apply}))
    assert bad
    assert (place.phase, place.block) == ("backward", f"model.{index} Block")
    assert place.operation == "SquareBackward"


def test_a_bad_derivative_of_the_loss_is_the_criterions() -> None:
    bad, place = found(Model(criterion=lambda x: (x - x.detach()).sqrt()))
    assert bad
    assert (place.phase, place.block, place.operation) == ("backward", "Criterion", "SqrtBackward0")


def test_a_gradient_of_one_parameter_names_it() -> None:
    class Weight(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
            return x * weight

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
            return gradient, torch.full((1,), torch.nan)

    model = Model()
    model.model[1].scale = nn.Parameter(torch.ones(1))
    model.model[1].after = lambda x: Weight.apply(x, model.model[1].scale)
    _, place = found(model)
    assert (place.phase, place.block, place.parameter) == (
        "backward",
        "model.1 Block",
        "model.1.scale",
    )


def test_no_hook_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for model in (Model(), Model({1: Square.apply}), Model(criterion=lambda x: x / 0)):
        run_pass(model, batch(), autocast=None)
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    model = Model()
    monkeypatch.setattr(model.model[1], "after", lambda x: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_pass(model, batch(), autocast=None)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_half_precision_overflows_where_single_does_not() -> None:
    model = Model()
    with torch.no_grad():
        model.model[1].conv.weight.fill_(1e5)
    assert not run_pass(model, batch(), autocast=None).bad
    place = run_pass(model, batch(), autocast=torch.float16).place
    assert place is not None
    assert place.layer == "model.1.conv Conv2d"
