"""The hash of a trace: what must not change it, and that everything else does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from traces import NAMES, header, noisy, record, write

from yolo_stability.core.files import replace_file
from yolo_stability.core.types import Event, StepRecord, Trace
from yolo_stability.trace import TraceWriter, empty_trace, load_trace
from yolo_stability.trace import digest as module
from yolo_stability.trace.digest import trace_digest
from yolo_stability.trace.layout import part_path
from yolo_stability.trace.schema import blocks_frame, steps_frame, to_parquet

BAD = (math.nan, math.inf, None, 12.0)


def records() -> list[StepRecord]:
    return [
        record(s, (3.0 + s, 4.0, 0.0, 12.0) if s != 5 else BAD, skipped="guard" if s == 5 else None)
        for s in range(9)
    ]


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    return load_trace(write(tmp_path_factory.mktemp("run"), records()))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), cut=st.integers(1, 8))
def test_order_and_chunks_do_not_matter(trace: Trace, seed: int, cut: int) -> None:
    rng = np.random.default_rng(seed)

    def shuffled(frame: pl.DataFrame) -> pl.DataFrame:
        rows = frame[rng.permutation(frame.height)].select(rng.permutation(frame.columns).tolist())
        return pl.concat([rows[:cut], rows[cut:]], rechunk=False)

    other = replace(trace, steps=shuffled(trace.steps), blocks=shuffled(trace.blocks))
    assert other.steps.n_chunks() == 2
    assert trace_digest(other) == trace_digest(trace)


def test_parts_time_place_and_identity_do_not_matter(trace: Trace, tmp_path: Path) -> None:
    folder = tmp_path / "stability"
    writer = TraceWriter(folder, NAMES)
    writer.write_header(
        header(
            run_id="other", started="2027-01-01T00:00:00+00:00", requested={"project": "elsewhere"}
        )
    )
    writer.event(Event(attempt=0, step=3, kind="notice", data={"text": "saved in some folder"}))
    writer.close()
    for first, last in ((0, 2), (3, 3), (4, 8)):
        part = [replace(r, seconds=r.seconds + r.step) for r in records()[first : last + 1]]
        replace_file(part_path(folder, "steps", first, last), to_parquet(steps_frame(part)))
        wide = blocks_frame(part, NAMES).cast({"grad_norm": pl.Float64} if first == 3 else {})
        replace_file(part_path(folder, "blocks", first, last), to_parquet(wide))
    other = load_trace(tmp_path)
    assert other.events.height == 1
    assert (other.steps.n_chunks(), other.blocks.schema["grad_norm"]) == (3, pl.Float64)
    assert other.steps["seconds"].to_list() != trace.steps["seconds"].to_list()
    assert trace_digest(other) == trace_digest(trace)


def test_width_spelling_and_empty_columns_do_not_matter(trace: Trace) -> None:
    wide = trace.blocks.with_columns(
        pl.col("grad_norm").cast(pl.Float64), pl.col("block").cast(pl.String)
    )
    assert trace_digest(replace(trace, blocks=wide)) == trace_digest(trace)
    assert trace.steps["amp_scale"].null_count() == trace.steps.height
    assert trace_digest(replace(trace, steps=trace.steps.drop("amp_scale"))) == trace_digest(trace)
    assert trace_digest(replace(trace, steps=trace.steps.drop("micro_norm"))) == trace_digest(
        trace
    )  # an older trace
    micro = trace.steps.with_columns(micro_norm=pl.lit(1.0, pl.Float32))
    assert trace_digest(replace(trace, steps=micro)) != trace_digest(trace)
    negative = np.frombuffer(np.uint32(0xFFC00001).tobytes(), dtype=np.float32)[0]  # another NaN
    assert math.isnan(negative)
    norms = trace.blocks["grad_norm"].to_numpy(writable=True)
    null = trace.blocks["grad_norm"].is_null()
    norms[np.isnan(norms) & ~null.to_numpy()] = negative
    column = pl.DataFrame({"grad_norm": norms, "null": null}).select(
        pl.when(~pl.col("null")).then("grad_norm")
    )
    other = trace.blocks.with_columns(column["grad_norm"])
    assert other["grad_norm"].null_count() == trace.blocks["grad_norm"].null_count() == 1
    assert trace_digest(replace(trace, blocks=other)) == trace_digest(trace)


def changed(frame: pl.DataFrame, name: str, row: int, value: object) -> pl.DataFrame:
    values = frame[name].to_list()
    assert values[row] != value
    values[row] = value
    return frame.with_columns(pl.Series(name, values, dtype=frame.schema[name]))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_other_value_is_another_run(trace: Trace, data: st.DataObject) -> None:
    table: str = data.draw(st.sampled_from(["steps", "blocks"]))
    frame: pl.DataFrame = getattr(trace, table)
    skipped = ("seconds", "block", "input_min", "input_max", "input_mean", "input_std")
    name = data.draw(st.sampled_from([n for n in frame.columns if n not in skipped]))
    row = data.draw(st.integers(0, frame.height - 1))
    old, dtype = frame[name][row], frame.schema[name]
    if dtype == pl.String:
        new: object = "scaler" if old is None else None
    elif dtype.is_integer():
        new = (old or 0) + 1
    else:
        choices = [
            None,
            math.nan,
            0.0,
            1e-45,
            np.nextafter(np.float32(old or 0), np.float32(9e9)).item(),
        ]
        new = data.draw(st.sampled_from([c for c in choices if not same(c, old)]))
    assert trace_digest(replace(trace, **{table: changed(frame, name, row, new)})) != trace_digest(
        trace
    )


def same(a: float | None, b: float | None) -> bool:
    return a == b or (a is not None and b is not None and math.isnan(a) and math.isnan(b))


def test_input_statistics_epochs_and_unknown_columns_do_not_matter(trace: Trace) -> None:
    statistics = trace.steps.with_columns(
        input_min=pl.lit(0.0, pl.Float32), input_std=pl.lit(0.5, pl.Float32), later=pl.lit(1)
    )
    other = replace(trace, steps=statistics, epochs=None)
    assert trace_digest(other) == trace_digest(trace)


@pytest.mark.parametrize("column", ["images", "objects"])
def test_images_and_objects_matter(trace: Trace, column: str) -> None:
    counts = trace.steps.with_columns(**{column: pl.lit(8, pl.UInt32)})
    assert trace_digest(replace(trace, steps=counts)) != trace_digest(trace)


def test_the_versions_have_different_digests(trace: Trace) -> None:
    old = replace(trace, header=replace(trace.header, schema_version=1))
    assert trace_digest(old) != trace_digest(trace)
    more = old.steps.with_columns(anything=pl.lit(1))
    assert trace_digest(replace(old, steps=more)) != trace_digest(old)  # version 1 counts it


def test_nan_and_the_two_infinities_are_different_runs(trace: Trace) -> None:
    values = (math.nan, math.inf, -math.inf)
    frames = [changed(trace.blocks, "grad_norm", 0, value) for value in values]
    assert len({trace_digest(replace(trace, blocks=frame)) for frame in frames}) == len(values)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: replace(t, steps=t.steps[:-1]),
        lambda t: replace(t, blocks=t.blocks[1:]),
        lambda t: replace(t, steps=t.steps.rename({"loss/box_loss": "loss/dfl_loss"})),
        lambda t: replace(t, steps=t.steps.drop("clip_coef")),
        lambda t: replace(t, blocks=t.blocks.with_columns(pl.col("block").reverse())),
        lambda t: replace(t, blocks=t.blocks.with_columns(pl.col("grad_norm").fill_null(0.0))),
        lambda t: replace(t, blocks=t.blocks.with_columns(pl.col("grad_norm").fill_nan(None))),
    ],
)
def test_other_rows_columns_and_nulls_are_another_run(
    trace: Trace, change: Callable[[Trace], Trace]
) -> None:
    assert trace_digest(change(trace)) != trace_digest(trace)


def test_slices_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = load_trace(write(tmp_path, noisy(40, 3), names=[f"model.{i} C3k2" for i in range(3)]))
    monkeypatch.setattr(module, "_SLICE", 7)
    short = trace_digest(trace)
    backwards = replace(trace, steps=trace.steps.reverse(), blocks=trace.blocks.reverse())
    assert trace_digest(backwards) == short
    assert (
        trace_digest(replace(trace, blocks=changed(trace.blocks, "update_ratio", 119, 1.0)))
        != short
    )
    monkeypatch.setattr(module, "_SLICE", 20)
    swapped = pl.concat(
        [trace.steps[20:], trace.steps[:20]]
    )  # each slice ascends, the whole does not
    assert trace_digest(replace(trace, steps=swapped)) == trace_digest(trace)


def test_empty_trace_has_a_digest(tmp_path: Path, trace: Trace) -> None:
    nothing = trace_digest(empty_trace(tmp_path, header()))
    assert len(nothing) == 64
    assert nothing == trace_digest(empty_trace(tmp_path / "other", header(run_id="x")))
    assert nothing != trace_digest(trace)
