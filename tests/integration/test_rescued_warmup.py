"""A state from the warm-up continues its warm-up; the reference is an undisturbed run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from training import MODELS, overrides

from yolo_stability import RunResult, train

pytestmark = pytest.mark.trains

RATES = ["lr/weight", "lr/bn", "lr/bias"]


def a_run(folder: Path, **changed: Any) -> RunResult:
    """32 optimizer steps, the first 8 of them warm-up; the rate is the same in every epoch."""
    base = {
        "epochs": 8,
        "optimizer": "AdamW",
        "lr0": 0.005,
        "lrf": 1.0,
        "warmup_epochs": 2,
        "rescue": "auto",
    }
    return train(
        "detect", model=MODELS["detect"], **{**overrides("detect", folder), **base, **changed}
    )


def rates(result: RunResult) -> list[tuple[float, ...]]:
    """Learning rates of all groups, step by step."""
    return result.trace.steps.select(*RATES).rows()


def rescues(result: RunResult) -> list[dict[str, Any]]:
    return [
        json.loads(data) for data in result.trace.events.filter(pl.col("kind") == "rescue")["data"]
    ]


@pytest.fixture(scope="module")
def untroubled(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    result = a_run(tmp_path_factory.mktemp("untroubled"))
    assert not rescues(result)
    assert rates(result)[0] == pytest.approx(
        (0.0, 0.0, 0.1)
    )  # the schedule moves: the tests below can fail
    return result


def test_a_run_put_back_to_its_first_step_warms_up_again(
    untroubled: RunResult, tmp_path: Path
) -> None:
    result = a_run(tmp_path, lr_mult=1000.0)
    (done,) = rescues(result)
    assert (done["restored_step"], done["value"]) == (
        0,
        "0.001",
    )  # the rate is then what it is in the other run
    at = result.trace.events.filter(pl.col("kind") == "rescue")["step"][0]
    assert 0 < at < 16
    assert done["warmup_back"] == at
    left = len(rates(untroubled)) - at
    for found, expected in zip(rates(result)[at:], rates(untroubled)[:left], strict=True):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-9)


@pytest.mark.full
def test_a_state_from_after_the_warm_up_needs_none(untroubled: RunResult, tmp_path: Path) -> None:
    result = a_run(tmp_path, fault="lr_jump@26", rescue_limit=1)
    done = rescues(result)[0]
    assert done["restored_step"] > 8
    at = result.trace.events.filter(pl.col("kind") == "rescue")["step"][0]
    later = rates(result)[at:]
    assert later
    assert all(
        row[0] == row[2] > 0 for row in later
    )  # in a warm-up biases have a rate of their own
