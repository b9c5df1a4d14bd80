"""Zero tensors: twelve odd checkpoints that are sound, and eight that are damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from ultralytics.nn.modules import C2f, Classify, Conv

from yolo_stability.checkpoint.audit import audit_checkpoint

WIDTH = 16


class Gate(nn.Module):
    """A branch behind a gate per channel; `names` the gate of LayerScale, ReZero or SkipInit."""

    def __init__(self, shape: tuple[int, ...], name: str = "gate", value: float = 0.0) -> None:
        super().__init__()
        self.branch = nn.Conv2d(WIDTH, WIDTH, 1)
        self.register_parameter(name, nn.Parameter(torch.full(shape, value)))

    def forward(self, x: Tensor) -> Tensor:
        """Add the gated branch."""
        (gate,) = (p for n, p in self.named_parameters() if "." not in n)
        return torch.addcmul(x, gate, self.branch(x))


class Fixed(nn.Module):
    """A buffer that never changes."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", values)


class Branch(nn.Module):
    """Layers whose output is added to their input."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch."""
        return torch.add(x, self.layers(x))


def network(block: nn.Module | None = None) -> nn.Module:
    """Return a classifier of Ultralytics' blocks, with another block before its head."""
    torch.manual_seed(0)
    layers = [Conv(3, WIDTH, 3, 2), C2f(WIDTH, WIDTH, 1, shortcut=True), Conv(WIDTH, WIDTH, 3)]
    net = nn.Module()
    net.model = nn.Sequential(*layers, block or nn.Identity(), Classify(WIDTH, 4))
    return net


def count(net: nn.Module, batches: int) -> nn.Module:
    """Let every BatchNorm layer have seen a number of batches."""
    for name, tensor in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensor.fill_(batches)
    return net


def zero(*names: str) -> Callable[[nn.Module], None]:
    """Return a change that zeroes all tensors whose names begin so."""

    def change(net: nn.Module) -> None:
        for name, tensor in net.state_dict().items():
            if name.startswith(names) and tensor.is_floating_point():
                tensor.zero_()

    return change


def verdict(folder: Path, net: nn.Module, content: Any = None) -> tuple[str, list[str]]:
    """Return verdict and rules of the audit of a network saved as its EMA."""
    path = folder / "last.pt"
    torch.save({"ema": net} if content is None else content, path)
    result = audit_checkpoint(path)
    return result.verdict, [finding.rule for finding in result.findings]


def zero_branch() -> nn.Module:
    """Return a branch that ends in a convolution of zeros."""
    block = Branch(nn.Conv2d(WIDTH, WIDTH, 1), nn.Conv2d(WIDTH, WIDTH, 1))
    zero("layers.1")(block)
    return block


def zero_gain() -> nn.Module:
    """Return a branch that ends in a BatchNorm with gains of zero."""
    return Branch(nn.Conv2d(WIDTH, WIDTH, 1), zeroed(nn.BatchNorm2d(WIDTH), "weight"))


def zeroed(module: nn.Module, *names: str) -> nn.Module:
    """Zero tensors of a module."""
    zero(*names)(module)
    return module


FILTER = torch.full((WIDTH, 1, 3, 3), 1 / 9)
MASK = torch.full((1, 1, 8, 8), float("-inf")).triu(1)
NEW, OLD = 2, 700

