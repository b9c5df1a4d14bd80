"""Verdicts about synthetic runs, each with the expected rule, step and block."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from traces import NAMES, header, record, write

from yolo_stability.benchmarks.verdict import RunVerdict, classify_run
from yolo_stability.core.types import Event, StepRecord
from yolo_stability.trace import TraceWriter, load_trace
from yolo_stability.trace.arrays import RunSeries, as_series

STEPS = 60
BASE = (3.0, 4.0, 2.0, 12.0)
Change = Callable[[int, StepRecord], StepRecord]


def healthy(seed: int = 0, steps: int = STEPS) -> list[StepRecord]:
    """A run whose norms and losses wobble by a factor of at most 2."""
    rng = np.random.default_rng(seed)
    wobble = np.exp(rng.uniform(-0.35, 0.35, (steps, 4)))
    return [
        record(s, [b * w for b, w in zip(BASE, wobble[s], strict=True)], loss=8.0 - 0.05 * s)
        for s in range(steps)
    ]


def fresh(folder: Path) -> Path:
    """A new empty folder on every call."""
    return Path(tempfile.mkdtemp(dir=folder))


def scaled(r: StepRecord, factors: Sequence[float], **changes: Any) -> StepRecord:
    """The same step with block norms multiplied."""
    norms = [
        math.nan if s.grad_norm is None else s.grad_norm * f
        for s, f in zip(r.blocks, factors, strict=True)
    ]
    loss = changes.pop("loss", r.loss)
    if loss == 0:
        changes["loss_items"] = dict.fromkeys(r.loss_items, 0.0)
    return record(r.step, norms, loss=loss, **changes)


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> list[RunSeries]:
    return [
        as_series(load_trace(write(tmp_path_factory.mktemp("control"), healthy(seed))))
        for seed in (1, 2, 3)
    ]


@pytest.fixture
def judged(tmp_path: Path, control: list[RunSeries]) -> Callable[..., RunVerdict]:
    def judge(
        change: Change = lambda s, r: r, steps: int = STEPS, stock: Any = None, **known: Any
    ) -> RunVerdict:
        records = [change(s, r) for s, r in enumerate(healthy(0, steps))]
        return classify_run(
            load_trace(write(fresh(tmp_path), records)),
            control if stock is None else stock,
            **known,
        )

    return judge


def summary(found: RunVerdict) -> tuple[str, int | None, str | None, str | None]:
    return found.verdict, found.onset_step, found.onset_sign, found.onset_block


def test_a_run_like_the_control_is_stable(
    judged: Callable[..., RunVerdict], control: list[RunSeries]
) -> None:
    assert summary(judged()) == ("stable", None, None, None)
    assert judged().cause is None
    assert "no sign of trouble in 60 steps" in judged().why
    assert judged().why.endswith(" times its running median")
    assert [classify_run(run, [run]).verdict for run in control] == ["stable"] * 3
    assert judged(fitness=0.7, control_fitness=0.76).verdict == "stable"


def test_nothing_is_called_stable_that_is_too_short_or_did_not_learn(
    judged: Callable[..., RunVerdict],
) -> None:
    assert judged(steps=15).verdict == "inconclusive"
    assert "15 steps" in judged(steps=15).why
    assert judged(steps=16).verdict == "stable"
    assert judged(stock=[]).verdict == "stable"  # its own past is enough
    unlearned = judged(fitness=0.01, control_fitness=0.76)
    assert unlearned.verdict == "inconclusive"
    assert "final fitness 0.01, control 0.76" in unlearned.why
    assert (
        judged(fitness=0.0, control_fitness=0.01).verdict == "stable"
    )  # the control learned nothing either


def test_an_applied_nan_is_a_failure_unless_the_run_goes_on(
    judged: Callable[..., RunVerdict],
) -> None:
    def nan_until(last: int) -> Change:
        return lambda s, r: scaled(r, (1, math.nan, 1, 1)) if 20 <= s < last else r

    found = judged(nan_until(STEPS))
    assert summary(found) == ("failed", 20, "non_finite", "model.16 C3k2")
    assert (
        found.why
        == "gradients were not finite from step 20 on, and the updates were applied; first in model.16 C3k2"
    )
    assert summary(judged(nan_until(21))) == ("unstable", 20, "non_finite", "model.16 C3k2")
    assert judged(nan_until(STEPS - 12)).verdict == "unstable"
    assert judged(nan_until(STEPS - 4)).verdict == "failed"
    found = judged(lambda s, r: replace(r, loss=math.inf) if s >= 30 else r)
    assert summary(found)[:3] == ("failed", 30, "non_finite")
    assert "the loss was not finite" in found.why


def test_a_nan_in_few_blocks_began_in_the_deepest(judged: Callable[..., RunVerdict]) -> None:
    def change(step: int, r: StepRecord) -> StepRecord:
        return scaled(
            r,
            {20: (math.nan, math.nan, 1, 1)}.get(step, (math.nan,) * 4 if step > 20 else (1,) * 4),
        )

    assert judged(change).onset_block == "model.16 C3k2"


def test_a_nan_everywhere_points_to_the_block_that_was_off_before(
    judged: Callable[..., RunVerdict],
) -> None:
    factors = {19: (1, 1, 30, 1), **dict.fromkeys(range(20, STEPS), (math.nan,) * 4)}
    found = judged(lambda s, r: scaled(r, factors.get(s, (1,) * 4)))
    assert summary(found) == ("failed", 19, "spike", "model.23.cv2 Detect box")
    assert found.why.startswith(
        "gradients were not finite from step 20 on, and the updates were applied; first in model.23.cv2 "
    )


def test_guard_skips_are_judged_by_their_end(judged: Callable[..., RunVerdict]) -> None:
    def skipping(*steps: int) -> Change:
        return lambda s, r: scaled(r, (1, 1, 1, math.nan), skipped="guard") if s in steps else r

    found = judged(skipping(20, 22))
    assert summary(found) == ("stable", 20, "non_finite", NAMES[3])
    skipped = "the guard skipped 2 steps, starting at step 20, and the run continued"
    assert found.why.endswith(f"; resolved by the guard: {skipped}")
    assert found.findings[0].resolved_by == "guard"
    assert judged(skipping(54)).verdict == "stable"
    assert judged(skipping(55)).verdict == "failed"
    assert (
        "the guard skipped 1 step, starting at step 57, and the run did not recover"
        in judged(skipping(57)).why
    )


def test_scaler_skips_are_its_calibration(judged: Callable[..., RunVerdict]) -> None:
    change: Change = lambda s, r: scaled(r, (1, 1, 1, math.inf), skipped="scaler") if s < 3 else r  # noqa: E731
    assert judged(change).verdict == "stable"


def test_loss_and_gradient_of_zero_are_a_failure_once_they_last(
    judged: Callable[..., RunVerdict],
) -> None:
    change: Change = lambda s, r: scaled(r, (0, 0, 0, 0), loss=0.0) if 20 <= s < 20 + zeros else r  # noqa: E731
    zeros = 5
    assert summary(judged(change))[:3] == (
        "unstable",
        24,
        "collapse",
    )  # known at the fifth, and it came back
    assert judged(change).why.startswith(
        "loss and gradients were exactly 0 for 5 steps from step 20 on"
    )
    zeros = 4
    assert judged(change).verdict == "stable"
    zeros = 60
    assert summary(judged(change))[:3] == ("failed", 24, "collapse")
    assert "for 40 steps" in judged(change).why


def test_a_blow_up_before_the_zeros_is_the_onset(judged: Callable[..., RunVerdict]) -> None:
    def change(step: int, r: StepRecord) -> StepRecord:
        if step >= 25:
            return scaled(r, (0, 0, 0, 0), loss=0.0)
        return scaled(r, (1, 90, 1, 1), loss=80.0) if step >= 18 else r

    found = judged(change)
    assert summary(found) == ("failed", 18, "spike", "model.16 C3k2")
    assert "exactly 0 for 35 steps from step 25 on" in found.why
    assert "; first sign: the gradient norm spiked in 1 step, first at step 18" in found.why


def test_a_short_blow_up_before_the_zeros_is_told(judged: Callable[..., RunVerdict]) -> None:
    losses = {18: 120.0, **dict.fromkeys(range(19, STEPS), 0.0)}
    found = judged(
        lambda s, r: scaled(r, (0, 0, 0, 0) if s > 18 else (1,) * 4, loss=losses.get(s, r.loss))
    )
    assert summary(found)[:3] == ("failed", 23, "collapse")
    assert found.why == (
        "loss and gradients were exactly 0 for 41 steps from step 19 on: "
        "the model has stopped learning, after a loss of 120"
    )


@pytest.mark.parametrize(
    ("step", "factor", "expected"),
    [(40, 51, "spike"), (40, 49, None), (8, 51, "spike"), (7, 51, None)],
    ids=["far above", "not far enough", "after eight steps", "after too few"],
)
def test_a_spike_is_judged_by_the_runs_own_past(
    judged: Callable[..., RunVerdict], step: int, factor: float, expected: str | None
) -> None:
    found = judged(
        lambda s, r: record(s, [b * (factor if s == step else 1) for b in BASE], loss=r.loss)
    )
    assert (found.verdict, found.onset_sign) == ("stable", expected)
    if expected is not None:
        assert found.onset_step == step
        assert (
            f"the gradient norm spiked in 1 step, first at step {step} with a norm of 671; most"
            in found.why
        )


def test_a_spike_names_the_block_with_or_without_another_run(
    judged: Callable[..., RunVerdict], tmp_path: Path
) -> None:
    spike: Change = lambda s, r: scaled(r, (1, 1, 1, 80)) if s == 40 else r  # noqa: E731
    assert summary(judged(spike)) == ("stable", 40, "spike", NAMES[3])
    trace = load_trace(write(fresh(tmp_path), [spike(s, r) for s, r in enumerate(healthy())]))
    assert summary(classify_run(trace, [trace])) == ("stable", 40, "spike", NAMES[3])
    assert summary(classify_run(trace, [])) == ("stable", 40, "spike", NAMES[3])


def test_a_norm_high_from_the_start_shows_against_the_control_only(
    judged: Callable[..., RunVerdict],
) -> None:
    change: Change = lambda s, r: scaled(r, (60, 60, 60, 300))  # noqa: E731
    found = judged(change)
    assert summary(found) == ("stable", 0, "exploding", NAMES[3])
    assert "times the control's" in found.why
    assert judged(change, stock=[]).onset_sign is None
    assert judged(change, fitness=0.0, control_fitness=0.76).verdict == "failed"


def test_one_low_step_of_the_control_is_no_alarm(
    judged: Callable[..., RunVerdict], tmp_path: Path
) -> None:
    records = [scaled(r, (1e-4,) * 4) if r.step == 30 else r for r in healthy(1)]
    assert judged(stock=[load_trace(write(tmp_path / "low", records))]).onset_sign is None


def test_a_high_loss_needs_a_while(judged: Callable[..., RunVerdict]) -> None:
    def high(first: int, last: int, loss: float = 37.0) -> Change:
        return lambda s, r: replace(r, loss=loss) if first <= s < last else r

    # Up to step 19 the lowest median of 8 losses is that of steps 12 to 19: 7.225, times 5: 36.1.
    assert summary(judged(high(20, 25)))[:3] == ("unstable", 24, "divergence")
    assert judged(high(20, 24)).onset_sign is None
    assert judged(high(20, 30, 35.0)).onset_sign is None
    always = judged(
        high(0, STEPS, 904.0)
    )  # never above its own first value, but above a hundred times the control's
    assert summary(always)[:3] == ("stable", 4, "divergence")
    assert "113 times the control's first" in always.why


def test_a_loss_that_rises_into_nan_was_high_before_if_that_took_a_while(
    judged: Callable[..., RunVerdict],
) -> None:
    def rising(first: int) -> Change:
        def change(step: int, r: StepRecord) -> StepRecord:
            if step >= 58:
                return scaled(r, (math.nan,) * 4, loss=math.nan)
            return replace(r, loss=90.0 if step >= first else r.loss)

        return change

    found = judged(rising(50))
    assert summary(found)[:3] == ("failed", 54, "divergence")
    assert judged(rising(53)).onset_step == 57
    found = judged(rising(55))
    assert summary(found)[:3] == ("failed", 58, "non_finite")
    assert found.why.startswith(
        "the loss was not finite from step 58 on, and the updates were applied"
    )


@pytest.mark.parametrize(
    ("last", "expected"), [(29.5, "failed"), (27.5, "stable")], ids=["five times", "not quite"]
)
def test_a_loss_that_ends_far_above_its_level_is_a_failure(
    judged: Callable[..., RunVerdict], last: float, expected: str
) -> None:
    # the level at step 50 is the median of the losses of steps 42 to 49, 5.725
    assert judged(lambda s, r: replace(r, loss=last) if s >= 50 else r).verdict == expected


def test_next_to_no_loss_after_a_blow_up_is_a_failure(judged: Callable[..., RunVerdict]) -> None:
    def change(remains: float, peak: float) -> Change:
        losses = [8.0] * 10 + [peak] + [6.0] * 9 + [remains] * 40
        return lambda s, r: replace(r, loss=losses[s], clip_coef=None)

    found = judged(change(0.007, 90.0))
    assert summary(found)[:3] == ("failed", 24, "collapse")
    assert "the loss was almost 0 for 40 steps from step 20 on" in found.why
    assert found.why.endswith("after a loss of 90")
    assert judged(change(0.5, 90.0)).verdict == "stable"  # that is what learning looks like
    assert judged(change(0.007, 30.0)).verdict == "stable"  # no blow-up


def test_vanishing_gradients_name_the_backbone_block(tmp_path: Path) -> None:
    names = ("a", "b", "c", "d")
    roles = ("backbone", "backbone", "neck", "box")
    stock = load_trace(
        write(
            tmp_path / "stock",
            [replace_names(r, names) for r in healthy(1)],
            names=names,
            roles=roles,
        )
    )

    def found(factors: Sequence[float], last: int = STEPS, **known: Any) -> RunVerdict:
        records = [scaled(r, factors if 4 <= r.step < last else (1,) * 4) for r in healthy()]
        records = [replace_names(r, names) for r in records]
        return classify_run(
            load_trace(write(fresh(tmp_path), records, names=names, roles=roles)), [stock], **known
        )

    # far below the head's: critical, known once the first 16 steps are over
    assert summary(found((1e-4, 1e-6, 1e-9, 1))) == ("failed", 15, "vanishing", "a")
    assert found((0, 1, 1, 1)).onset_block == "a"  # dead, not frozen
    # far below the control's in another block: a warning, known after 16 steps of it
    deep = (1, 1e-6, 1e-9, 1)
    assert summary(found(deep)) == ("stable", 19, "vanishing", "b")
    warned = found(deep).findings[0].message
    assert warned in found(deep).why
    assert warned.startswith("gradients of b were ")
    assert 0.5e-6 < float(warned.split()[4]) < 2e-6
    assert warned.endswith(" times the control's from step 4 on")
    assert found(deep, 4 + 16).onset_sign == "vanishing"
    assert (
        found(deep, 4 + 15).onset_sign == "spike"
    )  # not for so long; that it comes back in one step stands out
    assert found((1, 1, 1e-9, 1)).onset_sign is None  # the neck alone
    unlearned = found(deep, fitness=0.05, control_fitness=0.76)
    assert (unlearned.verdict, unlearned.onset_sign) == ("failed", "vanishing")
    assert unlearned.why.endswith("; the model did not learn: final fitness 0.05, control 0.76")
    assert found(deep, fitness=0.45, control_fitness=0.76).verdict == "stable"


def replace_names(r: StepRecord, names: Sequence[str]) -> StepRecord:
    return replace(
        r, blocks=tuple(replace(s, block=n) for s, n in zip(r.blocks, names, strict=True))
    )


def test_a_frozen_block_is_no_vanishing_one(judged: Callable[..., RunVerdict]) -> None:
    def change(s: int, r: StepRecord) -> StepRecord:
        return record(s, (None, *(b.grad_norm for b in r.blocks[1:])), loss=r.loss)

    assert judged(change).verdict == "stable"


def test_a_longer_run_is_held_against_the_end_of_the_control(
    judged: Callable[..., RunVerdict],
) -> None:
    assert judged(steps=3 * STEPS).verdict == "stable"
    found = judged(lambda s, r: scaled(r, (1e-4, 1, 1, 1)) if s >= 100 else r, steps=3 * STEPS)
    assert summary(found) == ("stable", 115, "vanishing", NAMES[0])


@pytest.mark.parametrize("outcome", ["crashed", "killed", "timeout", "memory"])
def test_a_dead_process_is_a_failure_only_with_a_sign_of_trouble(
    judged: Callable[..., RunVerdict], outcome: str
) -> None:
    found = judged(outcome=outcome)
    assert summary(found) == ("inconclusive", 59, "crash", None)
    assert "after step 59; no sign of trouble in 60 steps" in found.why
    after_nan = judged(
        lambda s, r: scaled(r, (1, math.nan, 1, 1)) if s >= 50 else r, outcome=outcome
    )
    assert summary(after_nan)[:3] == ("failed", 50, "non_finite")
    assert after_nan.why.startswith("gradients were not finite from step 50 on")
    assert after_nan.why.endswith(" after step 59")
    assert judged(steps=0, outcome=outcome).verdict == "inconclusive"


def test_the_last_event_tells_a_crash_unless_the_outcome_is_known(
    tmp_path: Path, control: list[RunSeries]
) -> None:
    def run(folder: str, *events: tuple[str, dict[str, Any]]) -> Any:
        writer = TraceWriter(write(tmp_path / folder, healthy()) / "stability", NAMES)
        for kind, data in events:
            writer.event(Event(attempt=0, step=59, kind=kind, data=data))
        writer.close()
        return load_trace(tmp_path / folder)

    crashed = run("crashed", ("end", {"completed": False, "stopped": None}))
    assert summary(classify_run(crashed, control)) == ("inconclusive", None, None, None)
    assert classify_run(crashed, control).why.startswith("interrupted after 14 epochs")
    assert classify_run(crashed, control, outcome="stopped").verdict == "inconclusive"
    assert classify_run(run("fine", ("end", {"completed": True})), control).verdict == "stable"
    stopped = run("guard", ("guard_stop", {}), ("end", {"completed": False, "stopped": "too many"}))
    assert summary(classify_run(stopped, control))[:3] == ("failed", 59, "non_finite")


def test_the_cause_comes_with_the_verdict_and_settings_count_where_they_are_known(
    judged: Callable[..., RunVerdict],
) -> None:
    change: Change = lambda s, r: scaled(r, (1, math.nan, 1, 1)) if s >= 30 else r  # noqa: E731
    assert (
        judged(change).cause == "numeric_range"
    )  # the loss was finite, the gradients of one block were not
    settings = header(requested={"norm": "none", "init": "gain:5"})
    deep: Change = lambda s, r: scaled(r, (1e-5, 1, 1, 1))  # noqa: E731
    assert judged(deep).cause == "normalization"
    assert judged(deep, header=settings).cause in {"initialization", "normalization"}


def test_an_empty_run_is_inconclusive(judged: Callable[..., RunVerdict]) -> None:
    assert summary(judged(steps=0)) == ("inconclusive", None, None, None)
