"""The rules during a run see what they see afterwards on the trace, once, within a window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from traces import NAMES, ROLES, header, noisy, record, write

from yolo_stability.core.findings import Finding
from yolo_stability.core.types import Event, StepRecord
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.diagnose import find_all
from yolo_stability.diagnosis.live import LiveRules
from yolo_stability.trace import load_trace
from yolo_stability.trace.arrays import as_series

FIELDS = (
    "step",
    "loss",
    "norm",
    "nonfinite",
    "guard",
    "scaler",
    "clip",
    "epoch",
    "attempt",
    "accumulate",
    "lr",
)


def follow(
    records: Sequence[StepRecord], names: Sequence[str] = NAMES, **options: int
) -> list[tuple[int, Finding]]:
    """What is found at which step."""
    rules = LiveRules(**options)
    rules.open(header(names).blocks)
    return [(r.step, finding) for r in records for finding in rules.observe(r)]


def healthy(steps: int) -> list[StepRecord]:
    """Norms that fall and waver, as those of a control."""
    return [
        record(
            s, [n * (1 + 0.2 * math.sin(1.7 * s)) for n in (3.0, 4.0, 2.0, 12.0)], loss=8 - 0.01 * s
        )
        for s in range(steps)
    ]


def test_a_window_equals_the_trace(tmp_path: Path) -> None:
    names = [f"model.{i} C3k2" for i in range(5)]
    records = [replace(r, micro_norm=0.5 + r.step if r.step % 3 else None) for r in noisy(150, 5)]
    records[40] = replace(
        records[40],
        skipped="guard",
        nonfinite=3,
        clip_coef=None,
        blocks=tuple(
            replace(b, grad_norm=math.nan, nonfinite_count=3) for b in records[40].blocks[:1]
        )
        + records[40].blocks[1:],
    )
    read = as_series(load_trace(write(tmp_path, records, names=names)))
    rules = LiveRules(window=256)
    rules.open(header(names).blocks)
    for r in records:
        rules.observe(r)
    assert rules._rows is not None
    live = rules._rows.series(())
    for name in (*FIELDS, "amp_scale", "update", "micro_norm"):
        np.testing.assert_allclose(
            getattr(live, name), getattr(read, name), rtol=1e-6, err_msg=name
        )
    np.testing.assert_array_equal(live.update_block, read.update_block)
    assert list(live.rates) == list(read.rates) == ["weight", "bias", "norm"]
    for ours, theirs in ((live.rates, read.rates), (live.losses, read.losses)):
        assert ours.keys() == theirs.keys()
        for name, values in ours.items():
            np.testing.assert_allclose(values, theirs[name], rtol=1e-6, err_msg=name)
    np.testing.assert_array_equal(live.sampled, read.sampled)
    assert live.sampled.tolist() == list(range(0, 150, 10))
    for name in ("weight_norm", "update_ratio"):
        np.testing.assert_allclose(getattr(live, name), getattr(read, name), rtol=1e-6)
    np.testing.assert_allclose(live.block_norm, read.block_norm, rtol=1e-6)
    for name in ("bad_block", "bad_row", "bad_count"):
        np.testing.assert_array_equal(getattr(live, name), getattr(read, name))


def test_a_window_keeps_the_last_steps_only() -> None:
    rules = LiveRules(window=32)
    rules.open(header().blocks)
    for r in healthy(1000):
        rules.observe(r)
    assert rules._rows is not None
    live = rules._rows.series(())
    assert live.step.tolist() == list(range(968, 1000))
    np.testing.assert_allclose(live.loss, [8 - 0.01 * s for s in range(968, 1000)])


def test_a_finding_is_reported_once_and_again_when_it_becomes_worse() -> None:
    records = healthy(96)
    for s in (20, 41, 42, 43, 60):
        records[s] = replace(
            records[s],
            skipped="guard",
            loss=math.nan,
            nonfinite=1,
            clip_coef=None,
            grad_norm=math.nan,
        )
    found = [(step, f.severity) for step, f in follow(records) if f.rule == "non_finite"]
    assert found == [(20, "warning")]
    for s in range(70, 96):
        records[s] = replace(
            records[s], skipped="guard", loss=math.nan, grad_norm=math.nan, clip_coef=None
        )
    found = [(step, f.severity) for step, f in follow(records) if f.rule == "non_finite"]
    assert [severity for _, severity in found] == ["warning", "critical"]
    assert 70 < found[1][0] < 90


def test_a_window_holds_the_images_and_inputs_of_its_steps_only() -> None:
    rules = LiveRules(window=16)
    rules.open(header().blocks)
    for r in healthy(70):
        known = {"images": 8, "objects": r.step, "input_max": 0.5} if r.step % 2 else {}
        rates = {"weight": 0.1, **({"late": 0.01 * r.step} if r.step >= 60 else {})}
        rules.observe(replace(r, lr_by_group=rates, **known))
    assert rules._rows is not None
    live = rules._rows.series(())
    odd = live.step % 2 == 1
    np.testing.assert_array_equal(live.images, np.where(odd, 8, np.nan))
    np.testing.assert_array_equal(live.objects, np.where(odd, live.step, np.nan))
    np.testing.assert_array_equal(live.input_max, np.where(odd, 0.5, np.nan))
    assert np.isnan(live.input_min).all()
    late = np.where(live.step >= 60, 0.01 * live.step, np.nan)
    np.testing.assert_allclose(live.rates["late"], late)


@pytest.mark.parametrize("at", [70, 77, 85, 100])
@pytest.mark.parametrize("groups", [("weight",), ("bias",), ("weight", "bias")], ids=str)
def test_a_leap_of_a_rate_is_heard_at_its_step(groups: tuple[str, ...], at: int) -> None:
    """Between two regular evaluations, and in a group that is not the fastest."""
    records = [
        replace(
            r,
            lr_by_group={
                "fast": 1.0,
                **{n: 15e-3 if n in groups and r.step >= at else 1e-3 for n in ("weight", "bias")},
            },
        )
        for r in healthy(110)
    ]
    found = [(step, f.severity) for step, f in follow(records) if f.rule == "rate_leap"]
    assert found == [(at, "critical")]


def test_healthy_steps_say_nothing() -> None:
    assert follow(healthy(700)) == []


def test_young_runs_are_looked_at_more_often_and_bad_steps_at_once() -> None:
    calm = healthy(300)
    blown = [replace(r, loss=r.loss * (1e3 if r.step >= 200 else 1)) for r in calm]
    step = next(step for step, f in follow(blown) if f.rule == "divergence")
    assert 204 <= step <= 204 + 15
    early = [replace(r, loss=r.loss * (1e3 if r.step >= 20 else 1)) for r in calm]
    step = next(step for step, f in follow(early) if f.rule == "divergence")
    assert 24 <= step <= 24 + 3
    bad = [replace(r, loss=math.inf, nonfinite=1) if r.step == 203 else r for r in calm]
    assert next(step for step, f in follow(bad) if f.rule == "non_finite") == 203


def test_live_findings_are_those_of_the_trace_up_to_that_step(tmp_path: Path) -> None:
    records = [replace(r, loss=r.loss * (1e3 if r.step >= 90 else 1)) for r in healthy(130)]
    reported = follow(records, every=1)
    assert reported
    for step, finding in reported:
        trace = load_trace(
            write(tmp_path / f"{step}{finding.rule}", records[: step + 1], roles=ROLES)
        )
        later = [
            replace(f, observed=None)
            for f in find_all(DiagnosisContext(as_series(trace), live=True))
        ]
        assert replace(finding, observed=None) in later  # the trace on disk holds float32


def test_recoveries_are_seen_in_the_events() -> None:
    rules = LiveRules(every=1)
    rules.open(header().blocks)
    records = healthy(40)
    for r in records[:20]:
        assert rules.observe(r) == ()
    rules.event(Event(attempt=1, step=20, kind="nan_recovery", data={"epoch": 1}))
    rules.event(Event(attempt=1, step=20, kind="notice", data={"text": "nothing"}))
    assert [f.rule for f in rules.observe(records[20])] == ["recoveries"]


@pytest.mark.parametrize(
    ("first", "back_to", "begins"),
    [
        (0, [0], True),
        (0, [8], True),
        (500, [500], False),
        (500, [508], False),
        (0, [0, 28], True),
        (500, [0], True),
    ],
    ids=str,
)
def test_only_a_rollback_to_the_very_start_is_a_restart(
    first: int, back_to: list[int], begins: bool
) -> None:
    """A session that rolls back to its own first state still has trained weights."""
    rules, step = LiveRules(), first
    rules.open(header().blocks)
    for k in (*back_to, None):
        for _ in range(20):
            rules.observe(replace(healthy(1)[0], step=step))
            step += 1
        if k is not None:
            rules.undone(k)
    assert rules.context is not None
    assert rules.context.begins == begins


def test_the_largest_update_that_is_a_number_counts() -> None:
    rules, each = LiveRules(), healthy(1)[0]
    rules.open(header().blocks)
    ratios = (math.nan, 5.0, math.nan, 0.1)
    blocks = [replace(b, update_ratio=r) for b, r in zip(each.blocks, ratios, strict=False)]
    rules.observe(replace(each, blocks=tuple(blocks)))
    assert rules._rows is not None
    assert rules._rows.last_update == 5.0


def test_a_state_is_unhealthy_while_a_critical_finding_persists() -> None:
    """Findings that hold back `healthy.pt`; a badly built network does not count."""
    rules = LiveRules(every=1)
    rules.open(header().blocks)
    for r in healthy(100):
        rules.observe(replace(r, loss=r.loss * (1e3 if 40 <= r.step < 60 else 1)))
        assert (rules.unhealthy_step >= 0) == (r.step >= 44)
    assert rules.unhealthy_step == 59
