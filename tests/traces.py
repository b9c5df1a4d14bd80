"""Records and traces made by hand for the tests of trace, summary and report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolo_stability.core.types import BlockSpec, BlockStats, Event, RunHeader, StepRecord
from yolo_stability.trace import SCHEMA_VERSION, TraceWriter

NAMES = (
    "model.0 Conv",
    "model.16 C3k2",
    "model.23.cv2 Detect box",
    "model.23.one2one_cv3 Detect cls",
)
ROLES = ("backbone", "neck", "box", "one2one_cls")
CHUNK = 16_384


def header(
    names: Sequence[str] = NAMES, roles: Sequence[str] | None = None, **changes: Any
) -> RunHeader:
    roles = roles or [ROLES[i % len(ROLES)] for i in range(len(names))]
    blocks = tuple(
        BlockSpec(
            name=n, index=i, module_type="Conv", role=r, param_names=(f"{n}.weight",), numel=9
        )
        for i, (n, r) in enumerate(zip(names, roles, strict=True))
    )
    values: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "run_id": "run",
        "config_digest": "digest",
        "seed": 0,
        "requested": {"model": "yolo26n.yaml", "task": "detect"},
        "effective": {},
        "versions": {"torch": "2"},
        "device": "CPU",
        "dataset_digest": None,
        "blocks": blocks,
        "started": "2026-01-01T00:00:00+00:00",
    }
    return RunHeader(**{**values, **changes})


def record(
    step: int, norms: Sequence[float | None] = (3.0, 4.0, 0.0, 12.0), **changes: Any
) -> StepRecord:
    """One step with the given block norms; the rest follows from them unless it is given."""
    known = [n for n in norms if n is not None]
    bad = sum(not math.isfinite(n) for n in known)
    total = math.nan if any(map(math.isnan, known)) else math.hypot(*known)
    names = changes.pop("names", NAMES)
    values: dict[str, Any] = {
        "attempt": 0,
        "step": step,
        "iteration": 2 * step,
        "epoch": step // 4,
        "accumulate": 2,
        "loss": 8.0 / (step + 1),
        "loss_items": {"box_loss": 1.5, "cls_loss": 0.5},
        "lr_by_group": {"weight": 0.25},
        "momentum": 0.875,
        "grad_norm": total,
        "clip_coef": min(1.0, 10.0 / (total + 1e-6)) if math.isfinite(total) else math.nan,
        "amp_scale": None,
        "skipped": None,
        "nonfinite": bad,
        "seconds": 0.125,
        "blocks": tuple(
            BlockStats(
                block=b, grad_norm=n, nonfinite_count=int(n is not None and not math.isfinite(n))
            )
            for b, n in zip(names, norms, strict=True)
        ),
    }
    return StepRecord(**{**values, **changes})


def noisy(steps: int, blocks: int, *, watch_every: int = 10, seed: int = 0) -> list[StepRecord]:
    """Records whose values are as irregular as a real run's: float32 noise everywhere."""
    rng = np.random.default_rng(seed)
    names = [f"model.{i} C3k2" for i in range(blocks)]
    base = np.exp(rng.normal(0, 1, blocks))
    norms = (base * np.exp(rng.normal(0, 0.3, (steps, blocks)))).astype(np.float32).tolist()
    losses = rng.normal(4, 0.5, (steps, 5)).astype(np.float32).tolist()
    updates = np.abs(rng.normal(1e-3, 2e-4, (steps, blocks))).astype(np.float32).tolist()
    return [
        record(
            s,
            norms[s],
            names=names,
            loss=losses[s][0],
            loss_items={
                "box_loss": losses[s][1],
                "cls_loss": losses[s][2],
                "dfl_loss": losses[s][3],
            },
            lr_by_group={
                "weight": 0.01 * (1 - s / steps),
                "bias": 0.02 * (1 - s / steps),
                "norm": 0.01,
            },
            seconds=abs(losses[s][4]),
            images=128 if s % 32 else 56,
            objects=int(600 + 40 * losses[s][3]),
            **(_inputs(losses[s]) if s < 64 or s % 4 == 0 else {}),
            blocks=tuple(
                BlockStats(
                    block=names[i],
                    grad_norm=norms[s][i],
                    weight_norm=float(5 + base[i] + 1e-5 * s) if s % watch_every == 0 else None,
                    update_ratio=updates[s][i] if s % watch_every == 0 else None,
                )
                for i in range(blocks)
            ),
        )
        for s in range(steps)
    ]


