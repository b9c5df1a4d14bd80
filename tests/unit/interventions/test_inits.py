"""Initial weights: their variance by the papers' formulas, and what stays as it was."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from ultralytics.nn.tasks import DetectionModel

from yolo_stability.core.errors import ConfigError
from yolo_stability.interventions.inits import INITS, make_init
from yolo_stability.interventions.inits._base import weighted_layers
from yolo_stability.interventions.norms import make_norm
from yolo_stability.interventions.norms._replace import apply_norm


@pytest.fixture
def stock() -> DetectionModel:
    torch.manual_seed(0)
    return DetectionModel("yolov8n.yaml", verbose=False)


def example(kind: str) -> str:
    """Return the kind with a number if it takes one."""
    return {"gain": "gain:3"}.get(kind, kind)


@pytest.mark.parametrize("kind", list(INITS))
def test_weights_change_and_nothing_else_does(stock: DetectionModel, kind: str) -> None:
    before = copy.deepcopy(stock.state_dict())
    layers = make_init(example(kind)).apply(stock)
    changed = {n for n, v in stock.state_dict().items() if not torch.equal(v, before[n])}
    expected = {f"{n}.weight" for n, _ in weighted_layers(stock)} if kind != "default" else set()
    assert changed == expected
    assert layers == len(expected)
    assert "model.22.dfl.conv.weight" in before
    assert "model.22.dfl.conv.weight" not in changed


def test_variances_are_those_of_the_papers() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(64, 128, 3)
    fan_in, fan_out = 64 * 9, 128 * 9
    for kind, variance in {"xavier": 2 / (fan_in + fan_out), "kaiming": 2 / fan_in}.items():
        make_init(kind).apply(nn.Sequential(conv))
        assert float(conv.weight.var()) == pytest.approx(variance, rel=0.03)
        assert abs(float(conv.weight.mean())) < 3 * math.sqrt(variance / conv.weight.numel())
    make_init("orthogonal").apply(nn.Sequential(conv))
    rows = conv.weight.flatten(1)
    torch.testing.assert_close(rows @ rows.T, torch.eye(128), atol=1e-5, rtol=0)


def test_kaiming_keeps_depthwise_filters_alive() -> None:
    """With fan-out, torch would count all channels of a depthwise convolution."""
    torch.manual_seed(0)
    conv = nn.Conv2d(256, 256, 3, groups=256)
    make_init("kaiming").apply(nn.Sequential(conv))
    assert float(conv.weight.var()) == pytest.approx(2 / 9, rel=0.1)


def test_gain_multiplies_the_default_weights(stock: DetectionModel) -> None:
    before = {n: layer.weight.detach().clone() for n, layer in weighted_layers(stock)}
    make_init("gain:3").apply(stock)
    for name, layer in weighted_layers(stock):
        torch.testing.assert_close(layer.weight, before[name] * 3)


def test_default_draws_no_random_numbers(stock: DetectionModel) -> None:
    state = torch.get_rng_state()
    make_init("default").apply(stock)
    assert torch.equal(torch.get_rng_state(), state)


def test_lsuv_makes_every_output_a_unit_variance(stock: DetectionModel) -> None:
    """Each convolution's output without its bias, in a separate forward of the same batch."""
    apply_norm(stock, make_norm("none"))
    init = make_init("lsuv")
    init.apply(stock)
    stock.train()
    images = torch.rand(4, 3, 96, 96)
    layers = init.on_first_batch(stock, images)
    deviations = {}

    def look(name: str) -> object:
        def hook(layer: nn.Conv2d, _: object, output: torch.Tensor) -> None:
            shift = 0 if layer.bias is None else layer.bias.view(-1, 1, 1)
            deviations[name] = float((output - shift).std())

        return hook

    for name, layer in weighted_layers(stock):
        layer.register_forward_hook(look(name))
    with torch.no_grad():
        stock(images)
    assert len(deviations) == layers > 50
    assert all(d == pytest.approx(1.0, rel=1e-3) for d in deviations.values())


def test_lsuv_leaves_buffers_and_random_numbers_alone(stock: DetectionModel) -> None:
    init = make_init("lsuv")
    init.apply(stock)
    stock.train()
    before, state = {n: b.clone() for n, b in stock.named_buffers()}, torch.get_rng_state()
    init.on_first_batch(stock, torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert all(torch.equal(b, before[n]) for n, b in stock.named_buffers())
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(m._forward_hooks for m in stock.modules())


def test_mistakes_are_one_sentence() -> None:
    with pytest.raises(ConfigError, match="needs the factor, for example gain:3"):
        make_init("gain")
    with pytest.raises(ConfigError, match="kaiming takes no number"):
        make_init("kaiming:2")
    with pytest.raises(ConfigError, match="Did you mean 'xavier'"):
        make_init("xavir")
