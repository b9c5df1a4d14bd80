"""Conversion of a trace back into step records, to replay a run without a trainer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from yolo_stability.core.types import BlockStats, StepRecord, Trace

__all__ = ["as_records"]

_LOSS, _RATE = "loss/", "lr/"
_OPTIONAL = (
    *("micro_norm", "images", "objects"),
    *("input_min", "input_max", "input_mean", "input_std"),
)
"""Columns that older traces lack."""


def as_records(trace: Trace) -> Iterator[StepRecord]:
    """Yield the steps of a trace as records, in order.

    Values rounded to float32 stay rounded; a missing loss becomes NaN.

    Args:
        trace: A trace from `load_trace`.
    """
    stats: dict[tuple[int, int], list[BlockStats]] = {}
    for row in trace.blocks.iter_rows(named=True):
        stats.setdefault((row["attempt"], row["step"]), []).append(
            BlockStats(
                block=str(row["block"]),
                grad_norm=row["grad_norm"],
                weight_norm=row["weight_norm"],
                update_ratio=row["update_ratio"],
                nonfinite_count=row["nonfinite"] or 0,
            )
        )
    for row in trace.steps.iter_rows(named=True):
        yield _record(row, tuple(stats.get((row["attempt"], row["step"]), ())))


def _record(row: dict[str, Any], blocks: tuple[BlockStats, ...]) -> StepRecord:
    nan = float("nan")
    return StepRecord(
        attempt=row["attempt"],
        step=row["step"],
        iteration=row["iteration"],
        epoch=row["epoch"],
        accumulate=row["accumulate"],
        loss=nan if row["loss"] is None else row["loss"],
        loss_items={
            k.removeprefix(_LOSS): v
            for k, v in row.items()
            if k.startswith(_LOSS) and v is not None
        },
        lr_by_group={
            k.removeprefix(_RATE): v
            for k, v in row.items()
            if k.startswith(_RATE) and v is not None
        },
        momentum=row["momentum"],
        grad_norm=row["grad_norm"],
        clip_coef=row["clip_coef"],
        amp_scale=row["amp_scale"],
        skipped=row["skipped"],
        nonfinite=row["nonfinite"] or 0,
        seconds=row["seconds"] or 0.0,
        blocks=blocks,
        **{name: row.get(name) for name in _OPTIONAL},
    )
