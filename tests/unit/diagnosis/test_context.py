"""What a context derives from a run, against plain reckoning."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from odd_runs import disturbed_runs

from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import healthy_run, with_rows
from yolo_stability.trace.arrays import RunSeries

RUN = healthy_run()


def scaled(run: RunSeries, block: int, factor: float, rows: slice = slice(None)) -> RunSeries:
    norms = run.block_norm.copy()
    norms[block, rows] *= np.float32(factor)
    return replace(run, block_norm=norms)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(run=disturbed_runs(most=160))
def test_levels_equal_plain_ones(run: RunSeries) -> None:
    context, loss = DiagnosisContext(run), run.loss.tolist()
    finite = [v for v in loss if math.isfinite(v)]
    assert context.first_loss == pytest.approx(abs(finite[0]) if finite else math.nan, nan_ok=True)
    levels: list[float] = []
    for step in range(run.step.size):
        before = [abs(v) for v in loss[:step] if math.isfinite(v)]
        level = min(levels) if levels else max(before, default=math.nan)
        assert context.lowest_loss[step] == pytest.approx(level, nan_ok=True)
        last = [v for v in loss[max(0, step - 7) : step + 1] if math.isfinite(v)]
        if len(last) == 8:
            levels.append(abs(statistics.median(last)))
        past = [float(v) for v in run.norm[max(0, step - 128) : step] if math.isfinite(v)]
        usual = statistics.median(past) if len(past) >= 8 else math.nan
        assert context.usual_norm[step] == pytest.approx(usual, nan_ok=True)
        bad = not math.isfinite(loss[step]) or math.isinf(run.norm[step]) or run.nonfinite[step] > 0
        assert bool(context.bad[step]) == bad


def test_a_null_norm_is_no_harm() -> None:
    assert not DiagnosisContext(with_rows(RUN, slice(None), norm=np.nan)).bad.any()


def test_a_block_leaps_over_its_last_eight_norms() -> None:
    jump = DiagnosisContext(scaled(RUN, 2, 1000.0, slice(50, 51))).jump
    own = [float(v) for v in RUN.block_norm[2]]
    assert np.isnan(jump[:, :8]).all()
    assert jump[2, 50] == pytest.approx(1000 * own[50] / max(own[42:50]), rel=1e-5)
    assert jump[2, 51] < 0.01


def test_the_depth_is_the_first_backbone_block_over_the_whole_head() -> None:
    first, box, cls = (RUN.block_norm[i].astype(float) for i in (0, 3, 4))
    np.testing.assert_allclose(DiagnosisContext(RUN).depth, first / np.sqrt(box**2 + cls**2))
    assert np.isnan(
        DiagnosisContext(
            replace(RUN, roles=("backbone", "backbone", "neck", "other", "other"))
        ).depth
    ).all()
    frozen = scaled(RUN, 0, math.nan)
    assert np.isnan(DiagnosisContext(frozen).depth).all()
    wide = replace(RUN, block_norm=np.full_like(RUN.block_norm, 1e300, dtype=np.float64))
    np.testing.assert_allclose(DiagnosisContext(wide).depth, 1 / math.sqrt(2))


def test_a_control_is_looked_up_by_its_steps() -> None:
    control = replace(RUN, step=RUN.step * 2)
    own = healthy_run(400)
    context = DiagnosisContext(own, controls=[control, healthy_run(0)])
    assert len(context.controls) == 1
    (places,) = context.places
    expected = [
        max((i for i, s in enumerate(control.step) if s <= step), default=0) for step in own.step
    ]
    assert places.tolist() == expected
    ratio = context.block_ratio(1, slice(None))
    np.testing.assert_allclose(ratio, own.block_norm[1] / control.block_norm[1, places], rtol=1e-6)
    assert np.isnan(
        DiagnosisContext(replace(own, names=("x", *own.names[1:])), controls=[control]).block_ratio(
            0, slice(3)
        )
    ).all()


def test_what_is_expected_is_the_median_of_the_smoothed_controls() -> None:
    controls = [with_rows(RUN, slice(30, 31), norm=norm) for norm in (0.0, 1e9, 50.0)]
    context = DiagnosisContext(RUN, controls=controls)
    for step in (0, 3, 30, 60, 95):
        smooth = [statistics.median(c.norm[max(0, step - 4) : step + 5].tolist()) for c in controls]
        assert context.expected_norm[step] == pytest.approx(statistics.median(smooth))
    assert np.isnan(
        DiagnosisContext(RUN, controls=[RUN]).expected_norm
    ).all()  # a run is not its own control


def bad_at(row: int, *blocks: int) -> RunSeries:
    run = with_rows(RUN, slice(row, 96), nonfinite=1, norm=np.nan, block_norm=np.nan)
    return replace(
        run,
        bad_block=np.array(blocks),
        bad_row=np.full(len(blocks), row),
        bad_count=np.ones(len(blocks), dtype=int),
    )


@pytest.mark.parametrize(
    ("run", "row", "block"),
    [
        (bad_at(50, 0, 1, 2), 50, 2),
        (bad_at(50, 1), 50, 1),
        (scaled(bad_at(50, 0, 1, 2, 3, 4), 3, 30.0, slice(49, 50)), 50, 3),
        (scaled(RUN, 1, 100.0, slice(40, 41)), 40, 1),
        (scaled(RUN, 4, 1e-4, slice(40, 41)), 40, 4),
    ],
    ids=[
        "deepest of some",
        "the only one",
        "all: the last odd one",
        "far above its past",
        "far below its past",
    ],
)
def test_trouble_began_in_a_block(run: RunSeries, row: int, block: int) -> None:
    assert DiagnosisContext(run).block_of(row) == RUN.names[block]


def test_trouble_is_nowhere_if_nothing_is_known() -> None:
    unknown = with_rows(RUN, slice(None), norm=np.nan, block_norm=np.nan)
    assert DiagnosisContext(unknown).block_of(50) is None
    assert DiagnosisContext(healthy_run(0)).step_at(-1) == 0


def test_a_block_is_held_against_the_control_rather_than_its_past() -> None:
    always = scaled(RUN, 2, 500.0)
    assert DiagnosisContext(always, controls=[RUN]).block_of(60) == RUN.names[2]


def test_a_loss_without_matched_boxes_is_no_level_that_was_reached() -> None:
    run = with_rows(healthy_run(), slice(0, 40), loss=0.3)
    few = np.where(run.step < 40, 0.01, 2.0)
    matched = np.full(run.step.size, 2.0)
    levels = [
        DiagnosisContext(replace(run, losses={"box_loss": boxes})).lowest_loss[50]
        for boxes in (few, matched)
    ]
    assert levels[0] > 10 * levels[1]
    assert levels[1] == pytest.approx(0.3)
