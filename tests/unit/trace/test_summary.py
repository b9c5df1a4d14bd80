"""The numbers of a run, against the same numbers reckoned from plain lists."""

from __future__ import annotations

import dataclasses
import math
import statistics
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from traces import NAMES, header, record, write

from yolo_stability.core.types import BlockStats, StepRecord
from yolo_stability.trace import load_trace
from yolo_stability.trace.heat_matrix import heat_matrix
from yolo_stability.trace.summary import role_group, summarize

Norms = list[float | None]


def finite(values: list[float | None]) -> list[float]:
    return [v for v in values if v is not None and math.isfinite(v)]


def f32(norms: list[Norms]) -> list[Norms]:
    return [[None if n is None else float(np.float32(n)) for n in row] for row in norms]


some_norm = st.one_of(
    st.none(), st.floats(0, 1e6, width=32), st.sampled_from([0.0, math.nan, math.inf])
)
matrices = st.lists(st.lists(some_norm, min_size=4, max_size=4), min_size=0, max_size=14)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(norms=matrices)
def test_summary_equals_plain_reckoning(
    norms: list[Norms], tmp_path_factory: pytest.TempPathFactory
) -> None:
    norms = f32(norms)
    records = [
        record(s, row, skipped=[None, "guard", "scaler"][s % 3]) for s, row in enumerate(norms)
    ]
    summary = summarize(load_trace(write(tmp_path_factory.mktemp("run"), records)))

    totals = [float(np.float32(r.grad_norm)) for r in records]
    known = finite(list(totals))
    assert summary.steps == len(records)
    assert summary.applied == sum(r.skipped is None for r in records)
    assert summary.guard_skips == sum(r.skipped == "guard" for r in records)
    assert summary.scaler_skips == sum(r.skipped == "scaler" for r in records)
    assert summary.nonfinite_steps == sum(r.nonfinite > 0 for r in records)
    assert summary.first_norm == (known[0] if known else None)
    assert summary.max_norm == (max(known) if known else None)
    assert summary.max_step == (totals.index(max(known)) if known else None)
    assert summary.median_norm == pytest.approx(statistics.median(known) if known else None)
    clips = [r.clip_coef for r, t in zip(records, totals, strict=True) if math.isfinite(t)]
    assert summary.clipped == sum(c < 1 for c in clips if c is not None)
    assert summary.clip_saturation == (
        pytest.approx(summary.clipped / len(clips)) if clips else None
    )

    for b, block in enumerate(summary.blocks):
        column = [row[b] for row in norms]
        assert block.name == NAMES[b]
        assert block.median_norm == pytest.approx(
            statistics.median(finite(column)) if finite(column) else None
        )
        assert block.max_norm == (max(finite(column)) if finite(column) else None)
        assert block.max_step == (column.index(block.max_norm) if finite(column) else None)
        assert block.nonfinite_steps == sum(n is not None and not math.isfinite(n) for n in column)
        shares = [
            row[b] ** 2 / sum(n**2 for n in row if n is not None)
            for row in norms
            if row[b] is not None and all(n is None or math.isfinite(n) for n in row) and any(row)
        ]
        assert block.share == (
            pytest.approx(statistics.median(shares), abs=1e-9) if shares else None
        )
    ranked = [(b.nonfinite_steps, -1 if b.max_norm is None else b.max_norm) for b in summary.blocks]
    if max(ranked) > (0, -1):
        assert summary.worst is not None
        assert ranked[NAMES.index(summary.worst.name)] == max(ranked)
    else:
        assert summary.worst is None


def test_clip_norm_is_what_the_coefficients_imply(tmp_path: Path) -> None:
    records = [record(s, (100.0 + s, 1.0, 1.0, 1.0)) for s in range(5)]
    assert summarize(load_trace(write(tmp_path / "a", records))).clip_norm == 10.0
    mixed = [dataclasses.replace(r, clip_coef=0.5) for r in records]
    assert summarize(load_trace(write(tmp_path / "b", mixed))).clip_norm is None
    none = [dataclasses.replace(r, clip_coef=None) for r in records]
    summary = summarize(load_trace(write(tmp_path / "c", none)))
    assert (summary.clip_norm, summary.clip_saturation, summary.clipped) == (None, None, 0)


def test_step_skipped_for_an_overflow_is_not_clipped(tmp_path: Path) -> None:
    bad = record(1, (math.inf, 1.0, 1.0, 1.0), grad_norm=math.inf, clip_coef=0.0, skipped="scaler")
    summary = summarize(load_trace(write(tmp_path, [record(0), bad])))
    assert (summary.clipped, summary.clip_saturation, summary.scaler_skips) == (1, 1.0, 1)


