"""Tables of epochs made by hand, as stock runs and traces hold them, for the rules that read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from yolo_stability.core.types import RunHeader
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import example_header, healthy_run
from yolo_stability.trace.arrays import EpochSeries, Floats, RunSeries, no_epochs

__all__ = ["as_table", "learning", "settings", "stock", "traced"]

PARTS: Mapping[str, Sequence[str]] = {
    "detect": ("box", "cls", "dfl"),
    "segment": ("box", "seg", "cls", "dfl", "sem"),
    "pose": ("box", "pose", "kobj", "cls", "l1", "rle"),
    "obb": ("box", "cls", "dfl", "angle"),
    "rtdetr": ("giou", "cls", "l1"),
}
KINDS = {"segment": "BM", "pose": "BP"}

Columns = dict[str, Floats]


def learning(epochs: int = 28, task: str = "detect", best: float = 0.6, seed: int = 0) -> Columns:
    """Return the columns of `results.csv` of a run that learns, with noise."""
    rng = np.random.default_rng(seed)
    epoch = np.arange(epochs)
    fade, gain = 0.87**epoch, best * (1 - 0.82 ** (epoch + 1))
    noise = 1 + 0.05 * rng.standard_normal(epochs)
    if task == "classify":
        loss = {"train/loss": (0.1 + 1.5 * fade) * noise, "val/loss": (0.3 + 1.2 * fade) * noise}
        return {**loss, "metrics/accuracy_top1": np.clip(0.2 + gain * noise, 0, 1)}
    columns = {}
    for split in ("train", "val"):
        for i, part in enumerate(PARTS[task]):
            columns[f"{split}/{part}_loss"] = (0.8 + 0.2 * i + (1.1 + i) * fade) * noise
    for kind in KINDS.get(task, "B"):
        columns[f"metrics/mAP50({kind})"] = np.clip(1.4 * gain * noise, 0, 1)
        columns[f"metrics/mAP50-95({kind})"] = np.clip(gain * noise, 0, 1)
    return columns


def set_rows(columns: Columns, prefix: str, rows: slice, value: Any) -> Columns:
    """Return the columns with another value in some rows of all columns with a prefix."""
    changed = {name: column.copy() for name, column in columns.items()}
    for name, column in changed.items():
        if name.startswith(prefix):
            column[rows] = value
    return changed


def as_table(columns: Mapping[str, Floats], validated: Any = True) -> EpochSeries:
    """Return columns as the epochs of a run; all are validated unless it is said."""
    size = len(next(iter(columns.values())))
    return replace(
        no_epochs(),
        epoch=np.arange(size),
        validated=np.broadcast_to(np.asarray(validated, dtype=bool), size).copy(),
        fitness=np.full(size, np.nan),
        values=dict(columns),
        missing={name: np.zeros(size, dtype=bool) for name in columns},
        steps=np.full(size, -1),
    )


def stock(columns: Mapping[str, Floats], validated: Any = True) -> DiagnosisContext:
    """Return a run of which only `results.csv` is known: each step is an epoch."""
    table = as_table(columns, validated)
    size = table.epoch.size
    losses = [column for name, column in columns.items() if name.startswith("train/")]
    with np.errstate(over="ignore", invalid="ignore"):
        loss = np.sum(losses, axis=0) if losses else np.full(size, np.nan)
    run = replace(
        healthy_run(size),
        names=(),
        roles=(),
        loss=loss,
        norm=np.full(size, np.nan),
        block_norm=np.zeros((0, size), dtype=np.float32),
        epoch=np.arange(size),
        epochs=table,
        completed=None,
    )
    return DiagnosisContext(run, stock=True)


def traced(
    columns: Mapping[str, Floats], validated: Any = True, steps: int = 16, **changes: Any
) -> RunSeries:
    """Return a run with steps and a table of epochs, which has no training losses then."""
    kept = {name: c for name, c in columns.items() if not name.startswith("train/")}
    table = as_table(kept, validated)
    run = healthy_run(table.epoch.size * steps)
    run = replace(run, epoch=np.repeat(table.epoch, steps), epochs=table)
    return replace(run, **changes)


def settings(schema: int = 2, **effective: Any) -> RunHeader:
    """Return a header with given settings; the task is detection."""
    return replace(
        example_header(),
        schema_version=schema,
        requested={},
        effective={"task": "detect", **effective},
    )
