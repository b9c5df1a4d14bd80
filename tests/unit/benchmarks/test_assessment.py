"""Verdicts, comparisons and summaries of the synthetic runs of a small suite."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from traces import NAMES, record, write

from yolo_stability.benchmarks.arm_comparison import compare_arms
from yolo_stability.benchmarks.assessment import Assessment, assess, with_measures
from yolo_stability.benchmarks.fitness import fitness_of, key_of
from yolo_stability.benchmarks.results import BenchmarkResult, results_to_json
from yolo_stability.benchmarks.rows import Arm, Comparison, Interval, RunResultRow
from yolo_stability.benchmarks.verdict import RunVerdict
from yolo_stability.core.findings import Finding
from yolo_stability.core.types import StepRecord, Trace
from yolo_stability.diagnosis.diagnose import diagnose_series
from yolo_stability.diagnosis.examples import healthy_run
from yolo_stability.trace import load_trace
from yolo_stability.trace.arrays import BlockProfile
from yolo_stability.trace.digest import trace_digest

CONTROL, ARM, OTHER = (
    Arm(name=n, is_control=n == "control", kind="cause", claim="", expects="", overrides={})
    for n in ("control", "no-norm", "other")
)
ARMS = (CONTROL, ARM, OTHER)


def row(arm: str = "no-norm", seed: int = 0, **changes: Any) -> RunResultRow:
    values = {
        "task": "detect",
        "model": "yolo26n.yaml",
        "outcome": "finished",
        "verdict": "inconclusive",
    }
    return RunResultRow(**{**values, "arm": arm, "seed": seed, **changes})


def steps(factor: float = 1.0, count: int = 40) -> list[StepRecord]:
    """A run with constant norms, those of the first block times a factor from step 1 on."""
    return [
        record(s, (3.0 * factor if s else 3.0, 4.0, 2.0, 12.0), loss=8.0 - 0.1 * s)
        for s in range(count)
    ]


def scaled_by(r: StepRecord, factor: float) -> StepRecord:
    return record(
        r.step,
        [None if s.grad_norm is None else s.grad_norm * factor for s in r.blocks],
        loss=r.loss,
    )


def settled(arm: str, seed: int, verdict: str, **known: Any) -> RunResultRow:
    return row(arm, seed, verdict=verdict, why=known.pop("why", "it went so"), **known)


def only(runs: list[RunResultRow], profiles: dict[Any, BlockProfile] | None = None) -> Comparison:
    (found,) = compare_arms((CONTROL, ARM), runs, profiles or {})
    return found


# --- from traces ----------------------------------------------------------------------------------


@pytest.fixture
def suite(tmp_path: Path) -> tuple[Assessment, dict[Any, Trace]]:
    traces: dict[Any, Trace] = {}
    rows = []
    for arm, seed, records, changes in (
        (
            "no-norm",
            0,
            steps(3e-6),
            {"metrics": {"metrics/mAP50(B)": 0.003, "metrics/mAP50(P)": 0.9}},
        ),
        (
            "no-norm",
            1,
            steps(3e-6),
            {"metrics": {"metrics/mAP50(B)": 0.001, "val/box_loss": math.nan}},
        ),
        ("other", 0, [], {"outcome": "memory", "error": "Killed"}),
        ("other", 1, steps(1.5), {"metrics": {"metrics/mAP50(B)": 0.8}}),
        ("control", 0, steps(), {"metrics": {"metrics/mAP50(B)": 0.76}}),
        ("control", 1, steps(2.0), {"metrics": {"metrics/mAP50(B)": 0.74}}),
    ):
        rows.append(row(arm, seed, planned_steps=120, **changes))
        if records:
            traces[key_of(rows[-1])] = load_trace(write(tmp_path / arm / str(seed), records))
    return assess(ARMS, rows, lambda r: traces.get(key_of(r))), traces


def test_each_run_gets_its_verdict_and_numbers(suite: tuple[Assessment, dict[Any, Trace]]) -> None:
    runs, traces = suite[0].runs, suite[1]
    assert [(r.arm, r.seed, r.verdict) for r in runs] == [
        ("no-norm", 0, "failed"),
        ("no-norm", 1, "failed"),
        ("other", 0, "inconclusive"),
        ("other", 1, "stable"),
        ("control", 0, "stable"),
        ("control", 1, "stable"),
    ]
    first = runs[0]
    assert (first.onset_step, first.onset_sign, first.onset_block) == (
        15,
        "vanishing",
        "model.0 Conv",
    )
    assert (first.steps, first.planned_steps, first.skipped) == (40, 120, 0)
    assert first.peak_norm == pytest.approx(math.sqrt(3**2 + 4**2 + 2**2 + 12**2))
    assert first.median_norm == pytest.approx(math.sqrt(4**2 + 2**2 + 12**2))
    assert first.clip_saturation == 1.0
    assert first.trace_digest == trace_digest(traces[key_of(first)])
    assert [r.fitness for r in runs] == [0.003, 0.001, 0.0, 0.8, 0.76, 0.74]
    assert runs[1].metrics == {"metrics/mAP50(B)": 0.001}
    dead = runs[2]
    assert (dead.onset_sign, dead.onset_step, dead.trace_digest, dead.steps) == (
        "crash",
        0,
        None,
        0,
    )
    assert dead.why == "the process ran out of memory and left no trace"


def test_arms_are_compared_over_paired_seeds(suite: tuple[Assessment, dict[Any, Trace]]) -> None:
    found, other = suite[0].comparisons
    assert (found.arm, found.seeds, found.failures, found.unstable, found.anecdotal) == (
        "no-norm",
        (0, 1),
        2,
        0,
        False,
    )
    assert found.rate == Interval(
        value=1.0, low=pytest.approx(0.3424, abs=1e-4), high=pytest.approx(1.0)
    )
    assert found.control_rate == Interval(
        value=0.0, low=pytest.approx(0.0), high=pytest.approx(0.6576, abs=1e-4)
    )
    assert found.p_value == pytest.approx(0.125, abs=1e-6)
    assert found.onset == Interval(value=15.0, low=15.0, high=15.0)
    assert found.fitness_difference.value == pytest.approx((0.003 - 0.76 + 0.001 - 0.74) / 2)
    assert (found.clip_saturation, found.worst_block) == (1.0, "model.0 Conv")
    ratio = found.blocks[0].ratio
    assert [b.block for b in found.blocks] == list(NAMES)
    assert (ratio.low, ratio.value, ratio.high) == pytest.approx((1.5e-6, 2.25e-6, 3e-6), rel=1e-5)
    assert [b.ratio.value for b in found.blocks[1:]] == [1.0, 1.0, 1.0]
    # the run without a trace leaves one pair
    assert other.blocks[0].ratio == Interval(value=pytest.approx(0.75))
    assert (other.failures, other.anecdotal) == (0, True)  # a run that left nothing is no result


def test_a_reader_who_was_not_there_understands_the_sentence(
    suite: tuple[Assessment, dict[Any, Trace]],
) -> None:
    found, other = suite[0].comparisons
    assert found.sentence == (
        "no-norm on detect failed in 2 of 2 runs (95 % interval 34 % to 100 %; control 0 of 2, "
        "p = 0.12): in the run with seed 0, gradients of model.0 Conv, the first block, were "
        "7.4e-7 times those of the head; the model did not learn: final fitness 0.003, "
        "control 0.75."
    )
    assert other.sentence.startswith(
        "other on detect did not fail in its only run (a single run: anecdotal; control 0 of 2): "
        "in the run with seed 1, "
    )
    assert other.sentence.endswith("; mean final fitness 0.4, control 0.75; 1 run inconclusive.")


def test_series_holds_all_traces_and_everything_is_json(
    suite: tuple[Assessment, dict[Any, Trace]],
) -> None:
    found = suite[0]
    counts = found.series.group_by("arm", maintain_order=True).len().rows()
    assert counts == [
        ("control", 2 * 5 * 20),
        ("no-norm", 2 * 5 * 20),
        ("other", 5 * 20),
    ]  # 40 steps in bins of 2
    result = BenchmarkResult(
        schema_version=1,
        suite="s",
        description="",
        manifest={},
        arms=ARMS,
        runs=found.runs,
        comparisons=found.comparisons,
    )
    assert json.loads(results_to_json(result))["comparisons"][0]["seeds"] == [0, 1]


def test_a_run_that_is_merely_too_short_counts_and_has_its_own_column() -> None:
    young = {"learning": "too_early"}
    found = only(
        [
            settled("control", 0, "stable"),
            settled("control", 1, "inconclusive"),
            settled("no-norm", 0, "failed"),
            settled("no-norm", 1, "inconclusive", **young),
            settled("no-norm", 2, "inconclusive"),
        ]
    )
    assert (found.failures, found.too_early, found.anecdotal) == (1, 1, False)
    assert found.rate.value == 0.5
    assert found.control_rate.value == 0.0
    assert found.sentence.startswith("no-norm on detect failed in 1 of 2 runs")
    assert found.sentence.endswith(
        "; 1 run too short to know whether it learns; 1 run inconclusive."
    )
    alone = only([settled("control", 0, "stable"), settled("no-norm", 0, "inconclusive", **young)])
    assert (alone.failures, alone.too_early) == (0, 1)
    assert alone.sentence.startswith("no-norm on detect did not fail in its only run")


def test_a_failed_control_is_no_reference(tmp_path: Path) -> None:
    bad = [replace(r, loss=math.nan) if r.step > 20 else r for r in steps(1e-6)]
    traces = {
        ("control", 0): load_trace(write(tmp_path / "c0", bad)),
        ("control", 1): load_trace(write(tmp_path / "c1", steps())),
        ("no-norm", 0): load_trace(write(tmp_path / "a0", steps())),
    }
    rows = [row("control", 0), row("control", 1), row("no-norm", 0)]
    both = assess(ARMS, rows, lambda r: traces.get((r.arm, r.seed)))
    assert [r.verdict for r in both.runs] == ["failed", "stable", "stable"]
    alone = assess(ARMS, [rows[0], rows[2]], lambda r: traces.get((r.arm, r.seed)))
    assert [r.verdict for r in alone.runs] == ["failed", "stable"]  # assessed by its own past
    high = load_trace(write(tmp_path / "a1", [scaled_by(r, 200.0) for r in steps()]))
    traces["no-norm", 0] = high
    for stock, expected in ((rows[0], None), (rows[1], "exploding")):
        found = assess(ARMS, [stock, rows[2]], lambda r: traces.get((r.arm, r.seed)))
        assert (found.runs[1].verdict, found.runs[1].onset_sign) == ("stable", expected)


def test_tasks_and_models_are_kept_apart(tmp_path: Path) -> None:
    trace = load_trace(write(tmp_path, steps()))
    rows = [
        row(arm, task=t, model=m)
        for arm in ("no-norm", "control")
        for t, m in (("pose", "a"), ("detect", "b"))
    ]
    found = assess(ARMS, rows, lambda r: trace)
    assert [(c.task, c.model, c.seeds) for c in found.comparisons] == [
        ("pose", "a", (0,)),
        ("detect", "b", (0,)),
    ]


# --- from rows ------------------------------------------------------------------------------------


def test_one_seed_is_anecdotal() -> None:
    found = only(
        [
            settled("control", 0, "stable"),
            settled("no-norm", 0, "failed", onset_step=3, onset_sign="non_finite"),
        ]
    )
    assert found.anecdotal
    assert (found.rate, found.p_value) == (Interval(value=1.0), None)
    assert found.onset == Interval(value=3.0)
    assert (
        found.sentence
        == "no-norm on detect failed in its only run (a single run: anecdotal; control 0 of 1): "
        "it went so."
    )


def test_inconclusive_runs_count_in_no_rate() -> None:
    control = [settled("control", s, "stable") for s in range(3)]
    mixed = [
        settled("no-norm", 0, "unstable"),
        settled("no-norm", 1, "inconclusive"),
        settled("no-norm", 2, "failed"),
    ]
    found = only([*control, *mixed])
    assert (found.failures, found.unstable, found.rate.value) == (1, 1, 0.5)
    assert found.sentence.startswith(
        "no-norm on detect failed in 1 of 2 runs and was unstable in 1 (95 % interval 9 % to 91 %; "
    )
    assert found.sentence.endswith("in the run with seed 2, it went so; 1 run inconclusive.")
    none = only(
        [*control, *(settled("no-norm", s, "inconclusive", why="too short") for s in range(2))]
    )
    assert (none.rate.value, none.anecdotal) == (None, True)
    assert none.sentence == "no-norm on detect is inconclusive: in the run with seed 0, too short."


@pytest.mark.parametrize(
    ("verdicts", "head"),
    [
        (
            ("stable", "stable"),
            "no-norm on detect failed in none of 2 runs (95 % interval 0 % to 66 %; control 0 of 2",
        ),
        (
            ("unstable", "stable"),
            "no-norm on detect was unstable in 1 of 2 runs and failed in none (",
        ),
        (("unstable",), "no-norm on detect was unstable in its only run ("),
        (("stable",), "no-norm on detect did not fail in its only run ("),
    ],
)
def test_heads_of_sentences(verdicts: tuple[str, ...], head: str) -> None:
    control = [settled("control", s, "stable") for s in range(2)]
    found = only([*control, *(settled("no-norm", s, v) for s, v in enumerate(verdicts))])
    assert found.sentence.startswith(head)


def test_the_run_of_the_most_frequent_sign_stands_for_the_others() -> None:
    signs = ["spike", "non_finite", "non_finite"]
    runs = [
        settled("no-norm", s, "failed", onset_sign=sign, why=f"seen {sign}")
        for s, sign in enumerate(signs)
    ]
    found = only([settled("control", s, "stable") for s in range(3)] + runs)
    assert "in the run with seed 1, seen non_finite" in found.sentence


def test_ratios_pair_seeds_not_positions() -> None:
    control = [
        settled("control", s, "stable", peak_norm=10.0**s, median_norm=1.0) for s in (3, 2, 1)
    ]
    runs = [
        settled("no-norm", s, "stable", peak_norm=2 * 10.0**s, median_norm=None) for s in (1, 3, 7)
    ]
    found = only([*control, *runs])
    assert found.seeds == (1, 3)
    assert found.peak_ratio == Interval(value=2.0, low=2.0, high=2.0)
    assert found.median_ratio == Interval(value=None)
    strangers = only([control[0], settled("no-norm", 9, "stable", peak_norm=500.0)])
    assert (strangers.seeds, strangers.peak_ratio) == ((), Interval(value=0.5))


def test_the_worst_block_is_where_most_runs_broke_or_the_farthest() -> None:
    def profile(*medians: float, bad: int | None = None) -> BlockProfile:
        return BlockProfile(
            names=("a", "b", "c"),
            medians=np.array(medians),
            nonfinite=np.array([i == bad for i in range(3)]),
        )

    runs = [settled("control", 0, "stable"), settled("no-norm", 0, "stable")]
    profiles = {key_of(runs[0]): profile(1, 1, 1), key_of(runs[1]): profile(5, 0.1, 0, bad=2)}
    found = only(runs, profiles)
    assert [b.ratio.value for b in found.blocks] == [5.0, 0.1, 0.0]
    assert [(b.block, b.index, b.nonfinite_runs) for b in found.blocks] == [
        ("a", 0, 0),
        ("b", 1, 0),
        ("c", 2, 1),
    ]
    assert found.worst_block == "b"  # a ratio of 0 has no distance
    assert only([runs[0], replace(runs[1], onset_block="a")], profiles).worst_block == "a"


def test_arms_without_runs_and_suites_without_control_are_not_compared() -> None:
    assert compare_arms(ARMS, [settled("control", 0, "stable")], {}) == ()
    assert compare_arms((ARM,), [settled("no-norm", 0, "stable")], {}) == ()


def test_fitness_is_the_tasks_own() -> None:
    metrics = {"metrics/mAP50(B)": 0.99, "metrics/mAP50(P)": 0.5}
    assert fitness_of(row(metrics=metrics)) == 0.99
    assert fitness_of(row(task="pose", metrics=metrics)) == 0.5
    assert fitness_of(row(metrics={"metrics/mAP50(B)": math.nan})) is None
    assert fitness_of(row(metrics=metrics, outcome="crashed")) == 0.0
    assert with_measures(row(metrics=metrics, fitness=0.4), None, None, None).fitness == 0.4
    nothing = with_measures(row(), None, None, None)
    assert (nothing.verdict, nothing.why) == ("inconclusive", "the run left no trace")


def test_a_row_holds_the_first_and_the_most_severe_findings_in_time() -> None:
    """A result keeps the first sign, the critical findings and the causes that a page shows."""
    run = healthy_run(120)
    loss = np.where(np.arange(120) < 60, run.loss, np.nan)
    update = np.where(np.arange(120) < 50, run.update, 3.0)
    broken = replace(run, loss=loss, update=update, update_block=np.zeros(120, dtype=np.int64))
    found = with_measures(row(), broken, [], None)
    whole = diagnose_series(broken)
    assert found.verdict == whole.verdict == "failed"
    assert found.cause == whole.cause
    assert found.causes == whole.causes[:3]
    assert {f.rule for f in found.findings} >= {
        f.rule for f in whole.findings if f.severity == "critical"
    }
    steps_seen = [f.first_step for f in found.findings if f.severity != "info"]
    assert steps_seen == sorted(steps_seen)
    assert found.findings[0].first_step == found.onset_step
    assert len(found.findings) <= 6


def test_of_many_findings_the_first_and_the_most_severe_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = [
        Finding(rule=f"c{i}", severity="critical", message="", first_step=50 + i) for i in range(8)
    ]
    late[0] = replace(late[0], observed=math.inf, threshold=math.nan)
    early = Finding(rule="w", severity="warning", message="", first_step=3)
    advice = Finding(rule="i", severity="info", message="", first_step=0)
    judged = RunVerdict(verdict="failed", why="", findings=(*late, early, advice))
    monkeypatch.setattr(
        "yolo_stability.benchmarks.assessment.classify_run", lambda *_, **__: judged
    )
    kept = with_measures(row(), healthy_run(32), [], None).findings
    assert [f.rule for f in kept] == ["w", "c0", "c1", "c2", "c3", "c4"]
    assert (kept[1].observed, kept[1].threshold) == (None, None)  # JSON holds neither
    few = replace(judged, findings=(early, advice))
    monkeypatch.setattr("yolo_stability.benchmarks.assessment.classify_run", lambda *_, **__: few)
    assert [f.rule for f in with_measures(row(), healthy_run(32), [], None).findings] == ["w", "i"]
