"""Weights that something other than the optimizer changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_runs import cut, golden_folders

from yolo_stability.core.findings import Finding
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import event, healthy_run
from yolo_stability.diagnosis.rules.weight_jump import WeightJump
from yolo_stability.trace import load_trace
from yolo_stability.trace.arrays import RunSeries, as_series

STEPS = 120
SAMPLED = np.array([*range(50), *range(50, STEPS, 10)])
NAMES = healthy_run(1).names


def trained(u: float = 0.02, seed: int = 0) -> RunSeries:
    """Return a run whose weights move by random updates of a fixed relative length."""
    rng = np.random.default_rng(seed)
    growth = 1 + u * rng.uniform(-1, 1, (len(NAMES), STEPS))
    weights = 8 * np.cumprod(growth, axis=1) / growth[:, :1]
    return replace(
        healthy_run(STEPS),
        sampled=SAMPLED,
        weight_norm=weights[:, SAMPLED].astype(np.float32),
        update_ratio=np.full((len(NAMES), SAMPLED.size), u, dtype=np.float32),
    )


def jumped(run: RunSeries, factor: float, step: int, *blocks: int, last: int = 999) -> RunSeries:
    """Return the run with some blocks' weights multiplied before a step."""
    weights = run.weight_norm.copy()
    columns = np.flatnonzero((run.sampled >= step) & (run.sampled < last))
    weights[np.ix_(blocks or range(len(NAMES)), columns)] *= np.float32(factor)
    return replace(run, weight_norm=weights)


def look(run: RunSeries) -> list[Finding]:
    return list(WeightJump().look(DiagnosisContext(run)))


def seen(run: RunSeries) -> tuple[str, int | None, int | None, str | None] | None:
    found = look(run)
    assert len(found) <= 1
    first = found[0] if found else None
    return first and (first.severity, first.first_step, first.last_step, first.block)


@pytest.mark.parametrize("factor", [1000.0, 3.0, 0.4, 1e-3, 0.0])
@pytest.mark.parametrize("block", range(len(NAMES)))
def test_weights_that_are_multiplied_or_erased_are_critical(block: int, factor: float) -> None:
    assert seen(jumped(trained(), factor, 30, block)) == ("critical", 30, 30, NAMES[block])
    (found,) = look(jumped(trained(0.0), factor, 30, block))
    assert found.observed == pytest.approx(factor)
    assert "before step 30" in found.message


def test_a_jump_between_samples_is_dated_by_both() -> None:
    assert seen(jumped(trained(0.001), 10.0, 75, 2)) == ("critical", 71, 80, NAMES[2])


@pytest.mark.parametrize(("factor", "severity"), [(1.04, None), (1.4, "warning"), (0.7, "warning")])
def test_a_smaller_change_is_a_warning(factor: float, severity: str | None) -> None:
    found = look(jumped(trained(0.001), factor, 30, 1))
    assert (found[0].severity if found else None) == severity


def test_several_blocks_are_counted() -> None:
    (found,) = look(jumped(trained(), 100.0, 30))
    assert f"{len(NAMES) - 1} more blocks" in found.message


@pytest.mark.parametrize("u", [0.0, 1e-6, 0.01, 0.09, 0.6, 3.0])
@pytest.mark.parametrize("seed", range(3))
def test_updates_of_any_length_explain_themselves(seed: int, u: float) -> None:
    assert look(trained(u, seed)) == []


@pytest.mark.parametrize("folder", golden_folders(), ids=lambda f: f.name)
def test_recorded_weights_are_explained(folder: Path) -> None:
    run = as_series(load_trace(folder))
    assert run.sampled.size > 50
    assert look(run) == []


@pytest.mark.parametrize("kind", ["rescue", "rollback", "nan_recovery", "oom_restart", "resume"])
@pytest.mark.parametrize("step", [30, 75])
def test_restored_weights_are_no_jump(step: int, kind: str) -> None:
    run = jumped(trained(), 5.0, step)
    assert look(run)
    assert look(replace(run, events=(event(kind, step),))) == []


def test_a_new_session_may_begin_with_other_weights() -> None:
    run = jumped(trained(), 5.0, 30)
    assert look(replace(run, attempt=(run.step >= 30).astype(np.int64))) == []


def test_without_samples_nothing_is_known() -> None:
    assert look(healthy_run()) == []
    run = trained()
    one = replace(run, sampled=run.sampled[:1], weight_norm=run.weight_norm[:, :1])
    assert look(replace(one, update_ratio=run.update_ratio[:, :1])) == []


@settings(max_examples=25)
@given(data=st.data())
def test_no_weights_make_the_rule_raise_or_retract(data: st.DataObject) -> None:
    values = st.sampled_from([0.0, 1e-30, 1.0, 1.5, 8.0, 1e30, np.inf, np.nan])
    run = healthy_run(20)
    shape = (len(NAMES), 12)
    rows = sorted(data.draw(st.sets(st.integers(0, 19), min_size=12, max_size=12)))

    def drawn() -> Any:
        count = shape[0] * shape[1]
        drawn = data.draw(st.lists(values, min_size=count, max_size=count))
        return np.array(drawn, dtype=np.float32).reshape(shape)

    run = replace(run, sampled=np.array(rows), weight_norm=drawn(), update_ratio=drawn())
    rank = {"warning": 1, "critical": 2}
    before: list[Finding] = []
    for count in range(1, 21):
        now = look(cut(run, count))
        for old in before:
            assert now
            assert rank[now[0].severity] >= rank[old.severity]
            assert now[0].severity != old.severity or now[0].first_step == old.first_step
        before = now
