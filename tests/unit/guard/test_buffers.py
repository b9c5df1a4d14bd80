"""Buffer snapshots: which buffers are watched, and that all of them are restored."""

from __future__ import annotations

import math

import torch
from torch import nn

from yolo_stability.guard.buffers import BufferSnapshot


class Net(nn.Module):
    """BatchNorm, an attention mask that holds -inf for good, and an empty buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(3)
        self.register_buffer("mask", torch.tensor([0.0, -math.inf]))
        self.register_buffer("empty", torch.empty(0))


def test_a_mask_of_minus_infinity_is_no_alarm() -> None:
    net = Net()
    snapshot = BufferSnapshot(net)
    assert snapshot.watched == ("bn.running_mean", "bn.running_var")
    assert torch.isfinite(snapshot.largest()).all()


def test_one_bad_element_shows() -> None:
    for bad in (math.nan, math.inf, -math.inf):
        net = Net()
        snapshot = BufferSnapshot(net)
        net.bn.running_mean[1] = bad
        assert not torch.isfinite(snapshot.largest()).all()


def test_a_large_finite_value_is_no_alarm() -> None:
    net = Net()
    net.bn.running_var.fill_(3e38)
    assert torch.isfinite(BufferSnapshot(net).largest()).all()


def test_restore_brings_back_values_counters_and_keeps_identity() -> None:
    net = Net()
    net.bn(torch.randn(2, 3, 4, 4))
    snapshot = BufferSnapshot(net)
    snapshot.take()
    before = {n: (b.clone(), b.data_ptr()) for n, b in net.named_buffers()}
    net.bn(torch.full((2, 3, 4, 4), math.inf))
    assert not torch.isfinite(net.bn.running_mean).all()
    snapshot.restore()
    for name, buffer in net.named_buffers():
        assert torch.equal(buffer, before[name][0])
        assert buffer.data_ptr() == before[name][1]


def test_a_model_without_buffers() -> None:
    snapshot = BufferSnapshot(nn.Linear(2, 2))
    snapshot.take()
    snapshot.restore()
    assert snapshot.largest().shape == (0,)


def test_a_buffer_with_channels_last_is_restored() -> None:
    net = nn.Module()
    net.register_buffer(
        "grid", torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    )
    snapshot = BufferSnapshot(net)
    snapshot.take()
    before = net.grid.clone()
    net.grid.fill_(math.nan)
    assert not torch.isfinite(snapshot.largest()).all()
    snapshot.restore()
    assert torch.equal(net.grid, before)
