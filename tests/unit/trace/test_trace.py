"""Traces on disk: reading returns what was written, and no failure reaches the training."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import random
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from traces import NAMES, header, noisy, record, write

from yolo_stability.core.errors import TraceError
from yolo_stability.core.types import BlockStats, Event, StepRecord
from yolo_stability.trace import (
    ResumePoint,
    TraceWriter,
    clear_trace,
    compaction,
    find_trace,
    load_trace,
    resume_point,
    scan_trace,
)
from yolo_stability.trace import writer as writer_module
from yolo_stability.trace.records import as_records

F32_MAX = float(np.finfo(np.float32).max)
STEP_COLUMNS = {
    "attempt": pl.UInt16,
    "step": pl.UInt32,
    "iteration": pl.UInt32,
    "epoch": pl.UInt16,
    "accumulate": pl.UInt16,
    "loss": pl.Float32,
    "loss/box_loss": pl.Float32,
    "loss/cls_loss": pl.Float32,
    "lr/weight": pl.Float32,
    "momentum": pl.Float32,
    "grad_norm": pl.Float32,
    "micro_norm": pl.Float32,
    "clip_coef": pl.Float32,
    "amp_scale": pl.Float32,
    "skipped": pl.String,
    "nonfinite": pl.UInt32,
    "seconds": pl.Float32,
    "images": pl.UInt32,
    "objects": pl.UInt32,
    "input_min": pl.Float32,
    "input_max": pl.Float32,
    "input_mean": pl.Float32,
    "input_std": pl.Float32,
}
NEW_COLUMNS = ("images", "objects", "input_min", "input_max", "input_mean", "input_std")
BLOCK_COLUMNS = {
    "attempt": pl.UInt16,
    "step": pl.UInt32,
    "block": pl.Enum(NAMES),
    "grad_norm": pl.Float32,
    "nonfinite": pl.UInt32,
    "weight_norm": pl.Float32,
    "update_ratio": pl.Float32,
}


def parts(run: Path, table: str) -> list[str]:
    return sorted(f.name for f in (run / "stability/trace").glob(f"{table}-*.parquet"))


def same(read: Any, written: Any) -> bool:
    """Equality through float32 (or exactly, where a column became float64)."""
    if written is None or isinstance(written, str | int):
        return bool(read == written)
    if read is None:
        return False
    if math.isnan(written):
        return math.isnan(read)
    with np.errstate(over="ignore"):
        return read in (written, float(np.float32(written)))


def step_row(r: StepRecord, loss_names: list[str], lr_names: list[str]) -> dict[str, Any]:
    plain = (
        "attempt",
        "step",
        "iteration",
        "epoch",
        "accumulate",
        "loss",
        "momentum",
        "grad_norm",
        "clip_coef",
    )
    row = {
        k: getattr(r, k)
        for k in (*plain, "micro_norm", "amp_scale", "skipped", "nonfinite", "seconds")
    }
    row |= {k: getattr(r, k) for k in NEW_COLUMNS}
    row |= {f"loss/{n}": r.loss_items.get(n) for n in loss_names}
    return row | {f"lr/{n}": r.lr_by_group.get(n) for n in lr_names}


# --- round trip -----------------------------------------------------------------------------------

any_float = st.one_of(
    st.none(),
    st.floats(width=32),
    st.sampled_from([0.0, math.nan, math.inf, -math.inf, F32_MAX, 3e-45]),
)
any_norm = st.one_of(any_float, st.sampled_from([1e39, 1e300, 4e38]))
number = st.floats(width=32)


@st.composite
def records(draw: st.DrawFn) -> list[StepRecord]:
    gaps = draw(st.lists(st.integers(1, 5), min_size=0, max_size=12))
    result, step, attempt = [], draw(st.integers(0, 3)) - 1, 0
    for gap in gaps:
        step += gap
        attempt += draw(st.integers(0, 4)) == 4
        result.append(
            StepRecord(
                attempt=attempt,
                step=step,
                iteration=draw(st.integers(0, 2**32 - 1)),
                epoch=draw(st.integers(0, 2**16 - 1)),
                accumulate=draw(st.integers(0, 64)),
                loss=draw(number),
                loss_items=draw(
                    st.dictionaries(st.sampled_from(["box", "cls", "dfl", "kpt/é"]), number)
                ),
                lr_by_group=draw(st.dictionaries(st.sampled_from(["weight", "bias"]), number)),
                momentum=draw(any_float),
                grad_norm=draw(any_norm),
                clip_coef=draw(any_float),
                amp_scale=draw(any_float),
                skipped=draw(st.sampled_from([None, "guard", "scaler"])),
                nonfinite=draw(st.integers(0, 2**32 - 1)),
                seconds=draw(number),
                micro_norm=draw(any_float),
                images=draw(st.none() | st.integers(0, 2**32 - 1)),
                objects=draw(st.none() | st.integers(0, 2**32 - 1)),
                **{name: draw(any_float) for name in NEW_COLUMNS[2:]},
                blocks=tuple(
                    BlockStats(
                        block=name,
                        grad_norm=draw(any_norm),
                        nonfinite_count=draw(st.integers(0, 2**32 - 1)),
                        weight_norm=draw(any_float),
                        update_ratio=draw(any_float),
                    )
                    for name in NAMES[: draw(st.integers(0, len(NAMES)))]
                ),
            )
        )
    return result


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=records(), cuts=st.sets(st.integers(0, 12)), merges=st.sets(st.integers(0, 12)))
def test_rows_read_are_the_records_written(
    data: list[StepRecord],
    cuts: set[int],
    merges: set[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    run = tmp_path_factory.mktemp("run")
    writer = TraceWriter(run / "stability", NAMES, flush_seconds=60)
    writer.write_header(header())
    for i, r in enumerate(data):
        writer.append(r)
        if i in merges:
            writer.compact(wait=True)
        elif i in cuts:
            writer._flush()
    writer.close()
    assert writer.error is None

    trace = load_trace(run)
    loss_names = list(dict.fromkeys(n for r in data for n in r.loss_items))
    lr_names = list(dict.fromkeys(n for r in data for n in r.lr_by_group))
    rows = trace.steps.to_dicts()
    assert len(rows) == len(data)
    for row, r in zip(rows, data, strict=True):
        expected = step_row(r, loss_names, lr_names)
        assert row.keys() == expected.keys()
        assert all(same(row[k], v) for k, v in expected.items()), (row, expected)
    written = [(r, s) for r in data for s in r.blocks]
    assert trace.blocks.height == len(written)
    for row, (r, s) in zip(trace.blocks.to_dicts(), written, strict=True):
        assert (row["attempt"], row["step"], row["block"]) == (r.attempt, r.step, s.block)
        assert row["nonfinite"] == s.nonfinite_count
        assert all(
            same(row[k], getattr(s, k)) for k in ("grad_norm", "weight_norm", "update_ratio")
        )


def test_columns_are_those_of_the_contract(tmp_path: Path) -> None:
    trace = load_trace(write(tmp_path, [record(0), record(1)]))
    assert list(trace.steps.schema.items()) == list(STEP_COLUMNS.items())
    assert list(trace.blocks.schema.items()) == list(BLOCK_COLUMNS.items())
    assert trace.header == header()
    assert trace.path == tmp_path / "stability"


def test_a_trace_of_version_1_gets_no_columns_of_version_2(tmp_path: Path) -> None:
    steps = [record(s, images=8, objects=20, input_min=0.0, attempt=s // 2) for s in range(4)]
    write(tmp_path, steps[:2], schema_version=1)
    trace = load_trace(write(tmp_path, steps[2:], schema_version=1))
    assert trace.steps["attempt"].to_list() == [0, 0, 1, 1]
    assert not set(NEW_COLUMNS) & set(trace.steps.columns)
    for part in (tmp_path / "stability/trace").glob("steps-*.parquet"):
        assert not set(NEW_COLUMNS) & set(pl.read_parquet_schema(part))
    assert not set(NEW_COLUMNS) & set(scan_trace(tmp_path, "steps").collect_schema().names())
    assert trace.epochs is None
    assert not (tmp_path / "stability/epochs.jsonl").exists()


def test_a_record_comes_back_from_a_trace(tmp_path: Path) -> None:
    new = {"images": 8, "objects": 0, "input_min": 0.0, "input_max": 1.0}
    written = [record(s, **new, micro_norm=0.5) for s in range(3)]
    again = list(as_records(load_trace(write(tmp_path, written))))
    for before, after in zip(written, again, strict=True):
        for name in (*NEW_COLUMNS, "micro_norm", "step", "loss_items"):
            assert getattr(after, name) == getattr(before, name)


def test_norm_beyond_float32_is_kept_as_float64(tmp_path: Path) -> None:
    run = write(
        tmp_path, [record(0), record(1, (1e200, 1.0, None, 1.0), grad_norm=1e200), record(2)]
    )
    trace = load_trace(run)
    assert trace.steps.schema["grad_norm"] == pl.Float64
    assert trace.steps["grad_norm"].to_list() == [13.0, 1e200, 13.0]
    assert trace.blocks.filter(step=1)["grad_norm"].to_list() == [1e200, 1.0, None, 1.0]
    assert trace.steps.schema["loss"] == pl.Float32
    assert scan_trace(run, "steps").select("grad_norm").collect()["grad_norm"].to_list() == [
        13.0,
        1e200,
        13.0,
    ]


def test_infinite_norm_stays_float32(tmp_path: Path) -> None:
    trace = load_trace(
        write(tmp_path, [record(0, (math.inf, 1.0, 1.0, math.nan), grad_norm=math.inf)])
    )
    assert trace.steps.schema["grad_norm"] == pl.Float32
    assert trace.blocks["nonfinite"].to_list() == [1, 0, 0, 1]


def test_column_that_appears_late_is_null_before(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path / "stability", NAMES, flush_seconds=60)
    writer.write_header(header())
    writer.append(record(0, loss_items={}))
    writer._flush()
    writer.append(record(1, loss_items={"pose_loss": 2.0}))
    writer.close()
    assert load_trace(tmp_path).steps["loss/pose_loss"].to_list() == [None, 2.0]


def test_part_without_micro_norm_reads_as_null(tmp_path: Path) -> None:
    """Traces from before that column exists, and those of a run that a newer version resumed."""
    run = write(tmp_path, [record(0), record(1)])
    [old] = (run / "stability/trace").glob("steps-*.parquet")
    pl.read_parquet(old).drop("micro_norm").write_parquet(old)
    assert load_trace(run).steps["micro_norm"].to_list() == [None, None]
    write(tmp_path, [record(2, micro_norm=5.0)])
    trace = load_trace(run)
    assert trace.steps["micro_norm"].to_list() == [None, None, 5.0]
    assert trace.steps["micro_norm"].dtype == pl.Float32
    assert scan_trace(run, "steps").collect().equals(trace.steps)


def test_block_the_header_does_not_know_comes_last(tmp_path: Path) -> None:
    names = ("new", *NAMES[:3])
    trace = load_trace(write(tmp_path, [record(0, names=names), record(1)]))
    assert trace.blocks.schema["block"] == pl.Enum([*NAMES, "new"])
    assert trace.blocks["block"].to_list() == [*NAMES[:3], "new", *NAMES]
    scanned = scan_trace(tmp_path, "blocks").collect()
    assert scanned.sort("step", "block").equals(trace.blocks)


def test_scan_gives_what_load_gives(tmp_path: Path) -> None:
    run = write(tmp_path, [record(s, attempt=s // 5) for s in range(9)])
    trace = load_trace(run)
    assert scan_trace(run, "steps").collect().equals(trace.steps)
    assert scan_trace(run, "blocks").collect().equals(trace.blocks)


def test_no_rows_yet(tmp_path: Path) -> None:
    trace = load_trace(write(tmp_path, []))
    fixed = {k: v for k, v in STEP_COLUMNS.items() if "/" not in k}
    assert trace.steps.is_empty()
    assert dict(trace.steps.schema) == fixed
    assert dict(trace.blocks.schema) == BLOCK_COLUMNS
    assert trace.events.columns == ["attempt", "step", "kind", "block", "data"]
    assert resume_point(tmp_path / "stability") == ResumePoint(attempt=0, step=-1, iteration=-1)
    assert resume_point(tmp_path / "elsewhere") is None


def test_size_on_noisy_values(tmp_path: Path) -> None:
    data = noisy(4000, 25)
    run = write(tmp_path, data, names=[s.block for s in data[0].blocks])
    size = sum(f.stat().st_size for f in (run / "stability/trace").iterdir())
    assert size / len(data) <= 200
    assert load_trace(run).blocks.height == 4000 * 25


# --- header and events ----------------------------------------------------------------------------


def test_header_is_strict_json(tmp_path: Path) -> None:
    odd = {
        "path": Path("a/b"),
        "nan": math.nan,
        "inf": -math.inf,
        "np": np.float32(0.5),
        "set": {2, 1},
        3: (1, None),
    }
    run = write(tmp_path, [], requested=odd, effective={"lr": np.array([1.0, math.inf])})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    data = json.loads((run / "stability/header.json").read_text(), parse_constant=refuse)
    assert data["requested"] == {
        "path": "a/b",
        "nan": "NaN",
        "inf": "-Infinity",
        "np": 0.5,
        "set": [1, 2],
        "3": [1, None],
    }
    assert data["effective"] == {"lr": [1.0, "Infinity"]}
    assert load_trace(run).header.blocks == header().blocks


def test_newer_schema_says_upgrade(tmp_path: Path) -> None:
    write(tmp_path, [], schema_version=99)
    with pytest.raises(TraceError, match=r"newer yolo_stability .*99.*upgrade"):
        load_trace(tmp_path)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"null", b'{"schema_version": 1}', b'{"schema_version": "1"}', b"\xff"],
)
def test_damaged_header(tmp_path: Path, text: bytes) -> None:
    write(tmp_path, [record(0)])
    (tmp_path / "stability/header.json").write_bytes(text)
    with pytest.raises(TraceError, match=r"header.json' is damaged"):
        load_trace(tmp_path)


@settings(
    max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    replaced=st.dictionaries(
        st.sampled_from([f.name for f in dataclasses.fields(header())]),
        st.recursive(
            st.none() | st.integers() | st.text(),
            lambda s: st.lists(s) | st.dictionaries(st.text(), s),
        ),
    )
)
def test_no_header_raises_anything_but_our_error(tmp_path: Path, replaced: dict[str, Any]) -> None:
    write(tmp_path, [])
    file = tmp_path / "stability/header.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **replaced}))
    with suppress(TraceError):
        load_trace(tmp_path)


def test_events_are_on_disk_at_once(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path / "stability", NAMES)
    writer.write_header(header())
    writer.event(
        Event(
            attempt=0,
            step=3,
            kind="guard_skip",
            block=NAMES[1],
            data={"norm": math.nan, "p": Path("x")},
        )
    )
    events = load_trace(tmp_path).events
    assert events.to_dicts() == [
        {
            "attempt": 0,
            "step": 3,
            "kind": "guard_skip",
            "block": NAMES[1],
            "data": '{"norm": "NaN", "p": "x"}',
        }
    ]
    writer.close()


def test_cut_event_costs_only_itself(tmp_path: Path) -> None:
    write(tmp_path, [record(0)], ended=False)
    file = tmp_path / "stability/events.jsonl"
    first = TraceWriter(tmp_path / "stability", NAMES)
    for step in range(2):
        first.event(Event(attempt=0, step=step, kind="notice"))
    file.write_bytes(file.read_bytes()[:-5])
    assert load_trace(tmp_path).events["step"].to_list() == [0]
    first.event(Event(attempt=1, step=2, kind="resume"))
    assert load_trace(tmp_path).events["step"].to_list() == [0, 2]


def test_causes_in_old_events_have_their_names_of_today(tmp_path: Path) -> None:
    writer = TraceWriter(write(tmp_path, [record(0)], ended=False) / "stability", NAMES)
    data = {"cause": "normalisation", "why": "normalisation", "remedy": "restart"}
    writer.event(Event(attempt=0, step=0, kind="rescue", data=data))
    (text,) = load_trace(tmp_path).events["data"]
    assert json.loads(text) == {**data, "cause": "normalization"}


@settings(
    max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    junk=st.binary()
    | st.text().map(str.encode)
    | st.from_regex(rb'\{"attempt": .{0,9}, "step": .{0,9}\}')
)
def test_no_event_file_raises(tmp_path: Path, junk: bytes) -> None:
    write(tmp_path, [])
    (tmp_path / "stability/events.jsonl").write_bytes(junk)
    assert load_trace(tmp_path).events.width == 5


# --- finding a trace ------------------------------------------------------------------------------


def test_run_folder_and_stability_folder_are_the_same(tmp_path: Path) -> None:
    run = write(tmp_path / "train", [record(0)])
    assert find_trace(run) == find_trace(str(run / "stability")) == run / "stability"


def test_missing_trace_names_the_runs_nearby(tmp_path: Path) -> None:
    write(tmp_path / "train2", [])
    with pytest.raises(TraceError, match=r"does not exist .*train2"):
        load_trace(tmp_path / "train3")
    (tmp_path / "plain").mkdir()
    with pytest.raises(TraceError, match=r"not a run with a trace .*train2"):
        load_trace(tmp_path / "plain")
    with pytest.raises(TraceError, match="train2"):
        load_trace(tmp_path)
    weights = tmp_path / "train2/weights"
    weights.mkdir()
    with pytest.raises(TraceError, match="train2"):
        load_trace(weights / "last.pt")


def test_missing_trace_far_from_any_run(tmp_path: Path) -> None:
    place = tmp_path / "a/b/c"
    place.mkdir(parents=True)
    with pytest.raises(TraceError, match="yolo-stability train"):
        load_trace(place)


def test_killed_start_has_no_header(tmp_path: Path) -> None:
    write(tmp_path, [record(0)])
    (tmp_path / "stability/header.json").unlink()
    with pytest.raises(TraceError, match=r"has no header.json.*killed"):
        load_trace(tmp_path)


# --- resume and replace ---------------------------------------------------------------------------


def test_resume_continues_with_the_next_attempt(tmp_path: Path) -> None:
    folder = tmp_path / "stability"
    write(tmp_path, [record(s) for s in range(3)])
    assert resume_point(folder) == ResumePoint(attempt=0, step=2, iteration=4)
    write(tmp_path, [record(s, attempt=1) for s in range(3, 6)])
    assert resume_point(folder) == ResumePoint(attempt=1, step=5, iteration=10)
    steps = load_trace(tmp_path).steps
    assert steps.select("attempt", "step").rows() == [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 3),
        (1, 4),
        (1, 5),
    ]
    assert parts(tmp_path, "steps") == ["steps-0000000-0000005.parquet"]


def test_resume_of_a_run_that_was_killed_before_its_first_row(tmp_path: Path) -> None:
    """Its events record it, so the next session is another attempt; nothing of it is removed."""
    folder = tmp_path / "stability"
    write(tmp_path, [record(s) for s in range(3)])
    with (folder / "events.jsonl").open("ab") as file:
        file.write(
            b'{"attempt": 4, "step": 3, "kind": "resume", "block": null, "data": {}}\n'
            b'{"attempt": 9, "st'
        )
    assert resume_point(folder) == ResumePoint(attempt=4, step=2, iteration=4)
    for part in (folder / "trace").iterdir():
        part.unlink()
    assert resume_point(folder) == ResumePoint(attempt=4, step=-1, iteration=-1)


def test_clear_removes_ours_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, [record(0)])
    folder = tmp_path / "stability"
    (folder / "incidents/step-000003").mkdir(parents=True)
    (folder / "incidents/step-000003/batch.pt").write_text("x")
    for name in (
        "events.jsonl",
        "healthy.pt",
        "gradient_norms.png",
        "notes.txt",
        "trace/mine.parquet",
    ):
        (folder / name).write_text("x")
    clear_trace(folder)
    left = sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())
    assert left == ["notes.txt", "trace/mine.parquet"]
    (folder / "notes.txt").unlink()
    (folder / "trace/mine.parquet").unlink()
    clear_trace(folder)
    assert not folder.exists()
    clear_trace(folder)


def test_a_trace_that_cannot_be_removed_is_told_with_the_option_of_the_caller(
    tmp_path: Path,
) -> None:
    (tmp_path / "header.json").mkdir()
    with pytest.raises(
        TraceError, match=r"cannot be removed .* choose another `name=`, or remove it\."
    ):
        clear_trace(tmp_path)
    with pytest.raises(TraceError, match=r"choose another `out=`, or remove it\."):
        clear_trace(tmp_path, option="out")


@pytest.mark.parametrize("late", [0, 1])
def test_repeated_or_earlier_step_is_left_out_with_a_warning(tmp_path: Path, late: int) -> None:
    """Each case on its own: only the first warning is kept, and reading removes duplicate rows."""
    writer = TraceWriter(tmp_path / "stability", NAMES)
    writer.write_header(header())
    for step in (0, 1, late, 2):
        writer.append(record(step))
    writer.close()
    assert writer.error == (
        f"Telemetry skipped step {late}: it came after step 1, and steps never repeat."
    )
    [file] = (tmp_path / "stability/trace").glob("steps-*.parquet")
    assert pl.read_parquet(file)["step"].to_list() == [0, 1, 2]


# --- trouble --------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["header", "part", "merge", "event"])
def test_full_disk_stops_telemetry_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    writer = TraceWriter(tmp_path / "stability", NAMES, flush_seconds=60)
    writer.write_header(header())
    for step in range(4):
        writer.append(record(step))
        writer._flush()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "x")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync" if when == "merge" else "replace", full)
        if when == "header":
            writer.write_header(header(seed=7))
        elif when == "merge":
            writer.compact(wait=True)
        elif when == "part":
            writer.append(record(4))
            writer._flush()
        else:
            patch.setattr(Path, "open", full)
            writer.event(Event(attempt=0, step=0, kind="notice"))
    assert "Telemetry stopped after step 3: No space left on device (x)" in str(writer.error)
    writer.append(record(9))
    writer.event(Event(attempt=0, step=0, kind="notice"))
    writer.compact(wait=True)
    writer.close()
    trace = load_trace(tmp_path)
    assert trace.steps["step"].to_list() == [0, 1, 2, 3]
    assert trace.header.seed == 0
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_disk_that_does_not_answer_stops_telemetry_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that never returns holds neither the training nor its end up."""
    answers, waits = threading.Event(), threading.Event()
    replace = compaction.replace_file

    def hang(*args: Any, **kwargs: Any) -> None:
        waits.set()
        answers.wait(30)
        replace(*args, **kwargs)

    monkeypatch.setattr(compaction, "replace_file", hang)
    monkeypatch.setattr(writer_module, "_JOIN_SECONDS", 0.05)
    monkeypatch.setattr(writer_module, "_PATIENCE", 0.05)
    writer = TraceWriter(tmp_path / "stability", NAMES, flush_seconds=0.01)
    writer.write_header(header())
    writer.append(record(0))
    assert waits.wait(30)
    writer.append(record(1))
    writer.close()
    assert (
        writer.error
        == "Telemetry stopped: the disk has not responded for 0.05 s; the training continues."
    )
    answers.set()
    assert writer._thread is not None
    writer._thread.join(30)
    assert load_trace(tmp_path).steps["step"].to_list() == [
        0
    ]  # the write that hung was whole in the end


