"""Every pair of switches builds and steps together, in detect and pose."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from training import MODELS, overrides

from yolo_stability import train

pytestmark = [pytest.mark.trains, pytest.mark.full]

# The values take turns from pair to pair, so that each one meets many others.
VALUES: dict[str, list[Any]] = {
    "norm": ["none", "group", "layer", "frozen"],
    "init": ["kaiming", "gain:1.5", "xavier", "orthogonal", "lsuv"],
    "act": ["relu", "sigmoid", "leaky_relu", "gelu", "tanh", "silu"],
    "residual": [False],
    "depth_mult": [2.0, 0.5],
    "lr_mult": [3.0, 0.1],
    "clip": ["none", "value:0.5", "agc:0.01", "auto:10", "zclip:2.5", "norm:1"],
    "l1": [1e-5],
    "fault": ["nan_grad@1", "nan_loss@0"],
    "optimizer": ["Adam", "AdamW", "NAdam", "RAdam", "RMSProp", "MuSGD", "SGD"],
    "weight_decay": [0.05],
    "batch": [1],
}
PAIRS = list(itertools.combinations(VALUES, 2))


def chosen(number: int, pair: tuple[str, str]) -> dict[str, Any]:
    """Return a value for each of the two keys."""
    return {
        key: VALUES[key][(number // (place + 1)) % len(VALUES[key])]
        for place, key in enumerate(pair)
    }


@pytest.mark.parametrize("task", ["detect", "pose"])
@pytest.mark.parametrize("number", range(len(PAIRS)), ids=["-".join(pair) for pair in PAIRS])
def test_a_pair_builds_and_steps(task: str, number: int, tmp_path: Path) -> None:
    changed = chosen(number, PAIRS[number])
    if "batch" in changed:
        changed["nbs"] = 1
    small = {
        "epochs": 1,
        "warmup_epochs": 0,
        "lr0": 0.001,
        "batch": 2,
        "nbs": 2,
        "fraction": [4, 2],
    }
    result = train(model=MODELS[task], **overrides(task, tmp_path, **{**small, **changed}))
    steps = result.trace.steps
    assert steps.height == (4 if "batch" in changed else 2)
    applied = steps["skipped"].null_count()
    assert applied == steps.height - ("fault" in changed)
    said = result.trace.header.effective["switches"]
    stock_keys = {"optimizer", "weight_decay", "batch"}
    assert set(said) == set(PAIRS[number]) - stock_keys
    optimizer = result.trace.header.effective["optimizer"]
    assert optimizer.lower() == changed.get("optimizer", "SGD").lower()
