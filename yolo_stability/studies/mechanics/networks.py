"""Small float64 networks that show the product of the chain rule: recurrent cells and stacks.

They use float64, so that gradients remain accurate down to 1e-38, the smallest norm in a trace.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["DESIGNS", "NETWORKS", "Recurrent", "Stacks", "adding_problem"]

CELLS = {"linear": 1, "tanh": 1, "lstm": 4, "gru": 3}
"""Recurrent cells and their numbers of gates."""

NETWORKS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "linear 0.9": ("linear", {"radius": 0.9}),
    "linear 1.1": ("linear", {"radius": 1.1}),
    "tanh 0.9": ("tanh", {"radius": 0.9}),
    "tanh 1.0": ("tanh", {"radius": 1.0}),
    "tanh 2.0": ("tanh", {"radius": 2.0}),
    "LSTM, bias 1": ("lstm", {"remember": 1.0}),
    "LSTM, chrono": ("lstm", {"remember": None}),
    "GRU, bias 0": ("gru", {"remember": 0.0}),
    "GRU, chrono": ("gru", {"remember": None}),
}
"""Recurrent networks by label: arguments of `Recurrent`; the number is the spectral radius."""
DESIGNS: Mapping[str, dict[str, Any]] = {
    "sigmoid, Xavier": {"act": "sigmoid", "init": "xavier"},
    "tanh, Xavier": {"act": "tanh", "init": "xavier"},
    "ReLU, Xavier": {"act": "relu", "init": "xavier"},
    "ReLU, He": {"act": "relu", "init": "he"},
    "ReLU, He, LayerNorm": {"act": "relu", "init": "he", "norm": "layer"},
    "ReLU, He, BatchNorm": {"act": "relu", "init": "he", "norm": "batch"},
    "residual sigmoid, Xavier": {"act": "sigmoid", "init": "xavier", "residual": True},
    "residual ReLU, He": {"act": "relu", "init": "he", "residual": True},
    "residual ReLU, He, LayerNorm": {
        "act": "relu",
        "init": "he",
        "norm": "layer",
        "residual": True,
    },
    "residual ReLU, He, BatchNorm": {
        "act": "relu",
        "init": "he",
        "norm": "batch",
        "residual": True,
    },
}
"""Stacks by label: arguments of `Stacks`."""

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


def adding_problem(batch: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw sequences of (value, marker) whose target is the sum of the two marked values.

    The long-range task of Hochreiter and Schmidhuber (1997): one marker is in the first half, one
    in the second.

    Args:
        batch: Number of sequences.
        length: Steps per sequence, at least 2.
        generator: Random generator.

    Returns:
        Inputs of shape (length, batch, 2) and targets of shape (batch,).

    Examples:
        >>> inputs, targets = adding_problem(4, 10, torch.Generator().manual_seed(0))
        >>> inputs.shape, targets.shape
        (torch.Size([10, 4, 2]), torch.Size([4]))
    """
    values = torch.rand(length, batch, generator=generator, dtype=torch.float64)
    half = length // 2
    first = torch.randint(0, half, (batch,), generator=generator)
    second = torch.randint(half, length, (batch,), generator=generator)
    markers = torch.zeros_like(values)
    rows = torch.arange(batch)
    markers[first, rows] = markers[second, rows] = 1.0
    return torch.stack([values, markers], dim=-1), (values * markers).sum(0)


class Start(nn.Module):
    """The initial state as a parameter: its gradient passes through every step of the sequence."""

    def __init__(self, states: int, hidden: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(states, hidden))