SOUND: dict[str, tuple[Callable[[], nn.Module | None], int, Callable[[nn.Module], None] | None]] = {
    "a gate per channel": (lambda: Gate((WIDTH, 1, 1)), OLD, None),
    "LayerScale, constant at its start": (lambda: Gate((WIDTH, 1, 1), "gamma", 1e-5), OLD, None),
    "a gate of one number (ReZero)": (lambda: Gate((), "alpha"), OLD, None),
    "a gate called weight": (lambda: Gate((1, WIDTH, 1, 1), "weight"), OLD, None),
    "a buffer of zeros": (lambda: Fixed(torch.zeros(1, WIDTH, 8, 8)), OLD, None),
    "a constant filter": (lambda: Fixed(FILTER), OLD, None),
    "an attention mask": (lambda: Fixed(MASK), OLD, None),
    "a table of large numbers": (lambda: Fixed(torch.full((64, 8), 500.0)), OLD, None),
    "a branch that ends in zeros, untrained": (zero_branch, NEW, None),
    "a branch that ends in zeros, frozen": (zero_branch, OLD, None),
    "zero gains of a branch": (zero_gain, OLD, None),
    "biases of zeros": (lambda: None, OLD, zero("model.0.bn.bias")),
    "an output layer of zeros, untrained": (lambda: None, NEW, zero("model.4.linear")),
}
DAMAGED: dict[str, tuple[Callable[[], nn.Module | None], int, Callable[[nn.Module], None], str]] = {
    "all zero": (lambda: None, NEW, zero("model"), "zeroed_network"),
    "all layers but the gates": (
        lambda: Gate((WIDTH, 1, 1), value=1.0),
        OLD,
        zero("model.0", "model.1", "model.2", "model.3.branch"),
        "zeroed_network",
    ),
    "a block, untrained": (lambda: None, NEW, zero("model.1"), "zeroed_weights"),
    "a block, trained": (lambda: None, OLD, zero("model.1"), "zeroed_weights"),
    "a single layer with its BatchNorm": (lambda: None, NEW, zero("model.0"), "dead_batchnorm"),
    "one convolution": (lambda: None, OLD, zero("model.0.conv.weight"), "zeroed_weights"),
    "one convolution inside of a block": (
        lambda: None,
        OLD,
        zero("model.1.m.0.cv1.conv.weight"),
        "zeroed_weights",
    ),
    "the output layer": (lambda: None, OLD, zero("model.4.linear.weight"), "zeroed_weights"),
    "gains of a layer that nothing bypasses": (
        lambda: None,
        OLD,
        zero("model.2.bn.weight"),
        "dead_batchnorm",
    ),
    "the whole branch of one's own, trained": (
        zero_branch,
        OLD,
        zero("model.3.layers"),
        "zeroed_weights",
    ),
}


@pytest.mark.parametrize("name", SOUND)
def test_a_tensor_that_is_zero_by_design_is_no_damage(name: str, tmp_path: Path) -> None:
    block, batches, change = SOUND[name]
    net = count(network(block()), batches)
    if change:
        change(net)
    assert verdict(tmp_path, net) == ("stable", [])


@pytest.mark.parametrize("name", DAMAGED)
def test_layers_that_went_to_zero_are_damage(name: str, tmp_path: Path) -> None:
    block, batches, change, rule = DAMAGED[name]
    net = count(network(block()), batches)
    assert verdict(tmp_path, net)[0] == "stable"
    change(net)
    assert verdict(tmp_path, net) == ("failed", [rule])


def test_there_are_as_many_as_the_issue_asks_for() -> None:
    assert len(SOUND) >= 12
    assert len(DAMAGED) >= 8


@pytest.mark.parametrize(("name", "right"), [("gate", "stable"), ("branch.weight", "failed")])
def test_without_classes_the_names_decide(name: str, right: str, tmp_path: Path) -> None:
    """A state dict names no module, no buffer and no block of one's own."""
    net = count(network(Gate((WIDTH, 1, 1), value=1.0)), OLD)
    zero(f"model.3.{name}")(net)
    assert verdict(tmp_path, net, {"model": net.state_dict()})[0] == right


@pytest.mark.parametrize(
    ("content", "right"),
    [
        ({}, "stable"),
        ({"epoch": 3}, "failed"),
        ({"train_metrics": {}}, "failed"),
        ({"optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}}, "failed"),
    ],
)
def test_without_counters_the_rest_of_the_file_tells_that_it_was_trained(
    content: dict[str, Any], right: str, tmp_path: Path
) -> None:
    net = count(network(), 0)
    zero("model.0.conv.weight")(net)
    assert verdict(tmp_path, net, {"ema": net, **content})[0] == right
