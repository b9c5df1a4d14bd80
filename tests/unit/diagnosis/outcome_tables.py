"""Epochs made by hand for the tests of outcome and end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from yolo_stability.core.types import BlockSpec, RunHeader
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import example_header, healthy_run
from yolo_stability.trace.arrays import EpochSeries, RunSeries, SeriesEvent

STRICT = {"detect": "(B)", "obb": "(B)", "pose": "(P)", "segment": "(M)"}


def epochs_of(
    metric: Sequence[float],
    column: str = "metrics/mAP50-95(B)",
    *,
    validated: Sequence[bool] | None = None,
    **columns: Sequence[float],
) -> EpochSeries:
    """Return epochs with a metric and other columns, whose names have `__` for the slash."""
    size = len(metric)
    values = {column: np.array(metric, dtype=np.float64)}
    values |= {
        name.replace("__", "/"): np.array(given, dtype=np.float64)
        for name, given in columns.items()
    }
    values.setdefault("val/box_loss", np.linspace(2, 1, size))
    return EpochSeries(
        epoch=np.arange(size, dtype=np.int64),
        validated=np.ones(size, dtype=bool) if validated is None else np.array(validated),
        fitness=np.nan_to_num(np.array(metric, dtype=np.float64)),
        values=values,
        missing={name: np.zeros(size, dtype=bool) for name in values},
        steps=np.full(size, 16, dtype=np.int64),
    )


def settings(**effective: Any) -> RunHeader:
    """Return a header with these effective settings."""
    return replace(example_header(), requested={}, effective=effective)


def blocks(*numel: int) -> tuple[BlockSpec, ...]:
    """Return blocks with so many trainable weights."""
    return tuple(
        BlockSpec(
            name=f"model.{i} Conv",
            index=i,
            module_type="Conv",
            role="backbone",
            param_names=(f"model.{i}.weight",),
            numel=count,
        )
        for i, count in enumerate(numel)
    )


def run_of(
    epochs: EpochSeries, steps: int = 96, *events: SeriesEvent, **changes: Any
) -> DiagnosisContext:
    """Return a healthy run with these epochs, of which each has the same number of steps.

    Args:
        epochs: The epochs.
        steps: Optimizer steps of the run.
        *events: Its events; one of kind end says how it ended.
        **changes: Arguments of the context, or fields of the run.
    """
    known = ("header", "outcome", "running", "stock", "facts", "end")
    given = {name: changes.pop(name) for name in known if name in changes}
    run: RunSeries = healthy_run(steps)
    each = max(1, steps // max(1, epochs.epoch.size))
    fields = {"epochs": epochs, "events": events, "epoch": run.step // each, **changes}
    return DiagnosisContext(replace(run, **fields), **given)
