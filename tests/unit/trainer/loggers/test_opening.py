"""The three lines with which a run begins."""

from __future__ import annotations

from typing import Any

import pytest

from yolo_stability.core.types import BlockSpec, RunHeader
from yolo_stability.trainer.loggers._opening import opening_lines

PREFIX = "stability: "
FACTS = {
    "guard": "skip",
    "clip": "norm:10",
    "own_step": False,
    "optimizer": "AdamW",
    "groups": {"weight": {"lr": 0.002}, "bias": {"lr": 0.002}},
    "warmup_iterations": 3,
    "parameters": 2_590_035,
    "weights_trained": 2_590_019,
    "steps_planned": 7,
    "start_epoch": 0,
    "epochs": 12,
    "batches_per_epoch": 1,
    "accumulate": 2,
    "batch": 32,
    "nbs": 64,
    "time": None,
}


def lines(**changed: Any) -> list[str]:
    """Return the lines of a run with 23 blocks."""
    block = {"module_type": "Conv", "role": "neck", "param_names": (), "numel": 1}
    blocks = tuple(BlockSpec(name=f"model.{i}", index=i, **block) for i in range(23))
    header = RunHeader(
        schema_version=2,
        run_id="x",
        config_digest="x",
        seed=0,
        requested={},
        effective={**FACTS, **changed},
        versions={},
        device="cpu",
        dataset_digest=None,
        blocks=blocks,
        started="",
    )
    return list(opening_lines(header))


def test_a_run_begins_with_three_lines_of_eighty_columns() -> None:
    found = lines()
    assert found == [
        "watching 23 blocks, guard=skip; trains 2,590,019 of 2,590,035 weights",
        "7 optimizer steps: 12 epochs of 1 batch, 2 a step (batch=32 nbs=64)",
        "AdamW lr=0.002, warm-up over 3 batches, clip=norm:10",
    ]
    assert max(len(PREFIX + line) for line in found) <= 80


@pytest.mark.parametrize(
    ("changed", "number", "expected"),
    [
        ({"accumulate": 1, "steps_planned": 12}, 1, "12 epochs of 1 batch, 1 a step (batch"),
        ({"steps_planned": 1, "epochs": 1}, 1, "1 optimizer step: 1 epoch of 1 batch, 2 a step"),
        ({"start_epoch": 3, "batches_per_epoch": 1500}, 1, "epochs 4 to 12 of 1,500 batches, 2 a"),
        (
            {"steps_planned": None, "time": 0.5},
            1,
            "steps depend on time=0.5: epochs of 1 batch, 2 a step (batch",
        ),
        ({"warmup_iterations": 0}, 2, "AdamW lr=0.002, no warm-up, clip=norm:10"),
        ({"groups": {"a": {"lr": 0.03}, "b": {"lr": 0.01}}}, 2, "AdamW lr=0.01 to 0.03, warm-up"),
        ({"own_step": True}, 2, "clip as in the trainer's optimizer_step"),
    ],
)
def test_each_line_reports_what_is_in_force(
    changed: dict[str, Any], number: int, expected: str
) -> None:
    found = lines(**changed)
    assert expected in found[number]
    assert len(found) == 3
    assert max(len(PREFIX + line) for line in found) <= 90


def test_a_loop_without_groups_has_no_rate() -> None:
    assert len(lines(groups=None)) == 2
