"""Reduction of a trace to the summary numbers that tables and figures show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from yolo_stability.core.types import Trace

if TYPE_CHECKING:
    import polars as pl

__all__ = ["BlockSummary", "RunSummary", "role_group", "summarize"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_KEYS = ["attempt", "step"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSummary:
    """Statistics of one block over a run.

    Norms are L2, unscaled, before clipping, over the steps where they are finite.

    Attributes:
        name: Name of the block.
        role: backbone, neck or a head branch.
        group: backbone, neck, head, one2one head or other.
        median_norm: Median gradient norm; None without a finite one (frozen block).
        max_norm: Largest finite gradient norm.
        max_step: First step at which it occurred.
        share: Median over steps of its fraction of the squared total norm, 0 to 1.
        nonfinite_steps: Number of steps at which its gradient held a NaN or Inf.
        weight_norm: Last recorded norm of its weights.
        median_update: Median recorded update ratio.
        max_update: Largest finite recorded update ratio.
    """

    name: str
    role: str
    group: str
    median_norm: float | None
    max_norm: float | None
    max_step: int | None
    share: float | None
    nonfinite_steps: int
    weight_norm: float | None
    median_update: float | None
    max_update: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """Summary statistics of a run.

    Attributes:
        steps: Number of recorded optimizer steps.
        applied: Number of steps whose update was applied.
        guard_skips: Number of steps skipped by the guard.
        scaler_skips: Number of steps skipped by the AMP scaler.
        nonfinite_steps: Number of steps with a NaN or Inf in the gradients, their norm or the loss.
        attempts: Number of attempts (1 without any recovery or resume).
        first_norm: First finite total gradient norm.
        median_norm: Median of the finite total gradient norms.
        max_norm: Largest finite total gradient norm.
        max_step: First step at which it occurred.
        clipped: Number of steps with a finite norm and a clip coefficient below 1.
        clip_saturation: Their fraction of the steps with a finite norm and coefficient; None
            without any.
        clip_norm: Clipping threshold implied by the clip coefficients; None if they imply none.
        blocks: One entry per block, in the order of the header.
        peak: Block with the largest finite norm in any one step.
        worst: Block with the most non-finite steps; on a tie, the one with the largest finite norm
            in any one step.
    """

    steps: int
    applied: int
    guard_skips: int
    scaler_skips: int
    nonfinite_steps: int
    attempts: int
    first_norm: float | None
    median_norm: float | None
    max_norm: float | None
    max_step: int | None
    clipped: int
    clip_saturation: float | None
    clip_norm: float | None
    blocks: tuple[BlockSummary, ...]
    peak: BlockSummary | None
    worst: BlockSummary | None


def role_group(role: str) -> str:
    """Return the part of the network of a role: backbone, neck, head, one2one head or other.

    Example:
        >>> role_group("neck"), role_group("cls"), role_group("one2one_box")
        ('neck', 'head', 'one2one head')
    """
    if role in {"backbone", "neck"}:
        return role
    if role in {"module", "other"}:
        return "other"
    return "one2one head" if role.startswith("one2one") else "head"


def summarize(trace: Trace) -> RunSummary:
    """Reduce a trace to a summary; a trace without rows gives zeros and None.

    Args:
        trace: A trace from `load_trace`.
    """
    steps = trace.steps
    norms, clips = _floats(steps["grad_norm"]), _floats(steps["clip_coef"])
    at = _argmax(norms)
    finite = norms[np.isfinite(norms)]
    skipped = steps["skipped"]
    countable = np.isfinite(clips) & np.isfinite(norms)
    clipped = int(np.sum(countable & (clips < 1)))
    blocks = _block_summaries(trace)
    return RunSummary(
        steps=steps.height,
        applied=int(skipped.null_count()),
        guard_skips=int((skipped == "guard").sum()),
        scaler_skips=int((skipped == "scaler").sum()),
        nonfinite_steps=int(np.sum(_nonfinite_steps(steps))),
        attempts=steps["attempt"].n_unique(),
        first_norm=float(finite[0]) if finite.size else None,
        median_norm=float(np.median(finite)) if finite.size else None,
        max_norm=None if at is None else float(norms[at]),
        max_step=None if at is None else int(steps["step"][at]),
        clipped=clipped,
        clip_saturation=clipped / int(countable.sum()) if countable.any() else None,
        clip_norm=_clip_norm(norms, clips),
        blocks=blocks,
        peak=max((b for b in blocks if b.max_norm is not None), key=_height, default=None),
        worst=max(
            (b for b in blocks if b.max_norm is not None or b.nonfinite_steps),
            key=_badness,
            default=None,
        ),
    )


def _block_summaries(trace: Trace) -> tuple[BlockSummary, ...]:
    import polars as pl

    names, roles = _names_and_roles(trace)
    norm, ratio = pl.col("grad_norm"), pl.col("update_ratio")
    rows = (
        _with_shares(trace.blocks)
        .group_by("block")
        .agg(
            median_norm=norm.filter(norm.is_finite()).median(),
            max_norm=norm.filter(norm.is_finite()).max(),
            max_step=pl.col("step").filter(norm == norm.filter(norm.is_finite()).max()).first(),
            share=pl.col("share").median(),
            nonfinite_steps=((pl.col("nonfinite") > 0) | ~norm.is_finite().fill_null(True)).sum(),
            weight_norm=pl.col("weight_norm").drop_nulls().last(),
            median_update=ratio.filter(ratio.is_finite()).median(),
            max_update=ratio.filter(ratio.is_finite()).max(),
        )
        .with_columns(pl.col("block").cast(pl.String))
    )
    found: dict[str, dict[str, Any]] = {row.pop("block"): row for row in rows.to_dicts()}
    blank = dict.fromkeys(c for c in rows.columns if c != "block") | {"nonfinite_steps": 0}
    return tuple(
        BlockSummary(name=name, role=role, group=role_group(role), **found.get(name, blank))
        for name, role in zip(names, roles, strict=True)
    )


def _with_shares(blocks: pl.DataFrame) -> pl.DataFrame:
    """Add `share`: the block's fraction of the squared norm of its step, if all norms are finite.

    Norms are divided by the largest of their step before squaring, so that no square overflows.
    """
    import polars as pl

    norm = pl.col("grad_norm").cast(pl.Float64)
    square = (norm / norm.max().over(_KEYS)) ** 2
    share = square / square.sum().over(_KEYS)
    return blocks.with_columns(norm).with_columns(
        pl.when(share.is_finite()).then(share).alias("share")
    )


def _height(block: BlockSummary) -> float:
    return -1.0 if block.max_norm is None else block.max_norm


def _badness(block: BlockSummary) -> tuple[int, float]:
    return block.nonfinite_steps, _height(block)


def _clip_norm(norms: Floats, clips: Floats) -> float | None:
    """Return max_norm from coefficient = max_norm / (total + 1e-6), if all clipped steps agree."""
    usable = np.isfinite(norms) & (clips < 1) & (clips > 0)
    implied = clips[usable] * (norms[usable] + 1e-6)
    if not implied.size:
        return None
    middle = float(np.median(implied))
    if not np.allclose(implied, middle, rtol=1e-3, atol=0):
        return None
    return float(f"{middle:.4g}")


def _names_and_roles(trace: Trace) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return names and roles in header order, then names that only rows contain."""
    roles = {b.name: b.role for b in trace.header.blocks}
    dtype = trace.blocks.schema["block"]
    for name in getattr(dtype, "categories", ()):
        roles.setdefault(str(name), "other")
    return tuple(roles), tuple(roles.values())


def _nonfinite_steps(steps: pl.DataFrame) -> Bools:
    bad: Bools = steps["nonfinite"].fill_null(0).to_numpy() > 0
    for name in ("grad_norm", "loss"):
        bad = bad | ~steps[name].is_finite().fill_null(True).to_numpy()
    return bad


def _floats(series: pl.Series) -> Floats:
    """Return a float column as float64, null as NaN."""
    import polars as pl

    return series.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _argmax(values: Floats) -> int | None:
    finite = np.isfinite(values)
    return int(np.argmax(np.where(finite, values, -np.inf))) if finite.any() else None
