"""Traces as arrays and in bins, against the same reckoned from plain lists."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from traces import NAMES, header, record, write

from yolo_stability.benchmarks.binning import MAX_BINS, binned, series_frame
from yolo_stability.core.types import BlockStats, Event, StepRecord
from yolo_stability.trace import TraceWriter, empty_trace, load_trace
from yolo_stability.trace.arrays import as_series, median_of

COLUMNS = {
    "arm": pl.String,
    "task": pl.String,
    "model": pl.String,
    "seed": pl.Int64,
    "bin": pl.Int64,
    "first_step": pl.Int64,
    "last_step": pl.Int64,
    "block": pl.String,
    "index": pl.Int64,
    "median": pl.Float64,
    "highest": pl.Float64,
    "nonfinite": pl.Int64,
    "skipped": pl.Int64,
    "loss": pl.Float64,
    "loss_highest": pl.Float64,
}

some_norm = st.one_of(
    st.none(), st.floats(0, 1e6, width=32), st.sampled_from([0.0, math.nan, math.inf])
)
matrices = st.lists(st.lists(some_norm, min_size=4, max_size=4), min_size=1, max_size=14)


def finite(values: list[float | None]) -> list[float]:
    return [float(np.float32(v)) for v in values if v is not None and math.isfinite(v)]


def expected(records: list[StepRecord], planned: int) -> list[dict[str, Any]]:
    width = math.ceil(planned / MAX_BINS)
    rows = []
    for block in (None, *NAMES):
        for number in sorted({r.step // width for r in records}):
            members = [r for r in records if r.step // width == number]
            stats = [s for r in members for s in r.blocks if s.block == block]
            norms = finite(
                [r.grad_norm for r in members] if block is None else [s.grad_norm for s in stats]
            )
            losses = finite([r.loss for r in members]) if block is None else []
            rows.append(
                {
                    "bin": number,
                    "first_step": number * width,
                    "last_step": min(number * width + width, planned) - 1,
                    "block": block,
                    "index": None if block is None else NAMES.index(block),
                    "median": statistics.median(norms) if norms else None,
                    "highest": max(norms, default=None),
                    "nonfinite": sum(r.nonfinite for r in members)
                    if block is None
                    else sum(s.nonfinite_count for s in stats),
                    "skipped": sum(r.skipped == "guard" for r in members),
                    "loss": statistics.median(losses) if losses else None,
                    "loss_highest": max(losses, default=None),
                }
            )
    return rows


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(norms=matrices, stride=st.integers(1, 9), planned=st.integers(0, 400))
def test_bins_equal_plain_pooling(
    norms: list[list[float | None]],
    stride: int,
    planned: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    records = [
        record(
            stride * s,
            row,
            skipped=[None, "guard", "scaler"][s % 3],
            loss=math.nan if s == 4 else 1.0 + s % 5,
        )
        for s, row in enumerate(norms)
    ]
    frame = binned(as_series(load_trace(write(tmp_path_factory.mktemp("run"), records))), planned)
    rows = expected(records, max(planned, records[-1].step + 1))
    assert frame["bin"].max() < MAX_BINS  # type: ignore[operator]
    assert frame.columns == list(rows[0])
    for found, wanted in zip(frame.to_dicts(), rows, strict=True):
        assert found == {
            k: pytest.approx(v) if isinstance(v, float) else v for k, v in wanted.items()
        }


def test_bins_are_equally_wide_over_the_planned_steps(tmp_path: Path) -> None:
    run = as_series(load_trace(write(tmp_path, [record(s) for s in range(5)])))
    whole = binned(run, 160).filter(pl.col("block").is_null())
    assert whole.select("bin", "first_step", "last_step").rows() == [(0, 0, 2), (1, 3, 5)]
    assert binned(run, 4).filter(pl.col("block").is_null())["last_step"].to_list() == [
        0,
        1,
        2,
        3,
        4,
    ]


def test_series_frame_is_sorted_by_arm_run_block_and_bin(tmp_path: Path) -> None:
    frame = binned(as_series(load_trace(write(tmp_path, [record(s) for s in range(3)]))))
    keys = [
        ("z", "pose", "m", 1),
        ("z", "detect", "m", 10),
        ("z", "detect", "m", 2),
        ("a", "detect", "m", 0),
    ]
    table = series_frame([(key, frame) for key in keys], ["z", "a"])
    assert dict(table.schema) == COLUMNS
    runs = table.select("arm", "task", "model", "seed").unique(maintain_order=True).rows()
    assert runs == [
        ("z", "detect", "m", 2),
        ("z", "detect", "m", 10),
        ("z", "pose", "m", 1),
        ("a", "detect", "m", 0),
    ]
    first = table.filter((pl.col("arm") == "z") & (pl.col("task") == "pose"))
    assert first.select("block", "bin").rows() == [(b, i) for b in (None, *NAMES) for i in range(3)]
    empty = series_frame([], ["z"])
    assert (dict(empty.schema), empty.height) == (COLUMNS, 0)


def test_arrays_hold_what_the_rows_say(tmp_path: Path) -> None:
    records = [
        record(0, micro_norm=6.5),
        record(
            1, (math.nan, 1.0, None, 1e300), grad_norm=math.nan, skipped="guard", clip_coef=None
        ),
        record(2, attempt=1),
    ]
    run = as_series(load_trace(write(tmp_path, records, ended=False)))
    assert (run.names, run.roles[0], run.step.tolist()) == (NAMES, "backbone", [0, 1, 2])
    assert run.block_norm[:, 0].tolist() == [3.0, 4.0, 0.0, 12.0]
    np.testing.assert_array_equal(run.block_norm[:, 1], [math.nan, 1.0, math.nan, 1e300])
    assert run.guard.tolist() == [False, True, False]
    assert np.isnan(run.clip).tolist() == [False, True, False]
    np.testing.assert_array_equal(run.micro_norm, [6.5, math.nan, math.nan])
    old = load_trace(tmp_path)
    old = replace(old, steps=old.steps.drop("micro_norm"))
    assert np.isnan(as_series(old).micro_norm).tolist() == [True] * 3
    assert (run.bad_block.tolist(), run.bad_row.tolist(), run.bad_count.tolist()) == ([0], [1], [1])
    assert (run.stop_step, run.completed) == (None, None)
    profile = run.profile()
    assert profile.medians.tolist() == [3.0, 4.0, 0.0, 12.0]
    assert profile.nonfinite.tolist() == [True, False, False, False]


def test_events_tell_the_end(tmp_path: Path) -> None:
    for folder, kinds in (
        ("ended", [True]),
        ("died", [False]),
        ("resumed", [False, None]),
        ("again", [False, None, True]),
    ):
        writer = TraceWriter(tmp_path / folder / "stability", NAMES)
        writer.write_header(header())
        writer.event(Event(attempt=0, step=7, kind="guard_stop", data={}))
        for completed in kinds:
            data = {} if completed is None else {"completed": completed}
            writer.event(
                Event(attempt=0, step=8, kind="resume" if completed is None else "end", data=data)
            )
        writer.close()
        run = as_series(load_trace(tmp_path / folder))
        stopped = 7 if None not in kinds else None  # a run that was resumed went on
        assert (run.stop_step, run.completed) == (stopped, kinds[-1])


def test_rows_in_any_order_and_without_their_step(tmp_path: Path) -> None:
    extra = BlockStats(block="loose weight", grad_norm=5.0, nonfinite_count=2)
    records = [replace(r, blocks=(*r.blocks, extra)) for r in (record(0), record(1), record(2))]
    trace = load_trace(write(tmp_path, records))
    run = as_series(replace(trace, steps=trace.steps[[2, 0]], blocks=trace.blocks.reverse()))
    assert run.names == (*NAMES, "loose weight")
    assert run.roles[-1] == "other"
    assert run.step.tolist() == [0, 2]
    assert run.block_norm.tolist() == [[3.0] * 2, [4.0] * 2, [0.0] * 2, [12.0] * 2, [5.0] * 2]
    assert (run.bad_row.tolist(), run.bad_count.tolist()) == ([0, 1], [2, 2])


def test_no_rows(tmp_path: Path) -> None:
    run = as_series(empty_trace(tmp_path, header()))
    assert (run.step.size, run.block_norm.shape) == (0, (4, 0))
    assert binned(run, 100).height == 0
    assert np.isnan(run.profile().medians).all()


@given(
    st.lists(
        st.lists(some_norm.map(lambda v: math.nan if v is None else v), min_size=3, max_size=3),
        max_size=8,
    )
)
def test_median_leaves_out_what_is_not_finite(rows: list[list[float]]) -> None:
    values = np.array(rows, dtype=np.float64).reshape(-1, 3)
    for axis in (0, 1):
        lines = values.T if axis == 0 else values
        wanted = [
            statistics.median(k) if (k := [v for v in line if math.isfinite(v)]) else math.nan
            for line in lines
        ]
        np.testing.assert_allclose(median_of(values, axis=axis), wanted, rtol=1e-12)
