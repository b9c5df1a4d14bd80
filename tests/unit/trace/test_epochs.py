"""Epochs on disk: every value comes back, damage costs one line, `results.csv` stands by."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from traces import NAMES, header, record, write

from yolo_stability.core.types import EpochRecord
from yolo_stability.trace import TraceWriter, clear_trace, load_trace
from yolo_stability.trace.arrays import as_series
from yolo_stability.trace.epochs import epoch_line, epoch_row

COLUMNS = {
    "attempt": pl.UInt16,
    "epoch": pl.UInt16,
    "steps": pl.UInt32,
    "images": pl.UInt32,
    "val/box_loss": pl.Float32,
    "metrics/mAP50-95(B)": pl.Float32,
    "fitness": pl.Float32,
    "seconds": pl.Float32,
    "validated": pl.Boolean,
}
CSV = """epoch, time, train/box_loss, metrics/mAP50-95(B), val/box_loss, lr/pg0
1, 3.5, 1.5, 0, 0, 0.01
2, 7, 1.4, 0, 0, 0.01
3, 10, 1.3, 0.25, nan, 0.01
4, 14, 1.2, 0.25, nan, 0.01
5, 18, 1.2, 0.5
"""
TRAINED = {"effective": {"task": "detect"}}


def epoch(number: int, **changed: Any) -> EpochRecord:
    made = EpochRecord(
        attempt=0,
        epoch=number,
        steps=4,
        images=30,
        val={"box_loss": 1.5},
        metrics={"mAP50-95(B)": 0.25},
        fitness=0.25,
        seconds=2.0,
        validated=True,
    )
    return dataclasses.replace(made, **changed)


def written(run: Path, epochs: list[EpochRecord], **changed: Any) -> Path:
    return add(write(run, [record(0)], **changed), epochs, **changed)


def add(run: Path, epochs: list[EpochRecord], **changed: Any) -> Path:
    writer = TraceWriter(run / "stability", NAMES)
    writer.write_header(header(**changed))
    for made in epochs:
        writer.epoch(made)
    writer.close()
    assert writer.error is None
    return run


def test_columns_are_those_of_the_contract(tmp_path: Path) -> None:
    epochs = load_trace(written(tmp_path, [epoch(0), epoch(1)])).epochs
    assert epochs is not None
    assert dict(epochs.schema) == COLUMNS
    assert epochs.row(0) == (0, 0, 4, 30, 1.5, 0.25, 0.25, 2.0, True)


def test_a_run_without_epochs_has_the_fixed_columns(tmp_path: Path) -> None:
    trace = load_trace(write(tmp_path, [record(0)]))
    assert trace.epochs is not None
    assert list(trace.epochs.columns) == [name for name in COLUMNS if "/" not in name]
    assert as_series(trace).epochs.epoch.size == 0


value = st.floats(width=32) | st.sampled_from([math.nan, math.inf, -math.inf, 1e-45])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    val=st.dictionaries(st.text(max_size=12), value, max_size=3),
    metrics=st.dictionaries(st.text(max_size=12), value, max_size=3),
    fitness=st.none() | value,
    images=st.none() | st.integers(0, 2**32 - 1),
    validated=st.booleans(),
)
def test_a_line_comes_back(
    val: Any, metrics: Any, fitness: Any, images: Any, validated: bool
) -> None:
    made = epoch(3, val=val, metrics=metrics, fitness=fitness, images=images, validated=validated)
    line = epoch_line(made)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    row = epoch_row(line)
    expected = {
        **{name: getattr(made, name) for name in ("attempt", "epoch", "steps", "images")},
        **{f"val/{name}": number for name, number in val.items()},
        **{f"metrics/{name}": number for name, number in metrics.items()},
        **{name: getattr(made, name) for name in ("fitness", "seconds", "validated")},
    }
    assert repr(row) == repr(expected)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"attempt": 0}',
        epoch_line(epoch(0)).replace(b'"epoch": 0', b'"epoch": 70000'),
        epoch_line(epoch(0)).replace(b'"epoch": 0', b'"epoch": null'),
        epoch_line(epoch(0)).replace(b'"attempt": 0', b'"attempt": -1'),
        epoch_line(epoch(0)).replace(b'{"box_loss": 1.5}', b"3"),
        epoch_line(epoch(0))[:40],
    ],
)
def test_a_damaged_line_costs_itself_only(tmp_path: Path, line: bytes) -> None:
    assert epoch_row(line) is None
    file = written(tmp_path, [epoch(0)]) / "stability/epochs.jsonl"
    file.write_bytes(file.read_bytes() + line)
    add(tmp_path, [epoch(1)])
    epochs = load_trace(tmp_path).epochs
    assert epochs is not None
    assert epochs["epoch"].to_list() == [0, 1]


def test_the_last_attempt_at_an_epoch_counts(tmp_path: Path) -> None:
    bad = {"val": {"box_loss": math.nan}, "fitness": math.nan}
    again = epoch(1, attempt=1, val={"box_loss": 1.25}, metrics={})
    run = written(tmp_path, [epoch(0), epoch(1, **bad), again, epoch(2, validated=False, val={})])
    trace = load_trace(run)
    assert trace.epochs is not None
    assert trace.epochs.height == 4
    found = as_series(trace).epochs
    assert found.epoch.tolist() == [0, 1, 2]
    assert found.validated.tolist() == [True, True, False]
    assert found.steps.tolist() == [4, 4, 4]
    np.testing.assert_array_equal(found.values["val/box_loss"], [1.5, 1.25, math.nan])
    assert found.missing["val/box_loss"].tolist() == [False, False, True]
    assert found.missing["metrics/mAP50-95(B)"].tolist() == [False, True, False]


def test_a_nan_that_was_written_is_not_missing(tmp_path: Path) -> None:
    run = written(
        tmp_path, [epoch(0, val={"box_loss": math.nan}), epoch(1, val={"box_loss": math.inf})]
    )
    found = as_series(load_trace(run)).epochs
    np.testing.assert_array_equal(found.values["val/box_loss"], [math.nan, math.inf])
    assert not found.missing["val/box_loss"].any()


@pytest.mark.parametrize("version", [1, 2])
def test_without_epochs_the_table_of_ultralytics_is_read(tmp_path: Path, version: int) -> None:
    """`val=False`: zeros before the first validation and repetitions after it are none."""
    written(tmp_path, [], schema_version=version, requested={"val": False}, **TRAINED)
    (tmp_path / "results.csv").write_text(CSV)
    trace = load_trace(tmp_path)
    assert trace.epochs is not None
    assert trace.epochs["validated"].to_list() == [False, False, True, False, True]
    assert trace.epochs["seconds"].to_list() == [3.5, 3.5, 3.0, 4.0, 4.0]
    found = as_series(trace).epochs
    assert found.epoch.tolist() == [0, 1, 2, 3, 4]
    assert found.steps.tolist() == [-1] * 5
    loss, missing = found.values["val/box_loss"], found.missing["val/box_loss"]
    assert math.isnan(loss[2])
    assert missing.tolist() == [True, True, False, True, True]  # the last row is cut off
    assert found.values["metrics/mAP50-95(B)"][4] == 0.5


def test_zeros_of_a_run_that_validates_are_a_validation(tmp_path: Path) -> None:
    written(tmp_path, [], requested={}, **TRAINED)
    (tmp_path / "results.csv").write_text(CSV)
    epochs = load_trace(tmp_path).epochs
    assert epochs is not None
    assert epochs["validated"].to_list() == [True, False, True, False, True]


def test_a_table_beside_a_custom_loop_is_not_its_own(tmp_path: Path) -> None:
    written(tmp_path, [], effective={})
    (tmp_path / "results.csv").write_text(CSV)
    epochs = load_trace(tmp_path).epochs
    assert epochs is not None
    assert epochs.is_empty()


def test_recorded_epochs_win_over_the_table(tmp_path: Path) -> None:
    written(tmp_path, [epoch(0)], **TRAINED)
    (tmp_path / "results.csv").write_text(CSV)
    epochs = load_trace(tmp_path).epochs
    assert epochs is not None
    assert epochs["epoch"].to_list() == [0]


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "epoch\n-1\nnan\nx\n", "epoch,time\n1e9,3\n"])
def test_a_table_of_something_else_has_no_epochs(tmp_path: Path, text: str) -> None:
    written(tmp_path, [], schema_version=1, **TRAINED)
    (tmp_path / "results.csv").write_text(text)
    assert load_trace(tmp_path).epochs is None


def test_an_old_trace_is_cleared_with_its_epochs(tmp_path: Path) -> None:
    run = written(tmp_path, [epoch(0)])
    clear_trace(run / "stability")
    assert not (run / "stability").exists()
