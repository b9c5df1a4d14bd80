"""Faults that strike gradients and learning rates, on small models and the schedules of torch."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from yolo_stability.core.errors import ConfigError
from yolo_stability.interventions.faults import FAULTS, parse_fault
from yolo_stability.interventions.faults._base import Fault


def made(text: str) -> Fault:
    fault = parse_fault(text)
    assert fault is not None
    return fault


def model_with_gradients(value: float = 1.0) -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, value)
    return model


def gradients(model: nn.Module) -> list[float]:
    """Return the one value of each gradient."""
    found = []
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.unique().numel() == 1
        found.append(float(parameter.grad.unique()))
    return found


# --- grad_spike -----------------------------------------------------------------------------------


def test_a_spike_multiplies_the_middle_block_at_its_step_only() -> None:
    model, fault = model_with_gradients(), made("grad_spike@3")
    for step in (0, 2, 4):
        fault.on_gradients(SimpleNamespace(model=model), step)
    assert gradients(model) == [1.0] * 6
    fault.on_gradients(SimpleNamespace(model=model), 3)
    assert gradients(model) == [1, 1, 1000, 1000, 1, 1]


@pytest.mark.parametrize(("block", "expected"), [("0 Linear", [1000, 1000, 1, 1, 1, 1]),
                                                 ("2 Linear", [1, 1, 1, 1, 1000, 1000])])  # fmt: skip
def test_a_test_can_choose_the_block(
    block: str, expected: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FAULTS["grad_spike"], "block", block)
    model = model_with_gradients()
    made("grad_spike@0").on_gradients(SimpleNamespace(model=model), 0)
    assert gradients(model) == expected


def test_a_spike_passes_over_blocks_without_gradient() -> None:
    model = model_with_gradients()
    for parameter in list(model.parameters())[2:4]:
        parameter.grad = None
    made("grad_spike@0").on_gradients(SimpleNamespace(model=model), 0)
    grads = [None if p.grad is None else float(p.grad.unique()) for p in model.parameters()]
    assert grads == [1, 1, None, None, 1000, 1000]


def test_an_unknown_block_is_named_with_its_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FAULTS["grad_spike"], "block", "1 Linea")
    with pytest.raises(
        ConfigError, match=r"no block '1 Linea' has a gradient\. Did you mean '1 Linear'"
    ):
        made("grad_spike@0").on_gradients(SimpleNamespace(model=model_with_gradients()), 0)


# --- half_overflow --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.5, 0.5),
        (65504 / 65536, 65504 / 65536),  # the largest finite number of half precision
        (1.0, torch.inf),
        (-2.0, -torch.inf),
        (2.0**-24 / 65536, 2.0**-24 / 65536),  # the smallest
        (2.0**-26 / 65536, 0.0),
        (0.1, round(6553.6 / 4) * 4 / 65536),  # eleven digits are left
    ],
)
def test_gradients_are_what_half_precision_leaves_of_them(value: float, expected: float) -> None:
    model = model_with_gradients(value)
    made("half_overflow@2").on_gradients(SimpleNamespace(model=model), 1)
    assert gradients(model) == [pytest.approx(value)] * 6
    for step in (2, 3):
        made("half_overflow@2").on_gradients(SimpleNamespace(model=model), step)
        assert gradients(model) == [expected] * 6


def test_a_scale_that_is_there_already_is_taken_into_account() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(torch.ones(1))  # the scale is made at the first use
    for true, expected in ((0.5, 0.5), (1.0, torch.inf)):
        model = model_with_gradients(true * 1024)
        made("half_overflow@0").on_gradients(SimpleNamespace(model=model, scaler=scaler), 0)
        assert gradients(model) == [expected * 1024] * 6


# --- lr_jump --------------------------------------------------------------------------------------


class Loop:
    """The parts of Ultralytics' loop that set learning rates: warm-up and schedule."""

    def __init__(self, fault: str | None) -> None:
        parameters = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
        self.optimizer = torch.optim.SGD([{"params": [p], "lr": 0.01} for p in parameters])
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda epoch: 1 - epoch / 10
        )
        self.fault = None if fault is None else made(fault)
        self.seen: list[list[float]] = []

    def run(
        self, *, epochs: int = 4, batches: int = 3, warmup: int = 4, accumulate: int = 1
    ) -> list[list[float]]:
        """Return the learning rates at each optimizer step."""
        for epoch in range(epochs):
            self.scheduler.step(epoch)
            for i in range(batches):
                done = epoch * batches + i
                if done <= warmup:
                    for bias, group in enumerate(self.optimizer.param_groups):
                        target = group["initial_lr"] * (1 - epoch / 10)
                        start = 0.1 * bias
                        group["lr"] = start + (target - start) * done / warmup
                if (done + 1) % accumulate == 0:
                    if self.fault:
                        self.fault.on_gradients(
                            SimpleNamespace(optimizer=self.optimizer), len(self.seen)
                        )
                    self.seen.append([group["lr"] for group in self.optimizer.param_groups])
        return self.seen


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("start", [0, 1, 3, 5, 8])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_every_rate_is_a_thousandfold_from_its_step_on(start: int, accumulate: int) -> None:
    plain: Any = torch.tensor(Loop(None).run(accumulate=accumulate), dtype=torch.float64)
    jumped: Any = torch.tensor(
        Loop(f"lr_jump@{start}").run(accumulate=accumulate), dtype=torch.float64
    )
    torch.testing.assert_close(jumped[:start], plain[:start], rtol=0, atol=0)
    torch.testing.assert_close(jumped[start:], 1000 * plain[start:])


def test_a_new_optimizer_is_struck_too() -> None:
    """After an out-of-memory error there is another one."""
    fault, groups = made("lr_jump@0"), [{"lr": 0.1}, {"lr": 0.2}]
    fault.on_gradients(SimpleNamespace(optimizer=SimpleNamespace(param_groups=groups)), 0)
    fresh = [{"lr": 0.1}]
    fault.on_gradients(SimpleNamespace(optimizer=SimpleNamespace(param_groups=fresh)), 1)
    assert [group["lr"] for group in groups + fresh] == [100, 200, 100]


# --- lr_creep -------------------------------------------------------------------------------------


def test_a_creeping_rate_grows_over_the_scheduled_one() -> None:
    fault, groups = made("lr_creep@2"), [{"lr": 0.1}, {"lr": 0.2}]
    trainer = SimpleNamespace(optimizer=SimpleNamespace(param_groups=groups))
    seen = []
    for step in range(6):
        if step == 4:  # an epoch begins: the schedule sets its own rates
            groups[0]["lr"], groups[1]["lr"] = 0.05, 0.1
        fault.on_gradients(trainer, step)
        seen.append(groups[0]["lr"])
        assert groups[1]["lr"] == pytest.approx(2 * groups[0]["lr"])
    assert seen == pytest.approx(
        [0.1, 0.1, 0.1 * 1.25, 0.1 * 1.25**2, 0.05 * 1.25**3, 0.05 * 1.25**4]
    )
    fault.on_gradients(trainer, 10**6)
    assert math.isfinite(groups[0]["lr"])
