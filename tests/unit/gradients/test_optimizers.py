"""Common properties of torch optimizers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from yolo_stability.gradients.optimizers import momentum


@pytest.mark.parametrize(
    ("optimizer", "arguments", "expected"),
    [
        ("SGD", {"momentum": 0.9}, 0.9),
        ("AdamW", {"betas": (0.8, 0.99)}, 0.8),
        ("Adagrad", {}, None),
    ],
)
def test_momentum_or_beta1(
    optimizer: str, arguments: dict[str, object], expected: float | None
) -> None:
    made = getattr(torch.optim, optimizer)([nn.Parameter(torch.zeros(1))], lr=0.1, **arguments)
    assert momentum(made) == expected
