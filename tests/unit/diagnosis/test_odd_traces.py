"""No run, however odd, makes a diagnosis raise or warn, and none is called stable without data."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd_runs import PER_STEP, odd_runs
from traces import NAMES, header, record

from yolo_stability.benchmarks.verdict import classify_run
from yolo_stability.core.findings import Diagnosis
from yolo_stability.core.types import BlockStats, RunHeader, StepRecord, Trace
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.diagnose import diagnose_context, diagnose_series, diagnose_trace
from yolo_stability.diagnosis.examples import example_header, healthy_run
from yolo_stability.trace.arrays import RunSeries, as_series
from yolo_stability.trace.schema import blocks_frame, conform, empty, steps_frame

pytestmark = pytest.mark.filterwarnings("error")

HEADERS: list[RunHeader | None] = [
    None,
    example_header(),
    header(),
    header(
        requested={
            "norm": "none",
            "act": "tanh",
            "init": "gain:3",
            "depth_mult": 2,
            "warmup_epochs": 0,
        },
        effective={
            "batch": 1,
            "groups": {"a": {"lr": 3.0}},
            "optimizer": "AdamW",
            "images": 0,
            "images_listed": 9,
        },
    ),
    header(
        requested={"norm": None, "init": None, "depth_mult": "x"},
        effective={"groups": None, "batch": "auto"},
    ),
]
outcomes = st.sampled_from([None, "finished", "stopped", "crashed", "killed", "timeout", "memory"])
fitnesses = st.none() | st.floats(0, 1)


def check(found: Diagnosis, run: RunSeries) -> None:
    """What holds for the diagnosis of any run."""
    if run.step.size < 16:
        assert found.verdict != "stable"
    assert found.why
    assert "nan" not in found.why.split()
    assert [c.score for c in found.causes] == sorted((c.score for c in found.causes), reverse=True)
    assert not found.causes or sum(c.score for c in found.causes) == pytest.approx(1)
    assert (found.cause is None) == (not found.causes)
    assert found.time_to_divergence is None or found.time_to_divergence >= 0
    for finding in found.findings:
        assert (finding.first_step or 0) <= (finding.last_step or 0)
        assert len(finding.message) < 300
        assert "\n" not in finding.message
        assert finding.block is None or finding.block in run.names


@settings(
    max_examples=250, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(
    run=odd_runs(),
    controls=st.lists(odd_runs(), max_size=2),
    head=st.sampled_from(HEADERS),
    outcome=outcomes,
    fitness=fitnesses,
    control_fitness=fitnesses,
)
def test_no_run_makes_a_diagnosis_raise(
    run: RunSeries,
    controls: list[RunSeries],
    head: RunHeader | None,
    outcome: str | None,
    fitness: float | None,
    control_fitness: float | None,
) -> None:
    found = diagnose_series(run, header=head, controls=controls, outcome=outcome)
    check(found, run)
    check(diagnose_context(DiagnosisContext(run, header=head, controls=controls, live=True)), run)
    judged = classify_run(
        run,
        [run, *controls],
        outcome=outcome,
        fitness=fitness,
        control_fitness=control_fitness,
        header=head,
    )
    assert run.step.size >= 16 or judged.verdict != "stable"
    assert judged.onset_sign is not None or judged.verdict in {"stable", "inconclusive"}
    if outcome in {"crashed", "killed", "timeout", "memory"}:
        assert "stable" not in {found.verdict, judged.verdict}
        assert judged.onset_sign is not None


numbers = st.sampled_from([0.0, 1.0, -2.5, 1e-30, 3e38, 1e300, math.inf, -math.inf, math.nan])
norms = st.none() | st.sampled_from([0.0, 1.0, 4.0, 1e-30, 1e30, 1e300, math.inf, math.nan])


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """A trace with gaps, replays, null norms, unknown blocks, missing names and events."""
    names = draw(st.sampled_from([NAMES, NAMES[:1], (), ("a block of nobody", *NAMES)]))
    head = draw(st.sampled_from([h for h in HEADERS if h is not None]))
    if draw(st.booleans()):
        head = replace(head, blocks=())
    stride, replay = draw(st.integers(1, 1000)), draw(st.integers(0, 30))
    records = [
        _odd_record(draw, stride * (s - replay * (s > replay)), int(s > replay), names)
        for s in range(draw(st.sampled_from([0, 1, 2, 17, 40])))
    ]
    steps = steps_frame(records) if records else empty("steps")
    blocks = blocks_frame(records, NAMES) if records and names else empty("blocks")
    kinds = draw(
        st.lists(
            st.sampled_from(["end", "guard_stop", "resume", "notice", "nan_recovery", "?"]),
            max_size=3,
        )
    )
    data = draw(
        st.sampled_from(
            [None, "", "{}", json.dumps({"completed": False}), json.dumps({"completed": None})]
        )
    )
    events = _events([(kind, stride * i, data) for i, kind in enumerate(kinds)])
    return Trace(path=Path(), header=head, steps=steps, blocks=blocks, events=events)


def _odd_record(draw: st.DrawFn, step: int, attempt: int, names: tuple[str, ...]) -> StepRecord:
    if draw(st.booleans()):
        return record(step, [3.0] * len(names), names=names, attempt=attempt)
    changed: dict[str, Any] = {
        "loss": draw(numbers),
        "grad_norm": draw(norms),
        "clip_coef": draw(norms),
    }
    changed |= {
        "skipped": draw(st.sampled_from([None, "guard", "scaler"])),
        "lr_by_group": draw(_RATES),
    }
    changed["blocks"] = tuple(
        BlockStats(
            block=n,
            grad_norm=draw(norms),
            update_ratio=draw(norms),
            nonfinite_count=draw(st.integers(0, 2)),
        )
        for n in names
    )
    return record(step, [3.0] * len(names), names=names, attempt=attempt, **changed)


_RATES = st.sampled_from(
    [{}, {"weight": 0.0}, {"weight": math.inf, "bias": None}, {"weight": math.nan}]
)


def _events(rows: list[tuple[str, int, str | None]]) -> Any:
    import polars as pl

    schema = {
        "attempt": pl.UInt16,
        "step": pl.UInt32,
        "kind": pl.String,
        "block": pl.String,
        "data": pl.String,
    }
    return pl.DataFrame(
        [(0, step, kind, None, data) for kind, step, data in rows], schema=schema, orient="row"
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(trace=traces(), masked=st.booleans())
def test_no_trace_makes_a_diagnosis_raise(trace: Trace, masked: bool) -> None:
    run = as_series(trace)
    found = diagnose_trace(trace, masked=masked)
    check(found, run)
    assert found.run_id == trace.header.run_id
    assert found.verdict != "stable" or np.isfinite(run.norm).any()
    assert classify_run(trace, [trace]).verdict == diagnose_series(run, controls=[run]).verdict
    other = diagnose_trace(trace, masked=masked, controls=[as_series(trace)])
    check(other, run)


@pytest.mark.parametrize("steps", [0, 1, 15])
def test_too_few_steps_are_inconclusive(steps: int) -> None:
    assert diagnose_series(healthy_run(steps)).verdict == "inconclusive"
    assert diagnose_series(healthy_run(16)).verdict == "stable"


def test_a_run_in_which_nothing_was_measured_is_not_stable() -> None:
    """Losses and norms that are unknown at every step are no sign of health."""
    run = healthy_run(96)
    unknown = replace(
        run, **{name: np.full(96, np.nan) for name in ("loss", "norm", "clip", "update")}
    )
    unknown = replace(
        unknown, block_norm=np.full_like(run.block_norm, np.nan), update_block=np.full(96, -1)
    )
    assert set(PER_STEP) >= {"loss", "norm"}
    assert diagnose_series(unknown).verdict != "stable"


def test_losses_alone_do_not_make_a_run_stable() -> None:
    run = healthy_run(96)
    frozen = replace(run, norm=np.full(96, np.nan), block_norm=np.full_like(run.block_norm, np.nan))
    found = diagnose_series(frozen)
    assert (found.verdict, found.findings) == ("inconclusive", ())
    assert "no gradient was recorded" in found.why
    broken = replace(frozen, loss=np.where(np.arange(96) < 60, frozen.loss, np.nan))
    assert diagnose_series(broken).verdict == "failed"


@pytest.mark.parametrize(
    ("lacks", "expected"),
    [
        (["loss"], "inconclusive"),
        (["grad_norm"], "inconclusive"),
        (["loss", "grad_norm", "nonfinite", "skipped"], "inconclusive"),
        (
            [
                "clip_coef",
                "amp_scale",
                "lr/weight",
                "accumulate",
                "epoch",
                "skipped",
                "momentum",
                "seconds",
            ],
            "stable",
        ),
    ],
    ids=["no loss", "no norm", "nothing", "nothing that matters"],
)
def test_a_trace_without_some_columns_is_classified_by_the_others(
    lacks: list[str], expected: str
) -> None:
    names = [b.name for b in header().blocks]
    steps = steps_frame([record(s, loss=8.0 - 0.05 * s) for s in range(60)]).drop(lacks)
    blocks = blocks_frame([record(s) for s in range(60)], names)
    trace = Trace(
        path=Path(),
        header=header(),
        steps=conform(steps, "steps", names),
        blocks=blocks.filter(blocks["block"].cast(str) != NAMES[2]),
        events=_events([("end", 59, '{"completed": true}')]),
    )
    found = diagnose_trace(trace)
    assert (found.verdict, found.findings) == (expected, ())
    assert diagnose_trace(trace, outcome="crashed").verdict == "inconclusive"
