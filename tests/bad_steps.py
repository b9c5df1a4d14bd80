"""Bad steps made by hand: a run that breaks at a step, and incidents that explain it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from yolo_stability.diagnosis.examples import healthy_run, with_rows
from yolo_stability.diagnosis.incidents import IncidentFacts
from yolo_stability.trace.arrays import RunSeries

RANGES = {
    "weights_finite": True,
    "weight_growth": 1.0,
    "images_finite": True,
    "largest_pixel": 0.9,
    "other_largest_pixel": 1.0,
    "module_input": 3.0,
    "custom": False,
    "only_in_half": False,
}


def incident(step: int = 3, *images: str, **changed: Any) -> IncidentFacts:
    """An incident in which everything but a module was in range; `ranges` replaces parts of them."""
    ranges = {**RANGES, **changed.pop("ranges", {})}
    usual: dict[str, Any] = {
        "block": "model.4 Own",
        "layer": "model.4 Own",
        "phase": "forward",
        "mixed": False,
        "reproduced": True,
        "text": "a line",
    }
    return IncidentFacts(step=step, images=images, ranges=ranges, **{**usual, **changed})


def nan_from(row: int, *, loss: bool, blocks: int) -> RunSeries:
    """A healthy run whose gradients, and loss, are NaN from a step on, first in some blocks."""
    run = with_rows(
        healthy_run(),
        slice(row, 96),
        nonfinite=1,
        norm=np.nan,
        **({"loss": np.nan} if loss else {}),
    )
    norms = run.block_norm.copy()
    norms[:blocks, row:] = np.nan
    bad = np.arange(blocks)
    return replace(
        run,
        block_norm=norms,
        bad_block=bad,
        bad_row=np.full(blocks, row),
        bad_count=np.ones(blocks, dtype=int),
    )