def _inputs(losses: Sequence[float]) -> dict[str, float]:
    """Input statistics of preprocessed photos: black and white occur, mean and spread vary."""
    mean, spread = 0.4 + 0.02 * losses[1], 0.25 + 0.01 * losses[2]
    return {"input_min": 0.0, "input_max": 1.0, "input_mean": mean, "input_std": spread}


def write(
    folder: Path,
    records: Sequence[StepRecord],
    *,
    names: Sequence[str] = NAMES,
    ended: bool = True,
    **changes: Any,
) -> Path:
    """Write a whole trace into `<folder>/stability/` and return the run folder.

    Args:
        folder: The run folder.
        records: The steps.
        names: Blocks.
        ended: Whether the run came to its end; a killed one leaves no event of it.
        **changes: Fields of the header.
    """
    writer = TraceWriter(folder / "stability", names)
    writer.write_header(header(names, **changes))
    for r in records:
        writer.append(r)
    if ended and records:
        last = records[-1]
        done = {"completed": True, "stopped": None}
        writer.event(Event(attempt=last.attempt, step=last.step, kind="end", data=done))
    writer.close()
    assert writer.error is None, writer.error
    return folder


def write_long(run: Path, steps: int, blocks: int, *, spike: int | None = None) -> np.ndarray:
    """Write the trace of a run in sealed chunks, as a long run leaves it; return the total norms.

    Args:
        run: Run folder.
        steps: How many steps.
        blocks: How many blocks.
        spike: Step at which all norms are 30 times as large; None for no such step.
    """
    import polars as pl

    from yolo_stability.trace.layout import part_path

    folder, names = run / "stability", [f"model.{i} C3k2" for i in range(blocks)]
    writer = TraceWriter(folder, names)
    writer.write_header(header(names))
    done = {"completed": True, "stopped": None}
    writer.event(Event(attempt=0, step=max(steps - 1, 0), kind="end", data=done))
    writer.close()
    rng, totals = np.random.default_rng(0), []
    base = np.exp(rng.normal(0, 1, blocks))
    for first in range(0, steps, CHUNK):
        step = np.arange(first, min(first + CHUNK, steps), dtype=np.uint32)
        norms = (base * np.exp(rng.normal(0, 0.3, (len(step), blocks)))).astype(np.float32)
        if spike is not None:
            norms[step == spike] *= 30
        total = np.linalg.norm(norms, axis=1).astype(np.float32)
        totals.append(total)
        rows = pl.DataFrame(
            {
                "attempt": np.zeros(len(step), np.uint16),
                "step": step,
                "iteration": step,
                "epoch": (step // 500).astype(np.uint16),
                "accumulate": np.ones(len(step), np.uint16),
                "loss": rng.normal(4, 0.2, len(step)).astype(np.float32),
                "loss/box_loss": rng.normal(2, 0.2, len(step)).astype(np.float32),
                "lr/weight": np.full(len(step), 0.01, np.float32),
                "momentum": np.full(len(step), 0.9, np.float32),
                "grad_norm": total,
                "clip_coef": np.minimum(1, 10 / total).astype(np.float32),
                "nonfinite": np.zeros(len(step), np.uint32),
                "seconds": rng.random(len(step), np.float32),
            }
        )
        norm_rows = pl.DataFrame(
            {
                "attempt": np.zeros(norms.size, np.uint16),
                "step": np.repeat(step, blocks),
                "block": pl.Series(names * len(step), dtype=pl.Enum(names)),
                "grad_norm": norms.ravel(),
                "nonfinite": np.zeros(norms.size, np.uint32),
            }
        )
        for table, frame in (("blocks", norm_rows), ("steps", rows)):
            path = part_path(folder, table, int(step[0]), int(step[-1]))  # type: ignore[arg-type]
            path.parent.mkdir(exist_ok=True)
            frame.write_parquet(path, compression="zstd", statistics=False)
    return np.concatenate(totals)