def test_half_written_part_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write(tmp_path, [record(0)])
    before = {f.name: f.read_bytes() for f in (run / "stability/trace").iterdir()}
    writer = TraceWriter(run / "stability", NAMES, flush_seconds=60)
    opened = Path.open

    class Short:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> Short:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, content: bytes) -> None:
            self.file.write(content[:7])
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda self, mode="r", *a, **k: Short(opened(self, mode)))
    writer.append(record(1))
    writer.close()
    monkeypatch.undo()
    assert "No space left" in str(writer.error)
    assert {f.name: f.read_bytes() for f in (run / "stability/trace").iterdir()} == before


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "stability").write_text("a file")
    writer = TraceWriter(tmp_path / "stability", NAMES)
    writer.write_header(header())
    writer.append(record(0))
    writer.event(Event(attempt=0, step=0, kind="notice"))
    writer.close()
    assert str(writer.error).startswith("Telemetry stopped: ")


def test_an_interrupted_flush_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C during a write in the caller's thread: closing writes again, without duplicates."""
    writer = TraceWriter(tmp_path / "stability", NAMES, flush_seconds=60)
    writer.write_header(header())
    for step in range(4):
        writer.append(record(step))
    with monkeypatch.context() as patch:
        patch.setattr(writer._steps, "write", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            writer._flush()
    writer.append(record(4))
    writer.close()
    trace = load_trace(tmp_path)
    assert trace.steps["step"].to_list() == [0, 1, 2, 3, 4]
    assert trace.blocks.height == 5 * len(NAMES)


def test_value_of_a_wrong_type_stops_telemetry_only(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path / "stability", NAMES)
    writer.write_header(header())
    writer.append(record(0, loss="high"))
    writer.close()
    assert "Telemetry stopped" in str(writer.error)
    assert load_trace(tmp_path).steps.is_empty()


def test_numbers_beyond_the_columns_are_capped(tmp_path: Path) -> None:
    trace = load_trace(write(tmp_path, [record(0, epoch=70_000, nonfinite=2**33, iteration=-1)]))
    assert trace.steps.select("epoch", "nonfinite", "iteration").row(0) == (2**16 - 1, 2**32 - 1, 0)


def test_close_is_idempotent_and_ends_the_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    writer = TraceWriter(tmp_path / "stability", NAMES)
    assert set(threading.enumerate()) == before
    writer.write_header(header())
    writer.append(record(0))
    assert len(set(threading.enumerate()) - before) == 1
    writer.close()
    writer.close()
    writer.append(record(1))
    assert set(threading.enumerate()) == before
    assert load_trace(tmp_path).steps.height == 1


def test_rows_reach_the_disk_while_the_writer_is_open(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path / "stability", NAMES, flush_seconds=0.05)
    writer.write_header(header())
    writer.append(record(0))
    deadline = time.monotonic() + 20
    while load_trace(tmp_path).steps.is_empty() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert load_trace(tmp_path).steps.height == 1
    writer.close()


def test_global_random_state_is_untouched(tmp_path: Path) -> None:
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global state is what it is about
    load_trace(write(tmp_path, [record(s) for s in range(5)]))
    assert random.getstate() == python
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), numpy, strict=True))  # noqa: NPY002


def test_forked_child_does_nothing(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path / "stability", NAMES, flush_seconds=60)
    writer.write_header(header())
    writer.append(record(0))
    pid = os.fork()
    if pid == 0:
        writer.append(record(1))
        writer.close()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert not parts(tmp_path, "steps")
    writer.close()
    assert load_trace(tmp_path).steps["step"].to_list() == [0]


def test_import_is_cheap() -> None:
    code = (
        "import sys, yolo_stability.trace; "
        "print(any(m in sys.modules for m in ('polars', 'numpy', 'torch')))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "False\n"
    )
