"""Synthetic runs for the examples of rules and for tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from yolo_stability.core.types import BlockSpec, RunHeader
from yolo_stability.trace.arrays import RunSeries, SeriesEvent

__all__ = ["event", "example_header", "healthy_run", "with_rows"]

_BLOCKS = {
    "model.0 Conv": "backbone",
    "model.4 C3k2": "backbone",
    "model.16 C3k2": "neck",
    "model.23.cv2 Detect box": "box",
    "model.23.cv3 Detect cls": "cls",
}


def healthy_run(steps: int = 96) -> RunSeries:
    """Return a run like those of the control recipe: loss and norm decrease with some noise.

    Args:
        steps: Number of steps.
    """
    step = np.arange(steps, dtype=np.int64)
    waver = 1 + 0.2 * np.sin(step * 1.7)
    norm = (40 + 600 * np.exp(-step / 6)) * waver
    shares = np.array([0.5, 0.4, 0.4, 0.5, 0.4])
    nothing = np.zeros(0, dtype=np.int64)
    return RunSeries(
        names=tuple(_BLOCKS),
        roles=tuple(_BLOCKS.values()),
        step=step,
        loss=25 + 40 * np.exp(-step / 30) + 2 * np.sin(step * 2.3),
        norm=norm,
        micro_norm=np.full(steps, np.nan),
        nonfinite=np.zeros(steps, dtype=np.int64),
        guard=np.zeros(steps, dtype=bool),
        scaler=np.zeros(steps, dtype=bool),
        clip=np.minimum(1.0, 10 / norm),
        block_norm=(shares[:, None] * norm / np.sqrt((shares**2).sum())).astype(np.float32),
        bad_block=nothing,
        bad_row=nothing,
        bad_count=nothing,
        epoch=step // 16,
        attempt=np.zeros(steps, dtype=np.int64),
        accumulate=np.ones(steps, dtype=np.int64),
        lr=np.full(steps, 0.005),
        amp_scale=np.full(steps, np.nan),
        update=np.where(step < 50, 0.08 * np.exp(-step / 10) + 0.01, np.nan),
        update_block=np.where(step < 50, 1, -1),
        events=(),
        stop_step=None,
        completed=True,
    )


def with_rows(run: RunSeries, rows: slice, **values: Any) -> RunSeries:
    """Return a run with different values at some steps.

    Args:
        run: The run.
        rows: Positions of the steps.
        **values: New value by field of `RunSeries`; anything that numpy can assign.
    """
    changed = {}
    for name, value in values.items():
        array = getattr(run, name).copy()
        array[..., rows] = value
        changed[name] = array
    return replace(run, **changed)


def event(kind: str, step: int, data: Mapping[str, Any] | None = None) -> SeriesEvent:
    """Return an event of a run that concerns no particular block."""
    return SeriesEvent(kind=kind, step=step, block=None, data=data or {})


def example_header() -> RunHeader:
    """Return a header on which the rules about settings fire."""
    return RunHeader(
        schema_version=1,
        run_id="example",
        config_digest="",
        seed=0,
        requested={"optimizer": "auto", "lr0": 0.1},
        effective={
            "task": "detect",
            "images": 90,
            "images_listed": 100,
            "optimizer": "AdamW",
            "loaded": False,
            "warnings": [],
        },
        versions={},
        device="cpu",
        dataset_digest=None,
        blocks=tuple(
            BlockSpec(
                name=name,
                index=i,
                module_type=name.split()[1],
                role=role,
                param_names=(f"{name.split()[0]}.weight",),
                numel=1000 if role == "cls" else 100_000,
            )
            for i, (name, role) in enumerate(_BLOCKS.items())
        ),
        started="",
    )
