"""A run as dense arrays over its steps: the input of rules and verdicts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from yolo_stability.core.types import Trace
from yolo_stability.trace.columns import Bools, Floats, Ints, Norms, by_name, floats, ints, optional
from yolo_stability.trace.epoch_series import EpochSeries, as_epoch_series, no_epochs
from yolo_stability.trace.weight_samples import WeightSamples

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "OPTIONAL",
    "PER_IMAGE",
    "BlockProfile",
    "Bools",
    "EpochSeries",
    "Floats",
    "Ints",
    "Norms",
    "RunSeries",
    "SeriesEvent",
    "as_series",
    "median_of",
    "no_epochs",
]

PER_IMAGE = "images"
"""`loss_factor` in the effective settings of a run whose criterion sums over images."""
_SLICE = 1 << 18
OPTIONAL = ("images", "objects", "input_min", "input_max", "input_mean", "input_std")
"""Columns of a step that older traces, plain loops and stock runs lack."""


def _unset() -> Floats:
    return np.zeros(0)


def _no_rows() -> Ints:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockProfile:
    """Gradient statistics of a run over the depth of the model.

    Attributes:
        names: Blocks in the order of the header.
        medians: Median finite norm of each block; NaN without a finite one.
        nonfinite: Whether any gradient of the block held a NaN or Inf.
    """

    names: tuple[str, ...]
    medians: Floats
    nonfinite: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesEvent:
    """An event of a run with its data parsed from JSON."""

    kind: str
    step: int
    block: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True, weakref_slot=True, kw_only=True, eq=False)
class RunSeries:
    """A trace as arrays, ordered by step; S steps, B blocks.

    It takes 4 bytes per step and block instead of the 23 of the tables it is read from, so that a
    long run and its controls fit into memory together.

    Attributes:
        names: Blocks in the order of the header, then blocks that only rows name.
        roles: Role of each block; `other` for blocks missing from the header.
        step: (S,) step number.
        loss: (S,) loss.
        norm: (S,) total gradient norm; NaN where null.
        micro_norm: (S,) gradient norm after the first of several accumulated iterations; NaN where
            not sampled.
        nonfinite: (S,) elements of the gradients that are NaN or Inf.
        guard: (S,) whether the guard skipped the step.
        scaler: (S,) whether the AMP scaler skipped the step.
        clip: (S,) clip coefficient; NaN where nothing clips.
        block_norm: (B, S) gradient norm of each block; NaN where null.
        bad_block: Block index of each block gradient with non-finite elements, ordered by
            `bad_row`.
        bad_row: Index into `step` of each of them; ascending.
        bad_count: Number of non-finite elements of each of them.
        epoch: (S,) epoch.
        attempt: (S,) replay index.
        accumulate: (S,) accumulated iterations.
        lr: (S,) largest learning rate of all groups; NaN where unknown.
        amp_scale: (S,) AMP loss scale; NaN without AMP.
        update: (S,) largest update ratio of all blocks; NaN where not sampled.
        update_block: (S,) index of the block with that ratio; -1 where not sampled.
        events: Events in order, without notices and live findings.
        stop_step: Step at which the guard ended the run; None if it did not, or the run was
            resumed.
        completed: Whether the end event reports completion; None without such an event.
        images: (S,) images of the step; NaN where unknown.
        objects: (S,) labeled objects of the step; NaN where unknown.
        input_min: (S,) smallest input value; NaN where not sampled.
        input_max: (S,) largest input value; NaN where not sampled.
        input_mean: (S,) mean input value; NaN where not sampled.
        input_std: (S,) standard deviation of the input; NaN where not sampled.
        losses: (S,) each loss item by name, such as `box_loss`; NaN where missing.
        rates: (S,) learning rate by parameter group; NaN where missing.
        epochs: Epochs with their validations.
        summed: Whether the loss that is differentiated is a sum over the images of a batch, so that
            gradient norms grow with it.
        sampled: (K,) positions of the steps whose weights were measured, ascending.
        weight_norm: (B, K) norm of each block's weights before those steps; NaN where unknown.
        update_ratio: (B, K) norm of each block's change in those steps over that of its weights;
            NaN where unknown.
    """

    names: tuple[str, ...]
    roles: tuple[str, ...]
    step: Ints
    loss: Floats
    norm: Floats
    micro_norm: Floats
    nonfinite: Ints
    guard: Bools
    scaler: Bools
    clip: Floats
    block_norm: Norms
    bad_block: Ints
    bad_row: Ints
    bad_count: Ints
    epoch: Ints
    attempt: Ints
    accumulate: Ints
    lr: Floats
    amp_scale: Floats
    update: Floats
    update_block: Ints
    events: tuple[SeriesEvent, ...]
    stop_step: int | None
    completed: bool | None
    images: Floats = field(default_factory=_unset)
    objects: Floats = field(default_factory=_unset)
    input_min: Floats = field(default_factory=_unset)
    input_max: Floats = field(default_factory=_unset)
    input_mean: Floats = field(default_factory=_unset)
    input_std: Floats = field(default_factory=_unset)
    losses: Mapping[str, Floats] = field(default_factory=dict)
    rates: Mapping[str, Floats] = field(default_factory=dict)
    epochs: EpochSeries = field(default_factory=no_epochs)
    summed: bool = False
    sampled: Ints = field(default_factory=_no_rows)
    weight_norm: Norms = field(default_factory=_unset)
    update_ratio: Norms = field(default_factory=_unset)

    def __post_init__(self) -> None:
        """Fill columns that were not given with NaN."""
        for name in OPTIONAL:
            if getattr(self, name).size != self.step.size:
                object.__setattr__(self, name, np.full(self.step.size, np.nan))
        for name in ("weight_norm", "update_ratio"):
            if getattr(self, name).shape != (len(self.names), self.sampled.size):
                object.__setattr__(
                    self, name, np.full((len(self.names), self.sampled.size), np.nan)
                )

    def profile(self) -> BlockProfile:
        """Return gradient statistics over the depth of the model."""
        nonfinite = np.zeros(len(self.names), dtype=bool)
        nonfinite[self.bad_block] = True
        medians = np.array([median_of(row) for row in self.block_norm], dtype=np.float64)
        return BlockProfile(names=self.names, medians=medians, nonfinite=nonfinite)


def as_series(trace: Trace | RunSeries) -> RunSeries:
    """Return a trace as arrays; a `RunSeries` is returned unchanged."""
    if isinstance(trace, RunSeries):
        return trace
    steps = trace.steps.sort("step", "attempt")
    names, roles = _names_and_roles(trace)
    blocks, bad, (update, update_block), samples = _dense(trace, _keys(steps), names)
    sampled, weight_norm, update_ratio = samples.spread(len(names))
    order = np.argsort(bad[1], kind="stable")
    events = _events(trace.events)
    stop, completed = _ending(events)
    return RunSeries(
        names=names,
        roles=roles,
        step=ints(steps, "step"),
        loss=floats(steps["loss"]),
        norm=floats(steps["grad_norm"]),
        micro_norm=optional(steps, "micro_norm"),
        nonfinite=ints(steps, "nonfinite"),
        guard=(steps["skipped"] == "guard").fill_null(False).to_numpy(),
        scaler=(steps["skipped"] == "scaler").fill_null(False).to_numpy(),
        clip=floats(steps["clip_coef"]),
        block_norm=blocks,
        bad_block=bad[0][order],
        bad_row=bad[1][order],
        bad_count=bad[2][order],
        epoch=ints(steps, "epoch"),
        attempt=ints(steps, "attempt"),
        accumulate=ints(steps, "accumulate"),
        lr=_rates(steps),
        amp_scale=floats(steps["amp_scale"]),
        update=update,
        update_block=update_block,
        events=events,
        stop_step=stop,
        completed=completed,
        losses=by_name(steps, "loss/"),
        rates=by_name(steps, "lr/"),
        images=optional(steps, "images"),
        objects=optional(steps, "objects"),
        input_min=optional(steps, "input_min"),
        input_max=optional(steps, "input_max"),
        input_mean=optional(steps, "input_mean"),
        input_std=optional(steps, "input_std"),
        epochs=as_epoch_series(trace.epochs),
        summed=trace.header.effective.get("loss_factor") == PER_IMAGE,
        sampled=sampled,
        weight_norm=weight_norm,
        update_ratio=update_ratio,
    )


def median_of(values: Norms, axis: int = -1) -> Any:
    """Return the median of the finite values along an axis; NaN without a finite value.

    Example:
        >>> float(median_of(np.array([1.0, np.nan, 3.0, np.inf])))
        2.0
    """
    finite = np.where(np.isfinite(values), values, np.nan)
    if not finite.shape[axis]:
        return np.full(np.delete(finite.shape, axis), np.nan)[()]
    # np.nanmedian runs Python code for every slice; a sort puts NaN last
    ordered = np.sort(finite, axis=axis).astype(np.float64, copy=False)
    count = np.isfinite(finite).sum(axis=axis, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis)
    high = np.take_along_axis(ordered, np.minimum(count // 2, ordered.shape[axis] - 1), axis)
    return np.squeeze(low + (high - low) / 2, axis=axis)[()]


def _names_and_roles(trace: Trace) -> tuple[tuple[str, ...], tuple[str, ...]]:
    roles = {b.name: b.role for b in trace.header.blocks}
    for name in getattr(trace.blocks.schema["block"], "categories", ()):
        roles.setdefault(str(name), "other")
    return tuple(roles), tuple(roles.values())


def _keys(frame: pl.DataFrame) -> Ints:
    """Return attempt and step of each row as one integer."""
    import polars as pl

    keys: Ints = frame.select(
        pl.col("attempt").cast(pl.Int64) * 2**32 + pl.col("step").cast(pl.Int64)
    )[:, 0].to_numpy()
    return keys


def _dense(
    trace: Trace, keys: Ints, names: Sequence[str]
) -> tuple[Norms, tuple[Ints, Ints, Ints], tuple[Floats, Ints], WeightSamples]:
    """Spread the rows of the block table over (B, S) in slices, to limit memory on long runs.

    Returns:
        The norms; block, row and count of each entry with non-finite elements; the largest update
        ratio of each step and its block; the sampled weight norms.
    """
    import polars as pl

    order = pl.Enum(list(names))
    wide = trace.blocks.schema["grad_norm"] == pl.Float64
    norms = np.full((len(names), keys.size), np.nan, dtype=np.float64 if wide else np.float32)
    update, update_block = np.full(keys.size, np.nan), np.full(keys.size, -1, dtype=np.int64)
    sorter = np.argsort(keys, kind="stable")
    bad: list[tuple[Ints, Ints, Ints]] = [(np.zeros(0, dtype=np.int64),) * 3]
    samples = WeightSamples()
    for first in range(0, trace.blocks.height if keys.size else 0, _SLICE):
        part = trace.blocks.slice(first, _SLICE)
        key = _keys(part)
        place = np.minimum(np.searchsorted(keys, key, sorter=sorter), keys.size - 1)
        row = sorter[place]
        known = keys[row] == key  # a killed run may end with block rows of an unwritten step
        block = part["block"].cast(order).to_physical().cast(pl.Int64).to_numpy()
        norms[block[known], row[known]] = (
            part["grad_norm"].fill_null(float("nan")).to_numpy()[known]
        )
        ratio = part["update_ratio"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        at = np.flatnonzero(known & ~np.isnan(ratio))
        np.fmax.at(update, row[at], ratio[at])
        top = at[ratio[at] == update[row[at]]]
        update_block[row[top]] = block[top]
        samples.add(part, known, block, row)
        count = part["nonfinite"].fill_null(0).cast(pl.Int64).to_numpy()
        hit = np.flatnonzero(known & (count > 0))
        bad.append((block[hit], row[hit].astype(np.int64), count[hit]))
    blocks, rows, counts = (np.concatenate(column) for column in zip(*bad, strict=True))
    return norms, (blocks, rows, counts), (update, update_block), samples


def _rates(steps: pl.DataFrame) -> Floats:
    """Return the largest learning rate of all groups at each step."""
    import polars as pl

    groups = [name for name in steps.columns if name.startswith("lr/")]
    if not groups:
        return np.full(steps.height, np.nan)
    return floats(steps.select(pl.max_horizontal(groups).cast(pl.Float64))[:, 0])


def _events(events: pl.DataFrame) -> tuple[SeriesEvent, ...]:
    """Return the events relevant to rules: all but notices and live findings."""
    return tuple(
        SeriesEvent(kind=kind, step=int(step), block=block, data=json.loads(data or "{}"))
        for kind, step, block, data in events.select("kind", "step", "block", "data").iter_rows()
        if kind not in {"notice", "finding"}
    )


def _ending(events: Sequence[SeriesEvent]) -> tuple[int | None, bool | None]:
    """Return the step at which the guard ended the run, and whether the run completed.

    A resume discards both: the end of an earlier session does not count.
    """
    stop, completed, ended = None, None, False
    for event in events:
        if event.kind == "guard_stop":
            stop = event.step
        elif event.kind == "end":  # a run ended by a rule was stopped, not killed
            value = event.data.get("completed")
            completed = True if value is True else None if ended or value is None else False
        elif event.kind in {"fail_on", "rescue_stop"}:
            ended = True
        elif event.kind == "resume":
            stop, completed, ended = None, None, False
    return stop, completed
