"""How a stock run ended, from its table, its settings and its last checkpoint."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from yolo_stability.core.errors import StabilityError
from yolo_stability.core.findings import End
from yolo_stability.core.strict_yaml import load_yaml
from yolo_stability.diagnosis.results_table import as_number
from yolo_stability.trace.arrays import EpochSeries

__all__ = ["stock_classes", "stock_end", "stock_settings"]

_RECENT = 3.0
"""Longest epochs within which a run that is in progress writes its next checkpoint."""
_SECONDS = 600.0
"""The same for a run of one epoch, whose duration is unknown."""
_LAST = Path("weights", "last.pt")


def stock_settings(run: Path) -> dict[str, Any]:
    """Return the settings in `args.yaml` (YOLOv5: `opt.yaml`); empty without a readable one."""
    for name in ("args.yaml", "opt.yaml"):
        try:
            return load_yaml((run / name).read_text(encoding="utf-8"), str(run / name))
        except (OSError, UnicodeDecodeError, StabilityError):
            continue
    return {}


def stock_classes(run: Path) -> int | None:
    """Return the number of classes of a classifier from its last checkpoint; None if unknown."""
    from yolo_stability.checkpoint.reader import open_checkpoint

    try:
        with open_checkpoint(run / _LAST) as checkpoint:
            heads = [t for t in checkpoint.tensors if t.name.endswith("linear.weight")]
            return int(heads[-1].tensor.shape[0]) if heads else None
    except (StabilityError, IndexError):
        return None


def stock_end(
    table: Path, rows: Sequence[Mapping[str, str]], epochs: EpochSeries, settings: Mapping[str, Any]
) -> End | None:
    """Return how a stock run ended; None where neither settings nor a checkpoint say so.

    Ultralytics strips the optimizer from its last checkpoint at the end. A checkpoint that is not
    stripped belongs to a run in progress if it is newer than three of its longest epochs; else the
    run broke off. A run without a checkpoint is in order if it made all its epochs, or if early
    stopping was due.

    Args:
        table: Its table of epochs.
        rows: Rows of the table.
        epochs: The same as arrays.
        settings: Its settings; empty where they are unknown.
    """
    done, planned = int(epochs.epoch[-1]) + 1, settings.get("epochs")
    timed, last = bool(settings.get("time")), table.parent / _LAST
    known = isinstance(planned, int) and not isinstance(planned, bool) and planned > 0
    planned = planned if known else None
    if timed:
        planned = _estimate(rows, settings) or planned
    stripped = _is_stripped(last)
    if stripped is None and planned is None:
        return None
    whole = planned is not None and done >= planned
    if stripped or (stripped is None and (whole or _is_stalled(epochs, settings))):
        early = planned is not None and done < planned
        if timed or early:
            reason = "time" if timed else "patience"
            return _end("stopped", done, planned, reason)
        return _end("finished", done, planned)
    file = table if stripped is None else last
    running = time.time() - file.stat().st_mtime < _RECENT * _longest(rows)
    return _end("running" if running else "interrupted", done, planned)


def _end(state: Any, done: int, planned: int | None, reason: Any = None) -> End:
    return End(state=state, reason=reason, epochs_done=done, epochs_planned=planned)


def _is_stripped(checkpoint: Path) -> bool | None:
    """Return whether the optimizer was stripped; None without a readable checkpoint."""
    from yolo_stability.checkpoint.reader import open_checkpoint

    try:
        with open_checkpoint(checkpoint) as opened:
            epoch = opened.facts.get("epoch")
            parts = {tensor.part for tensor in opened.tensors}
    except StabilityError:
        return None
    return epoch < 0 if isinstance(epoch, int) else "optimizer" not in parts


def _is_stalled(epochs: EpochSeries, settings: Mapping[str, Any]) -> bool:
    """Return whether so many epochs brought no better fitness that early stopping was due."""
    patience, fitness = settings.get("patience"), epochs.fitness
    if not isinstance(patience, int) or patience <= 0 or not np.isfinite(fitness).any():
        return False
    best = int(np.nanargmax(fitness))
    if fitness[best] == 0:  # Ultralytics counts from the first fitness above 0
        return False
    return int(epochs.epoch[-1] - epochs.epoch[best]) >= patience


def _lengths(rows: Sequence[Mapping[str, str]]) -> list[float]:
    """Return the seconds of each epoch since the last resume, which starts the clock again."""
    ends = [0.0, *(as_number(row.get("time")) for row in rows)]
    lengths = [b if b < a else b - a for a, b in pairwise(ends)]
    resumed = [i for i, (a, b) in enumerate(pairwise(ends)) if b < a]
    return lengths[resumed[-1] :] if resumed else lengths


def _longest(rows: Sequence[Mapping[str, str]]) -> float:
    """Return the longest epoch in seconds."""
    known = [length for length in _lengths(rows) if np.isfinite(length) and length > 0]
    return max(known, default=_SECONDS)


def _estimate(rows: Sequence[Mapping[str, str]], settings: Mapping[str, Any]) -> int | None:
    """Return the last estimate of the number of epochs that a time limit allows."""
    seconds, lengths = as_number(settings.get("time")) * 3600, _lengths(rows)
    mean = float(np.mean(lengths))
    if not (np.isfinite(seconds) and mean > 0):
        return None
    return len(rows) - len(lengths) + int(np.ceil(seconds / mean))