class Recurrent(nn.Module):
    """A recurrent network that reads a sequence and returns a value after the last step.

    Its blocks are `start`, `inputs`, `recurrent` and `head`. The layout of the gates is that of
    `torch.nn.LSTMCell` and `torch.nn.GRUCell`, with a single bias instead of two.

    Args:
        cell: One of `CELLS`.
        hidden: Size of the state.
        radius: Factor of the orthogonal recurrent matrix (of each gate), which is the modulus of
            all its eigenvalues and singular values.
        remember: Bias of the gate that keeps the state (forget gate of the LSTM, update gate of the
            GRU); None for the "chrono" biases of Tallec and Ollivier (2018), which spread the
            memory over 2 to `horizon` steps.
        horizon: Longest memory of the chrono biases, in steps.
    """

    def __init__(
        self,
        cell: str,
        hidden: int = 32,
        *,
        radius: float = 1.0,
        remember: float | None = 0.0,
        horizon: int = 200,
    ) -> None:
        super().__init__()
        self.cell, gates = cell, CELLS[cell]
        self.start = Start(2 if cell == "lstm" else 1, hidden)
        self.inputs = nn.Linear(2, gates * hidden)
        self.recurrent = nn.Linear(hidden, gates * hidden, bias=False)
        self.head = nn.Linear(hidden, 1)
        self.double()
        with torch.no_grad():
            self.inputs.bias.zero_()
            for gate in self.recurrent.weight.chunk(gates):
                nn.init.orthogonal_(gate).mul_(radius)
            if gates > 1:
                self._set_memory(remember, horizon)

    @torch.no_grad()
    def _set_memory(self, remember: float | None, horizon: int) -> None:
        """Set the bias of the gate that keeps the state."""
        gates = self.inputs.bias.chunk(CELLS[self.cell])
        keep = gates[1]  # the forget gate of the LSTM, the update gate of the GRU
        if remember is not None:
            keep.fill_(remember)
            return
        keep.copy_(torch.log(torch.empty_like(keep).uniform_(1, horizon - 1)))
        if self.cell == "lstm":
            gates[0].copy_(-keep)  # the input gate, coupled as in the paper

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the predictions, shape (batch,), for sequences of shape (length, batch, 2)."""
        state = [part.expand(inputs.shape[1], -1) for part in self.start.value]
        for x in self.inputs(inputs):
            state = self._advance(x, state)
        answer: Tensor = self.head(state[0]).squeeze(-1)
        return answer

    def _advance(self, x: Tensor, state: list[Tensor]) -> list[Tensor]:
        """Return the next state; x is the contribution of the input to every gate."""
        h = state[0]
        u = self.recurrent(h)
        if self.cell == "linear":
            return [x + u]
        if self.cell == "tanh":
            return [torch.tanh(x + u)]
        if self.cell == "lstm":
            i, f, g, o = (x + u).chunk(4, dim=-1)
            c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
            return [torch.sigmoid(o) * torch.tanh(c), c]
        (xr, xz, xn), (ur, uz, un) = x.chunk(3, dim=-1), u.chunk(3, dim=-1)
        z = torch.sigmoid(xz + uz)
        n = torch.tanh(xn + torch.sigmoid(xr + ur) * un)
        return [(1 - z) * n + z * h]


class Layer(nn.Module):
    """One layer: plain `act(norm(Wx))`, or residual `x + W act(norm(x))` (He et al. 2016)."""

    def __init__(self, width: int, act: str, *, norm: str, residual: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.norm = {"none": nn.Identity, "layer": nn.LayerNorm, "batch": nn.BatchNorm1d}[norm](
            width
        )
        self.act, self.residual = _ACTIVATIONS[act], residual

    def forward(self, x: Tensor) -> Tensor:
        """Return the output, of the same shape as x."""
        if self.residual:
            out: Tensor = x + self.linear(self.act(self.norm(x)))
            return out
        return self.act(self.norm(self.linear(x)))


class Stacks(nn.Module):
    """Classifiers of the same design and several depths; a forward pass uses one of them.

    The blocks of depth d are `first_d` (its gradient passes through all other layers), `rest_d` and
    `head_d`.

    Args:
        depths: Numbers of layers, including the first one and excluding the head.
        act: relu, tanh or sigmoid.
        init: `xavier` (Glorot and Bengio 2010) or `he` (He et al. 2015), both normal; biases 0.
        norm: none, layer or batch.
        residual: Whether every layer after the first has a skip connection.
        width: Number of inputs, outputs and classes of every layer.
    """

    def __init__(
        self,
        depths: Sequence[int],
        *,
        act: str,
        init: str,
        norm: str = "none",
        residual: bool = False,
        width: int = 32,
    ) -> None:
        super().__init__()
        for depth in depths:
            self.add_module(f"first_{depth}", nn.Linear(width, width))
            layers = (Layer(width, act, norm=norm, residual=residual) for _ in range(depth - 1))
            self.add_module(f"rest_{depth}", nn.Sequential(*layers))
            self.add_module(f"head_{depth}", nn.Linear(width, width))
        self.act = _ACTIVATIONS[act]
        self.residual = residual
        self.double()
        std = math.sqrt((2.0 if init == "he" else 1.0) / width)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=std)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor, depth: int) -> Tensor:
        """Return the logits of the stack of the given depth, of the same shape as x."""
        x = self.get_submodule(f"first_{depth}")(x)
        if not self.residual:
            x = self.act(x)
        logits: Tensor = self.get_submodule(f"head_{depth}")(self.get_submodule(f"rest_{depth}")(x))
        return logits
