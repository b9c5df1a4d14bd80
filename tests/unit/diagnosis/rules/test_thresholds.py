"""Threshold, severity and first possible step of each rule; one section per rule."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from odd_runs import cut
from traces import header

from yolo_stability.core.findings import Finding
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import event, healthy_run, with_rows
from yolo_stability.diagnosis.rules import RULES
from yolo_stability.trace.arrays import RunSeries

RUN = healthy_run()
STEPS = 96


def look(name: str, run: RunSeries, **known: Any) -> list[Finding]:
    return list(RULES[name]().look(DiagnosisContext(run, **known)))


def severity(name: str, run: RunSeries, **known: Any) -> str | None:
    found = look(name, run, **known)
    assert len(found) <= 1
    return found[0].severity if found else None


def onset(name: str, run: RunSeries, **known: Any) -> tuple[str, int | None, int | None] | None:
    found = look(name, run, **known)
    return (found[0].severity, found[0].first_step, found[0].last_step) if found else None


def with_blocks(norms: Any) -> RunSeries:
    """Return the run with other block norms, and the total that follows from them."""
    return replace(RUN, block_norm=norms, norm=np.sqrt((norms.astype(float) ** 2).sum(axis=0)))


def block_times(block: int, factor: float, rows: slice = slice(None)) -> RunSeries:
    norms = RUN.block_norm.copy()
    norms[block, rows] *= np.float32(factor)
    return with_blocks(norms)


# --- amp_overflow ---------------------------------------------------------------------------------


def skipping(*rows: int, scale: float = 1024.0) -> RunSeries:
    mask = np.zeros(STEPS, dtype=bool)
    mask[list(rows)] = True
    return replace(RUN, scaler=mask, amp_scale=np.full(STEPS, scale))


def test_amp_may_calibrate_and_skip_now_and_then() -> None:
    assert severity("amp_overflow", skipping(*range(24))) is None
    assert severity("amp_overflow", skipping(30, 50, 70)) is None
    assert onset("amp_overflow", skipping(40, 44, 48, 52)) == (
        "warning",
        52,
        71,
    )  # 4 of 32 are more than a tenth
    assert (
        severity("amp_overflow", skipping(*range(30, 47))) == "critical"
    )  # 17 of 32 are more than half
    assert severity("amp_overflow", skipping(*range(30, 46))) == "warning"
    assert onset("amp_overflow", with_rows(skipping(), slice(70, 96), amp_scale=0.5)) == (
        "critical",
        70,
        95,
    )
    assert severity("amp_overflow", skipping(scale=1.0)) is None


# --- clip_saturation ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clip", "length", "expected"),
    [
        (1e-7, 4, ("critical", 13, 13)),
        (1e-7, 3, None),
        (2e-6, 31, None),
        (5e-4, 32, ("warning", 41, 41)),
        (2e-3, 80, None),
    ],
)
def test_a_clip_matters_when_it_leaves_next_to_nothing(
    clip: float, length: int, expected: Any
) -> None:
    assert onset("clip_saturation", with_rows(RUN, slice(10, 10 + length), clip=clip)) == expected


def test_no_clip_at_all_is_no_saturation() -> None:
    assert severity("clip_saturation", with_rows(RUN, slice(None), clip=math.nan)) is None


# --- collapse and divergence ----------------------------------------------------------------------


def test_a_collapse_takes_five_steps_without_loss_and_gradient() -> None:
    zero = {"loss": 0.0, "norm": 0.0}
    assert onset("collapse", with_rows(RUN, slice(50, 55), **zero)) == ("critical", 54, 54)
    assert severity("collapse", with_rows(RUN, slice(50, 54), **zero)) is None
    assert (
        severity("collapse", with_rows(RUN, slice(50, 96), loss=0.0)) is None
    )  # gradients continue


def test_next_to_no_loss_is_a_collapse_where_the_gradients_went_with_it() -> None:
    """SGD at 100 times the rate with the stock clip: from 64 to 0.03 within 24 steps."""
    faint, first = float(abs(RUN.loss[0])) * 5e-4, float(np.median(RUN.norm[:8]))
    assert onset("collapse", with_rows(RUN, slice(50, 96), loss=faint, norm=first * 5e-4)) == (
        "critical",
        54,
        95,
    )
    assert (
        severity("collapse", with_rows(RUN, slice(50, 96), loss=faint)) is None
    )  # gradients continue
    assert (
        severity("collapse", with_rows(RUN, slice(50, 96), norm=first * 5e-4)) is None
    )  # the loss continues


def test_a_loss_that_falls_below_nothing_is_no_collapse() -> None:
    """The loss of YOLO26 pose holds a log-likelihood, which goes through zero when all is well."""
    falling = replace(RUN, loss=60 - 0.9 * np.arange(STEPS))
    assert falling.loss.min() < -20
    for name in RULES:
        assert look(name, falling) == []
    assert look("collapse", falling, controls=[RUN]) == []


def test_a_good_loss_is_no_trap_for_divergence() -> None:
    """Once the loss is a hundredth of its first value, a twentieth of it is no divergence."""
    loss = np.where(np.arange(STEPS) < 40, 65.0, 0.5)
    assert (
        severity(
            "divergence",
            with_rows(RUN, slice(None), loss=np.where(np.arange(STEPS) < 60, loss, 6.0)),
        )
        is None
    )
    # five times a fifth of the first loss
    assert severity(
        "divergence", with_rows(RUN, slice(None), loss=np.where(np.arange(STEPS) < 60, loss, 66.0))
    )


# The first losses of a healthy YOLOv8n at imgsz 64 (suite=remedies, control, seeds 2 and 4): hardly
# any box is matched.
SLOW_STARTS = (
    [
        15.0,
        7.6,
        118.1,
        23.0,
        115.1,
        114.1,
        113.6,
        109.6,
        99.5,
        103.8,
        94.9,
        86.1,
        80.6,
        72.6,
        65.3,
        70.0,
    ],
    [
        16.7,
        46.9,
        35.7,
        108.8,
        120.3,
        116.5,
        109.7,
        106.1,
        90.3,
        86.8,
        78.5,
        67.1,
        76.6,
        78.0,
        79.4,
        76.9,
    ],
)


@pytest.mark.parametrize("start", SLOW_STARTS)
def test_a_detector_that_matches_no_box_at_first_has_not_diverged(start: list[float]) -> None:
    loss = np.concatenate([start, np.linspace(70, 40, STEPS - len(start))])
    assert severity("divergence", with_rows(RUN, slice(None), loss=loss)) is None
    loss[40:] *= 6  # from a level that it had reached
    assert severity("divergence", with_rows(RUN, slice(None), loss=loss)) == "critical"


def test_a_loss_that_runs_away_in_the_first_steps_has_diverged() -> None:
    loss = np.minimum(10.0 * 6.0 ** np.arange(STEPS), 1e30)
    assert onset("divergence", with_rows(RUN, slice(None), loss=loss)) == ("critical", 5, STEPS - 1)


def test_close_mosaic_moves_the_level_of_the_loss_without_an_alarm() -> None:
    """Without mosaic, images contain fewer objects: loss and norm change their level."""
    for factor in (0.3, 0.6, 1.8, 3.0):
        moved = with_rows(
            RUN,
            slice(64, 96),
            loss=RUN.loss[64:] * factor,
            norm=RUN.norm[64:] * factor,
            block_norm=RUN.block_norm[:, 64:] * np.float32(factor),
        )
        for name in RULES:
            assert look(name, moved) == []


def test_a_loss_that_wavers_about_zero_is_no_alarm() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        loss = 60 * np.exp(-np.arange(300) / 30) + rng.normal(0, 2, 300)
        long = with_rows(healthy_run(300), slice(None), loss=loss)
        for name in RULES:
            assert look(name, long) == []


# --- dead_block -----------------------------------------------------------------------------------


def test_a_block_is_dead_after_32_steps_while_the_rest_learns() -> None:
    assert onset("dead_block", block_times(2, 0, slice(10, 42))) == ("warning", 41, 41)
    assert severity("dead_block", block_times(2, 0, slice(10, 41))) is None
    assert (
        severity("dead_block", with_rows(RUN, slice(None), block_norm=0.0, norm=0.0)) is None
    )  # that is a collapse
    assert severity("dead_block", block_times(2, math.nan)) is None  # frozen
    two = block_times(2, 0, slice(10, 96)).block_norm.copy()
    two[4, 20:] = 0
    found = look("dead_block", with_blocks(two))[0]
    assert (found.block, found.observed) == (RUN.names[2], 2.0)
    assert found.message.endswith("from step 10 on, as did 1 other block")


# --- exploding and spike --------------------------------------------------------------------------


def louder(factor: float, rows: slice) -> RunSeries:
    return with_rows(
        RUN,
        rows,
        norm=RUN.norm[rows] * factor,
        block_norm=RUN.block_norm[:, rows] * np.float32(factor),
    )


def test_an_explosion_lasts_and_a_spike_does_not() -> None:
    assert onset("exploding", louder(200, slice(60, 63))) == ("critical", 62, 62)
    assert severity("exploding", louder(200, slice(60, 62))) is None
    assert onset("spike", louder(200, slice(60, 62))) == ("warning", 60, 61)
    assert severity("spike", louder(20, slice(60, 62))) is None


def test_a_warm_up_may_begin_with_norms_that_fall_a_hundredfold() -> None:
    """The norm of the first steps of pose is thousands of times that of the hundredth."""
    falling = 50 + 2e5 * np.exp(-np.arange(STEPS) / 3.0)
    warm = with_rows(
        RUN, slice(None), norm=falling, block_norm=np.outer(np.full(5, 0.447), falling)
    )
    warm = with_rows(warm, slice(0, 32), lr=np.linspace(0.0, 0.005, 32))
    for name in RULES:
        assert look(name, warm) == []


def test_the_ramp_of_accumulation_makes_no_alarm() -> None:
    """From one batch a step to four: the gradients of four batches add up, and waver less."""
    share = np.clip(1 + np.arange(STEPS) // 12, 1, 4)
    ramp = replace(
        RUN,
        accumulate=share,
        norm=RUN.norm * share,
        block_norm=(RUN.block_norm * share).astype(np.float32),
    )
    for name in RULES:
        assert look(name, ramp) == []


def test_in_the_first_steps_loss_and_norm_must_leap_together() -> None:
    both = with_rows(louder(100, slice(3, 4)), slice(3, 4), loss=1e4)
    assert onset("exploding", both) == ("critical", 3, 3)
    assert severity("exploding", louder(100, slice(3, 4))) is None
    assert severity("exploding", with_rows(RUN, slice(3, 4), loss=1e4)) is None
    assert (
        severity("exploding", replace(both, step=both.step + 100)) is None
    )  # a resumed run has no first steps


def test_a_first_loss_beyond_all_is_known_at_once() -> None:
    assert onset("exploding", with_rows(RUN, slice(0, 1), loss=4e5)) == ("critical", 0, 0)
    assert severity("exploding", with_rows(RUN, slice(0, 1), loss=2e5)) is None


def test_what_is_known_first_is_not_replaced_by_what_comes_later() -> None:
    run = with_rows(louder(1e4, slice(9, 12)), slice(14, 15), norm=1e9, loss=1e5)
    assert onset("exploding", cut(run, 13)) == ("critical", 11, 11)
    assert onset("exploding", run) == ("critical", 11, 11)


def test_a_level_without_objects_that_wakes_up_is_no_spike() -> None:
    """Blocks of a level with few objects receive almost nothing, then their usual share."""
    norms = RUN.block_norm.copy()
    norms[2, 20:60] *= np.float32(1e-5)
    woken = with_blocks(norms)
    assert severity("spike", woken) is None
    norms = norms.copy()
    norms[2, 60] *= 1000
    found = look("spike", with_blocks(norms))
    assert (found[0].block, found[0].first_step) == (RUN.names[2], 60)


def test_a_spike_of_a_block_that_does_not_matter_is_left_alone() -> None:
    norms = RUN.block_norm.copy()
    norms[2] *= np.float32(1e-8)
    norms[2, 60] *= 1e4
    assert severity("spike", with_blocks(norms)) is None


@pytest.mark.parametrize("block", range(5))
def test_a_spike_names_the_block_that_leapt(block: int) -> None:
    assert look("spike", block_times(block, 1e3, slice(60, 61)))[0].block == RUN.names[block]


# --- non_finite -----------------------------------------------------------------------------------


def guarded(*rows: int) -> RunSeries:
    mask = np.zeros(STEPS, dtype=bool)
    mask[list(rows)] = True
    return replace(RUN, guard=mask, nonfinite=mask.astype(int))


def test_the_guard_has_saved_a_run_that_continues() -> None:
    assert onset("non_finite", guarded(40, 41)) == ("warning", 40, 41)
    assert severity("non_finite", guarded(90)) == "warning"
    assert severity("non_finite", guarded(91)) == "critical"
    assert severity("non_finite", guarded(95), live=True) == "warning"  # the next step may be fine
    assert severity("non_finite", guarded(*range(40, 50))) == "warning"
    assert (
        severity("non_finite", guarded(*range(40, 51))) == "critical"
    )  # more than half of 20 steps
    assert severity("non_finite", replace(guarded(40), stop_step=95)) == "critical"


def test_a_scaler_skip_and_a_null_norm_are_not_non_finite() -> None:
    assert (
        severity(
            "non_finite", replace(RUN, nonfinite=np.full(STEPS, 3), scaler=np.full(STEPS, True))
        )
        is None
    )
    assert (
        severity("non_finite", with_rows(RUN, slice(None), norm=math.nan, block_norm=math.nan))
        is None
    )
    assert onset("non_finite", with_rows(RUN, slice(7, 8), norm=math.inf)) == ("critical", 7, 7)


def test_reported_skips_stay_reported_when_a_bad_step_is_applied() -> None:
    run = replace(
        guarded(*range(20, 40)),
        nonfinite=np.isin(np.arange(STEPS), [*range(20, 40), 70]).astype(int),
    )
    assert [(f.severity, f.first_step) for f in look("non_finite", run)] == [
        ("critical", 70),
        ("critical", 20),
    ]


# --- noise and oscillation ------------------------------------------------------------------------


def test_noise_is_a_norm_that_changes_by_more_than_itself() -> None:
    rng = np.random.default_rng(0)

    def noisy(sigma: float) -> RunSeries:
        return with_rows(RUN, slice(None), norm=40 * np.exp(rng.normal(0, sigma, STEPS)))

    assert severity("noise", noisy(0.3)) is None
    found = look("noise", noisy(1.5))
    assert found[0].severity == "warning"
    assert (found[0].first_step or 0) >= 48
    assert look("noise", cut(noisy(1.5), 40)) == []


def accumulating(signal: float, summed: int = 4, steps: int = 400) -> RunSeries:
    """Steps that sum micro-batches in 64 dimensions: noise of norm 1 and a given signal."""
    rng = np.random.default_rng(0)
    gradients = rng.normal(0, 1 / 8, (steps, summed, 64))
    gradients[:, :, 0] += signal
    total = np.linalg.norm(gradients.sum(axis=1), axis=1)
    run = replace(
        healthy_run(steps), norm=total, micro_norm=np.linalg.norm(gradients[:, 0], axis=1)
    )
    return replace(run, accumulate=np.full(steps, summed), epoch=np.zeros(steps, dtype=np.int64))


def test_noise_scale_is_advice_where_it_exceeds_the_nominal_batch_beyond_doubt() -> None:
    """Noise over signal of a step is 1 / (4 signal^2): 0.25, 1 and 25."""
    assert look("noise", accumulating(1.0)) == look("noise", accumulating(0.5)) == []
    [found] = look("noise", accumulating(0.1))
    assert (found.severity, found.first_step, found.last_step) == ("info", 16 + 128 - 1, 399)
    assert found.observed is not None
    assert 2.0 < found.observed < 25.0
    assert "gradient noise scale" in found.message
    live = cut(accumulating(0.1), 143)
    assert look("noise", live) == []


def test_noise_scale_needs_steps_that_sum_and_are_sampled() -> None:
    noisy = accumulating(0.1)
    assert look("noise", replace(noisy, accumulate=np.ones(400, dtype=np.int64))) == []
    rare = np.where(np.arange(400) % 4 == 0, noisy.micro_norm, np.nan)
    assert (
        look("noise", replace(noisy, micro_norm=rare)) == []
    )  # 96 after the first 16 steps, and 128 are needed


def test_noise_that_an_epoch_without_replacement_explains_is_none() -> None:
    """Steps that sum 4 of the 8 micro-batches of an epoch, whose noise cancels."""
    rng = np.random.default_rng(0)
    one = rng.normal(0, 1 / 8, (8, 64))
    one += 0.35 * np.eye(64)[0] - one.mean(axis=0)
    gradients = one[np.array([rng.permutation(8)[:4] for _ in range(400)])]
    total = np.linalg.norm(gradients.sum(axis=1), axis=1)
    micro, four = np.linalg.norm(gradients[:, 0], axis=1), np.full(400, 4)
    run = replace(
        healthy_run(400), norm=total, micro_norm=micro, accumulate=four, epoch=np.arange(400) // 2
    )
    assert look("noise", run) == []
    [found] = look(
        "noise", replace(run, epoch=np.zeros(400, dtype=np.int64))
    )  # as if all were of one long epoch
    assert found.severity == "info"


def test_an_oscillation_reverses_ten_times_by_half_of_itself() -> None:
    def swinging(low: float, high: float, steps: int) -> RunSeries:
        return with_rows(RUN, slice(40, 40 + steps), loss=np.where(np.arange(steps) % 2, high, low))

    assert severity("oscillation", swinging(10, 30, 40)) == "warning"
    assert severity("oscillation", swinging(25, 30, 40)) is None
    assert severity("oscillation", swinging(10, 30, 8)) is None
    found = look("oscillation", swinging(10, 30, 40))[0]
    assert found.observed == pytest.approx(20 / (0.2 * RUN.loss[0]))
    assert look("oscillation", swinging(20, 60, 40))[0].observed == pytest.approx(2.0)
    assert 49 <= (found.first_step or 0) <= 53


# --- recoveries, settings, images -----------------------------------------------------------------


def recovered(kind: str, *steps: int) -> RunSeries:
    return replace(RUN, events=tuple(event(kind, step) for step in steps))


def test_the_third_recovery_is_no_accident() -> None:
    assert onset("recoveries", recovered("nan_recovery", 5, 40)) == ("warning", 5, 5)
    assert onset("recoveries", recovered("nan_recovery", 5, 40, 60)) == ("critical", 60, 60)
    assert onset("recoveries", recovered("oom_restart", 5, 40, 60, 70)) == ("warning", 5, 5)
    assert onset("recoveries", recovered("rollback", 500)) == (
        "warning",
        95,
        95,
    )  # beyond the last step recorded
    kinds = replace(RUN, events=(event("nan_recovery", 3), event("rollback", 9), event("end", 95)))
    assert [f.first_step for f in look("recoveries", kinds)] == [3, 9]


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        ({"optimizer": "auto", "lr0": 0.1}, "optimizer=auto ignored lr0=0.1 and chose MuSGD"),
        (
            {"lr0": 0.1, "momentum": 0.8},
            "optimizer=auto ignored lr0=0.1 and momentum=0.8 and chose MuSGD",
        ),
        ({"optimizer": "SGD", "lr0": 0.1}, None),
        ({"optimizer": "auto"}, None),
        ({}, None),
    ],
)
def test_settings_that_auto_ignored(requested: Any, expected: str | None) -> None:
    found = look(
        "ignored_settings",
        RUN,
        header=header(requested=requested, effective={"optimizer": "MuSGD"}),
    )
    assert [f.message for f in found] == ([expected] if expected else [])
    assert look("ignored_settings", RUN) == []


@pytest.mark.parametrize(
    ("used", "expected"), [(100, None), (99, "info"), (95, "info"), (94, "warning"), (0, "warning")]
)
def test_images_that_were_dropped(used: int, expected: str | None) -> None:
    known = header(effective={"images_listed": 100, "images": used})
    assert severity("dropped_images", RUN, header=known) == expected
    assert severity("dropped_images", RUN, header=header(effective={"images": used})) is None


# --- stall ----------------------------------------------------------------------------------------


def test_a_stall_needs_64_steps_and_a_loss_that_has_not_moved() -> None:
    flat = with_rows(RUN, slice(None), loss=50.0)
    assert severity("stall", cut(flat, 64)) == "info"
    assert severity("stall", cut(flat, 63)) is None
    assert severity("stall", replace(flat, loss=np.linspace(50, 48, STEPS))) is None
    assert (
        severity("stall", replace(flat, step=flat.step + 10)) is None
    )  # it began before the trace did


# --- update_ratio ---------------------------------------------------------------------------------


def updates(*values: float) -> RunSeries:
    run = with_rows(RUN, slice(None), update=math.nan, update_block=-1)
    for place, value in enumerate(values):
        run = with_rows(run, slice(10 * place, 10 * place + 1), update=value, update_block=3)
    return run


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.5, 0.5, 0.04), None),
        ((0.5, 0.5, 0.5), ("warning", 20, 20)),
        ((0.1, 0.7, 0.04), ("warning", 10, 10)),
        ((0.1, 1.5, 0.1), ("warning", 10, 20)),
        ((1.2, 1.5, 0.1), ("critical", 10, 20)),
        ((0.1, 0.1, 1.2), ("critical", 20, 20)),
        ((0.1, 1.5, 0.1, 1.2), ("critical", 30, 30)),
        ((0.1, 3.5), ("critical", 10, 10)),
        ((0.7, 0.1, 3.5, 0.8), ("critical", 20, 30)),
        ((math.inf,), ("critical", 0, 0)),
    ],
    ids=str,
)
def test_an_update_replaces_the_weights_at_first_twice_or_far_beyond(
    values: Any, expected: Any
) -> None:
    assert onset("update_ratio", updates(*values)) == expected
    if expected:
        assert look("update_ratio", updates(*values))[0].block == RUN.names[3]


def test_weights_are_young_again_after_a_rescue_from_the_very_start() -> None:
    run = updates(0.5, 1.5)
    later = replace(run, step=run.step + 100)
    assert severity("update_ratio", later) == "critical"
    assert severity("update_ratio", later, restarted=True) == "warning"
    assert onset("update_ratio", replace(updates(0.5), step=run.step + 100), restarted=True) is None


# --- vanishing ------------------------------------------------------------------------------------


def first_share(ratio: float, rows: slice = slice(None)) -> RunSeries:
    """A run whose first block gets this share of the head's norm at some steps."""
    norms = RUN.block_norm.copy()
    norms[0, rows] = np.hypot(norms[3, rows], norms[4, rows]) * np.float32(ratio)
    return with_blocks(norms)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (first_share(5e-5), ("critical", 3, 95)),
        (first_share(5e-4), ("critical", 15, 95)),
        (first_share(2e-3), ("warning", 15, 95)),
        (first_share(5e-3), None),
        (first_share(5e-6, slice(30, 62)), ("critical", 61, 61)),
        (first_share(5e-6, slice(30, 61)), None),
        (first_share(0.0, slice(30, 96)), ("critical", 61, 95)),
    ],
    ids=["at once", "soon", "a little", "not", "later", "not long enough", "dead later"],
)
def test_gradients_vanish_from_the_start_or_later(run: RunSeries, expected: Any) -> None:
    assert onset("vanishing", run) == expected


def test_a_warning_at_the_start_does_not_hide_what_comes_later() -> None:
    norms = first_share(2e-3).block_norm.copy()
    norms[0, 40:] *= np.float32(1e-6)
    assert onset("vanishing", with_blocks(norms)) == ("critical", 71, 95)


def test_a_frozen_first_block_and_a_resumed_run_have_no_start() -> None:
    assert severity("vanishing", block_times(0, math.nan)) is None
    resumed = first_share(5e-4)
    assert severity("vanishing", replace(resumed, step=resumed.step + 64)) is None


def test_a_block_far_below_the_control_for_long_is_a_warning() -> None:
    low = block_times(1, 1e-5, slice(20, 40))
    assert onset("vanishing", low, controls=[RUN]) == ("warning", 35, 35)
    assert look("vanishing", low, controls=[RUN])[0].block == RUN.names[1]
    assert severity("vanishing", low) is None
    assert severity("vanishing", block_times(1, 1e-5, slice(20, 35)), controls=[RUN]) is None
    assert severity("vanishing", block_times(2, 1e-5), controls=[RUN]) is None  # the neck