def test_squares_beyond_any_float_have_shares(tmp_path: Path) -> None:
    summary = summarize(
        load_trace(write(tmp_path, [record(0, (3e200, 4e200, 0.0, None), grad_norm=5e200)]))
    )
    assert [b.share for b in summary.blocks] == pytest.approx([0.36, 0.64, 0.0, None])
    assert summary.max_norm == 5e200


def test_sampled_metrics(tmp_path: Path) -> None:
    def stats(weight: float | None, update: float | None) -> tuple[BlockStats, ...]:
        return (BlockStats(block=NAMES[0], grad_norm=1.0, weight_norm=weight, update_ratio=update),)

    data = [(2.0, 0.5), (None, None), (3.0, 0.25), (None, math.nan), (None, 1.0)]
    records = [record(s, blocks=stats(*d)) for s, d in enumerate(data)]
    block = summarize(load_trace(write(tmp_path, records))).blocks[0]
    assert (block.weight_norm, block.median_update, block.max_update) == (3.0, 0.5, 1.0)


def test_nonfinite_loss_counts(tmp_path: Path) -> None:
    summary = summarize(
        load_trace(write(tmp_path, [record(0), record(1, loss=math.nan, skipped="guard")]))
    )
    assert (summary.nonfinite_steps, summary.guard_skips, summary.applied) == (1, 1, 1)


def test_no_rows(tmp_path: Path) -> None:
    trace = load_trace(write(tmp_path, []))
    summary, matrix = summarize(trace), heat_matrix(trace)
    assert (summary.steps, summary.max_norm, summary.worst, summary.clip_saturation) == (
        0,
        None,
        None,
        None,
    )
    assert [b.name for b in summary.blocks] == list(NAMES)
    assert matrix.values.shape == (4, 0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(norms=matrices, columns=st.integers(1, 20))
def test_heat_matrix_equals_plain_pooling(
    norms: list[Norms], columns: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    norms = f32(norms)
    records = [
        record(3 * s, row, skipped=[None, "guard", "scaler"][s % 3]) for s, row in enumerate(norms)
    ]
    matrix = heat_matrix(load_trace(write(tmp_path_factory.mktemp("run"), records)), columns)

    width = max(1, math.ceil(len(records) / columns))
    bins: list[list[StepRecord]] = [records[i : i + width] for i in range(0, len(records), width)]
    assert matrix.values.shape == (4, len(bins))
    assert len(bins) <= columns
    assert matrix.edges.tolist() == [b[0].step for b in bins] + [
        records[-1].step + 1 if records else 0
    ]
    for c, members in enumerate(bins):
        assert matrix.guard[c] == any(r.skipped == "guard" for r in members)
        assert matrix.scaler[c] == any(r.skipped == "scaler" for r in members)
        assert matrix.nonfinite[c] == any(r.nonfinite for r in members)
        for shown, values in (
            (matrix.total, [r.grad_norm for r in members]),
            (matrix.loss, [r.loss for r in members]),
        ):
            assert shown[c] == pytest.approx(
                max(finite(list(values)), default=math.nan), nan_ok=True
            )
        for b in range(4):
            cells = [r.blocks[b].grad_norm for r in members]
            top = max(finite(cells), default=None)
            expected = math.nan if top is None else -math.inf if top == 0 else math.log10(top)
            assert matrix.values[b, c] == pytest.approx(expected, nan_ok=True)
            assert matrix.block_nonfinite[b, c] == any(
                n is not None and not math.isfinite(n) for n in cells
            )


def test_epochs_and_attempts_begin_where_they_do(tmp_path: Path) -> None:
    records = [record(s, attempt=int(s >= 5), epoch=[0, 0, 1, 1, 1, 1, 2][s]) for s in range(7)]
    matrix = heat_matrix(load_trace(write(tmp_path, records)))
    assert (matrix.epochs, matrix.epoch_steps, matrix.attempt_steps) == ((0, 1, 2), (0, 2, 6), (5,))


def test_long_run_is_pooled(tmp_path: Path) -> None:
    records = [record(s, (float(s + 1), 1.0, 1.0, 1.0)) for s in range(1300)]
    matrix = heat_matrix(load_trace(write(tmp_path, records)))
    assert matrix.values.shape == (4, 434)
    assert matrix.values[0, :2].tolist() == pytest.approx([math.log10(3), math.log10(6)])


def test_groups() -> None:
    roles = ("backbone", "neck", "box", "keypoints", "one2one_cls", "module", "other")
    assert [role_group(r) for r in roles] == [
        "backbone",
        "neck",
        "head",
        "head",
        "one2one head",
        "other",
        "other",
    ]
    assert len(header().blocks) == len(NAMES)
