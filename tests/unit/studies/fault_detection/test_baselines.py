"""Naive rules, each at the step at which its authors' definition says that it must fire, and not
before."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from labelled import Norms, run, steps

from yolo_stability.core.types import BlockStats, StepRecord
from yolo_stability.studies.fault_detection.baselines import (
    NAIVE,
    autotrainer,
    debugger_loss,
    debugger_tensors,
    lightning_spike,
    six_sigma,
)

FALLING = [8.0 * 0.9**i for i in range(30)]
EVEN: Norms = (3.0, 4.0, 5.0, 6.0)


def with_ratio(records: list[StepRecord], step: int, ratio: float) -> list[StepRecord]:
    block = records[step].blocks[1]
    changed = BlockStats(
        block=block.block, grad_norm=block.grad_norm, weight_norm=1.0, update_ratio=ratio
    )
    blocks = (records[step].blocks[0], changed, *records[step].blocks[2:])
    return [replace(r, blocks=blocks) if r.step == step else r for r in records]


def test_all_are_silent_on_a_run_that_just_learns(tmp_path: Path) -> None:
    healthy = run(tmp_path, with_ratio(steps(FALLING, [EVEN] * 30), 3, 0.01))
    assert {name: rule(healthy) for name, rule in NAIVE.items()} == dict.fromkeys(NAIVE)


@pytest.mark.parametrize(
    ("value", "fires"), [(2.99, None), (3.01, 12), (math.nan, 12), (math.inf, 12)]
)
def test_lightning_wants_three_times_the_mean_of_ten(
    tmp_path: Path, value: float, fires: int | None
) -> None:
    losses = [1.0] * 20
    losses[12] = value  # away by twice the mean is three times the mean
    assert lightning_spike(run(tmp_path, steps(losses))) == fires


def test_lightning_forgives_a_fall(tmp_path: Path) -> None:
    losses = [1.0] * 10 + [-5.0] + [1.0] * 5  # far away, but better than before
    assert lightning_spike(run(tmp_path, steps(losses))) != 10


@pytest.mark.parametrize(("value", "fires"), [(1.55, None), (1.65, 20)])
def test_six_sigma_of_loss(tmp_path: Path, value: float, fires: int | None) -> None:
    losses = [0.9, 1.1] * 15  # mean 1, deviation 0.1
    losses[20] = value
    assert six_sigma(run(tmp_path, steps(losses))) == fires


def test_six_sigma_of_the_norm(tmp_path: Path) -> None:
    norms: list[Norms] = [(0.9, None, None, None), (1.1, None, None, None)] * 15
    norms[20] = (1.65, None, None, None)
    assert six_sigma(run(tmp_path, steps(FALLING, norms))) == 20


@pytest.mark.parametrize(("norm", "fires"), [(3.1e-7, None), (2.9e-7, 6), (math.nan, 6)])
def test_debugger_divides_a_block_by_the_root_of_its_size(
    tmp_path: Path, norm: float, fires: int | None
) -> None:
    norms = [EVEN] * 30
    norms[6] = (norm, 4.0, 5.0, 6.0)  # 9 weights a block: the root mean square is a third
    assert debugger_tensors(run(tmp_path, steps(FALLING, norms))) == fires


@pytest.mark.parametrize(("ratio", "fires"), [(9.0, None), (11.0, 4), (2e-8, None), (5e-9, 4)])
def test_debugger_bounds_update_ratios(tmp_path: Path, ratio: float, fires: int | None) -> None:
    assert (
        debugger_tensors(run(tmp_path, with_ratio(steps(FALLING, [EVEN] * 30), 4, ratio))) == fires
    )


def test_debugger_forgives_updates_while_the_learning_rate_is_zero(tmp_path: Path) -> None:
    records = with_ratio(steps(FALLING, [EVEN] * 30, lr_by_group={"weight": 0.0}), 4, 0.0)
    assert debugger_tensors(run(tmp_path, records)) is None


def test_debugger_looks_at_the_loss_every_ten_steps(tmp_path: Path) -> None:
    losses = [2.0] * 10 + [1.0] * 5 + [9.0] * 5 + [0.9995] * 10
    assert debugger_loss(run(tmp_path, steps(losses))) == 20  # down by 0.05 percent since step 10


@pytest.mark.parametrize(
    ("norms", "loss", "fires"),
    [
        ((69.0, 4.0, 5.0, 1.0), 1.0, None),
        ((71.0, 4.0, 5.0, 1.0), 1.0, 3),
        ((0.9e-4, 4.0, 5.0, 0.2), 1.0, 3),
        ((1.1e-4, 4.0, 5.0, 0.2), 1.0, None),  # the first norm is not small enough
        ((0.9e-4, 4.0, 5.0, 0.08), 1.0, None),  # the ratio is not
        ((0.0, 0.0, 0.0, 0.0), 1.0, 3),  # dead, though 0 over 0 is no ratio
        ((3.0, 0.0, 0.0, 1.0), 1.0, None),  # half of it is
        ((3.0, 4.0, 5.0, 1.0), 1001.0, 3),
        ((3.0, 4.0, 5.0, 1.0), 999.0, None),
    ],
)
def test_autotrainer_at_the_end_of_an_epoch(
    tmp_path: Path, norms: Norms, loss: float, fires: int | None
) -> None:
    # the records of the helper have four steps an epoch
    assert autotrainer(run(tmp_path, steps([loss] * 12, [norms] * 12))) == fires


def test_autotrainer_sees_what_was_not_finite_when_the_epoch_is_over(tmp_path: Path) -> None:
    norms = [EVEN] * 12
    norms[5] = (3.0, math.inf, 5.0, 6.0)
    assert autotrainer(run(tmp_path, steps([1.0] * 12, norms))) == 7
