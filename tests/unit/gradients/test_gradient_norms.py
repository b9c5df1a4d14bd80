"""Norms and counts against plain numpy in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from yolo_stability.gradients import norms as gradstats
from yolo_stability.gradients.blocks import model_blocks
from yolo_stability.gradients.norms import (
    BlockIndex,
    count_nonfinite,
    exact_norms,
    tensor_norms,
    to_host,
    total_norm,
)


class Net(nn.Module):
    """Three blocks of different sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 3), nn.Linear(3, 2), nn.Linear(2, 1)


@pytest.fixture
def net() -> Net:
    """A network with gradients."""
    torch.manual_seed(0)
    net = Net()
    for parameter in net.parameters():
        parameter.grad = torch.randn_like(parameter)
    return net


@given(
    st.lists(
        st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=9), min_size=1, max_size=6
    )
)
def test_tensor_norms_equal_numpy(values: list[list[float]]) -> None:
    tensors = [torch.tensor(row, dtype=torch.float32) for row in values]
    expected = [np.linalg.norm(np.array(row, dtype=np.float64)) for row in values]
    # Squares below 1e-38 underflow float32.
    np.testing.assert_allclose(tensor_norms(tensors).numpy(), expected, rtol=1e-5, atol=1e-18)
    np.testing.assert_allclose(exact_norms(tensors), expected, rtol=1e-12, atol=1e-30)


def test_total_is_bit_for_bit_what_the_clip_computes(net: Net) -> None:
    grads = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    reference = torch.nn.utils.clip_grad_norm_(net.parameters(), max_norm=1e9)
    assert torch.equal(total_norm(grads, tensor_norms(grads)), reference)


def test_total_of_mixed_precision_is_left_to_torch(net: Net) -> None:
    net.b.half()
    for parameter in net.b.parameters():
        parameter.grad = torch.randn_like(parameter)
    grads = [p.grad for p in net.parameters() if p.grad is not None]
    reference = torch.nn.utils.clip_grad_norm_(net.parameters(), max_norm=1e9)
    assert torch.equal(total_norm(grads, tensor_norms(grads)), reference)


def test_an_infinity_norm_cannot_overflow() -> None:
    assert torch.isinf(tensor_norms([torch.full((4,), 3e38)]))
    assert tensor_norms([torch.full((4,), 3e38)], math.inf).item() == pytest.approx(3e38)
    assert torch.isnan(tensor_norms([torch.tensor([1.0, math.nan])], math.inf))


def test_exact_norms_survive_what_overflows_float32() -> None:
    assert exact_norms([torch.full((4,), 1e30)])[0] == pytest.approx(2e30)


def test_count_nonfinite() -> None:
    tensors = [torch.tensor([1.0, math.nan, math.inf]), torch.ones(2), torch.tensor([-math.inf])]
    assert count_nonfinite(tensors).tolist() == [2, 0, 1]
    assert count_nonfinite([]).tolist() == []


def test_to_host_keeps_order_and_empty_groups() -> None:
    a, empty, b = to_host(torch.tensor([1.0, 2.0]), torch.zeros(0), torch.tensor(3.0))
    assert (a.tolist(), empty.tolist(), b.tolist()) == ([1.0, 2.0], [], [3.0])
    assert [v.tolist() for v in to_host(torch.zeros(0))] == [[]]


def test_one_transfer_a_step(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """`to_host` copies to the host once for any number of values."""
    monkeypatch.setattr(gradstats, "_is_on_host", lambda tensor: False)
    calls = []
    cpu = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: calls.append(1) or cpu(tensor))
    monkeypatch.setattr(
        torch.Tensor, "item", lambda tensor: pytest.fail("item() waits for the device")
    )
    grads = [p.grad for p in net.parameters() if p.grad is not None]
    norms = tensor_norms(grads)
    to_host(norms, total_norm(grads, norms), torch.tensor(1.0))
    assert len(calls) == 1


def test_blocks_combine_as_root_sum_of_squares(net: Net) -> None:
    index = BlockIndex.of(net, model_blocks(net))
    grads, positions = index.with_gradient()
    combined = index.combine(tensor_norms(grads).double().numpy(), positions)
    for child, norm in zip((net.a, net.b, net.c), combined, strict=True):
        values = np.concatenate([p.grad.double().numpy().ravel() for p in child.parameters()])
        assert norm == pytest.approx(np.linalg.norm(values), rel=1e-6)


def test_a_block_without_gradient_is_none_not_zero(net: Net) -> None:
    for parameter in net.b.parameters():
        parameter.grad = None
    for parameter in net.c.parameters():
        parameter.grad = torch.zeros_like(parameter)
    index = BlockIndex.of(net, model_blocks(net))
    grads, positions = index.with_gradient()
    assert len(grads) == 4
    combined = index.combine(tensor_norms(grads).double().numpy(), positions)
    assert combined[0] is not None
    assert combined[1] is None
    assert combined[2] == 0.0
    assert index.sum_counts(np.array([1, 0, 2, 3]), positions) == [1, 0, 5]
