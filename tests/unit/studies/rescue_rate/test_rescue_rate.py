"""Rescues are counted against the healthy twin of each run, where a remedy by hand shows that it
can be done."""

from __future__ import annotations

import json
from pathlib import Path

from yolo_stability.benchmarks.results import BenchmarkResult
from yolo_stability.benchmarks.rows import Arm, Interval, RunResultRow
from yolo_stability.studies.rescue_rate.report import rescue_markdown
from yolo_stability.studies.rescue_rate.result import RescueResult
from yolo_stability.studies.rescue_rate.score import RESCUE_JSON, score_rescues, write_rescues

HEALTHY = 0.8


def row(
    arm: str, fitness: float | None, *, seed: int = 0, outcome: str = "finished", digest: str = "d"
) -> RunResultRow:
    return RunResultRow(
        arm=arm,
        task="detect",
        model="yolo26n.yaml",
        seed=seed,
        outcome=outcome,
        verdict="stable",
        planned_steps=128,
        metrics={} if fitness is None else {"metrics/mAP50(B)": fitness},
        seconds={"steps": 12.0 if "+" in arm else 10.0},
        folder=f"runs/{arm}/{seed}",
        trace_digest=digest,
    )


def benchmark(*rows: RunResultRow) -> BenchmarkResult:
    names = list(dict.fromkeys(r.arm for r in rows))
    arms = tuple(
        Arm(name=n, is_control=n == "control", kind="cause", claim="", expects="", overrides={})
        for n in names
    )
    return BenchmarkResult(
        schema_version=1,
        suite="rescue",
        description="",
        manifest={},
        arms=arms,
        runs=rows,
        comparisons=(),
        totals={},
    )


def case(
    seed: int, bare: float, auto: float, random: float, hand: float, **more: str
) -> list[RunResultRow]:
    """A failing run, the same rescued, and its healthy twin."""
    return [
        row("control", HEALTHY, seed=seed),
        row("rate-30", bare, seed=seed, **more),
        row("rate-30+rescue-auto", auto, seed=seed),
        row("rate-30+rescue-random", random, seed=seed),
        row("rate-30+rescue-lower-rate", hand, seed=seed),
    ]


def test_each_run_is_held_against_its_own_twin() -> None:
    scored = score_rescues(
        benchmark(
            *case(0, bare=0.1, auto=0.75, random=0.1, hand=0.74),  # repaired, by choice only
            *case(1, bare=0.1, auto=0.75, random=0.75, hand=0.1),  # not repairable by hand
            *case(2, bare=0.79, auto=0.79, random=0.79, hand=0.79),  # did not fail
            *case(
                3, bare=0.8, auto=0.1, random=0.8, hand=0.8, outcome="crashed"
            ),  # died, whatever it had reached
        )
    )
    assert scored is not None
    total = scored.counts[-1]
    assert (total.cause, total.runs, total.failing, total.repairable) == ("all", 4, 3, 2)
    assert (total.auto, total.random, total.auto_all) == (1, 1, 2)
    assert total.by_hand == {"rescue-lower-rate": 2}
    assert scored.auto.value == 0.5
    assert scored.difference.value == 0.0
    assert scored.time_ratio == 1.2


def test_a_difference_has_the_interval_of_its_pairs() -> None:
    rows = [r for seed in range(12) for r in case(seed, 0.1, 0.75, 0.75 if seed < 3 else 0.1, 0.75)]
    scored = score_rescues(benchmark(*rows))
    assert scored is not None
    assert scored.difference.value == 0.75
    assert scored.difference.low is not None
    assert scored.difference.low > 0.3
    assert (scored.seeds, scored.drawn) == (12, "seed")
    assert "(12 here)" in rescue_markdown(scored)
    assert "single runs" not in rescue_markdown(scored)


def test_causes_of_one_seed_are_drawn_together() -> None:
    """Five causes of a seed that all end alike are no more evidence than one."""

    def scored(causes: int) -> RescueResult:
        rows = [row("control", HEALTHY, seed=seed) for seed in range(6)]
        for cause in range(causes):
            for seed in range(6):
                arm, random = f"rate-{cause}", 0.1 if seed < 4 else 0.75
                for remedy, fitness in (
                    ("", 0.1),
                    ("+rescue-auto", 0.75),
                    ("+rescue-random", random),
                ):
                    rows.append(row(f"{arm}{remedy}", fitness, seed=seed))
                rows.append(row(f"{arm}+rescue-lower-rate", 0.75, seed=seed))
        found = score_rescues(benchmark(*rows))
        assert found is not None
        return found

    one, five = scored(1), scored(5)
    assert five.counts[-1].repairable == 30
    assert one.difference == five.difference
    assert one.random_drawn == five.random_drawn
    assert five.random.high is not None
    assert five.random_drawn.high is not None
    assert five.random.high < five.random_drawn.high  # Wilson's takes them for thirty
    assert five.auto_drawn == Interval(value=1.0, low=1.0, high=1.0)


def test_below_three_seeds_single_runs_are_drawn_and_it_says_so() -> None:
    rows = [r for seed in range(2) for r in case(seed, 0.1, 0.75, 0.1, 0.75)]
    scored = score_rescues(benchmark(*rows))
    assert scored is not None
    assert (scored.seeds, scored.drawn) == (2, "run")
    assert "The bootstrap by run draws single runs" in rescue_markdown(scored)


def test_a_random_choice_on_fewer_seeds_is_drawn_by_run() -> None:
    rows = [r for seed in range(4) for r in case(seed, 0.1, 0.75, 0.1 if seed else 0.75, 0.75)]
    scored = score_rescues(
        benchmark(*(r for r in rows if r.seed < 2 or not r.arm.endswith("random")))
    )
    assert scored is not None
    assert (scored.drawn, scored.drawn_tried, scored.counts[-1].tried) == ("seed", "run", 2)
    assert scored.difference.value == 0.5
    assert scored.difference.low is not None
    assert scored.difference.low < 0.5
    assert "to 1.00, by seed |" in rescue_markdown(scored)
    assert "(95 % interval by run" in rescue_markdown(scored)


def test_healthy_runs_tell_the_price() -> None:
    rows = case(0, 0.1, 0.75, 0.1, 0.75)
    scored = score_rescues(
        benchmark(*rows, row("rescue-auto", HEALTHY), row("rescue-auto", 0.4, seed=1, digest="e"))
    )
    assert scored is not None
    assert scored.price == {"runs": 1, "fitness": 1.0, "identical": 1}


def test_a_benchmark_without_rescues_or_with_a_control_that_learnt_nothing_is_none() -> None:
    assert score_rescues(benchmark(row("control", HEALTHY), row("rate-30", 0.1))) is None
    rows = [row(r.arm, 0.01) if r.arm == "control" else r for r in case(0, 0.1, 0.75, 0.1, 0.75)]
    assert score_rescues(benchmark(*rows)) is None


def test_files_and_words(tmp_path: Path) -> None:
    result = benchmark(*case(0, 0.1, 0.75, 0.1, 0.74))
    scored = write_rescues(tmp_path, result)
    assert scored is not None
    written = json.loads((tmp_path / RESCUE_JSON).read_text())
    assert (written["schema_version"], written["auto"]["value"], written["drawn"]) == (
        2,
        1.0,
        "run",
    )
    text = (tmp_path / "rescue.md").read_text()
    assert text == rescue_markdown(scored)
    assert "| rescue=auto | 1 of 1 | 1.00 | 0.21 to 1.00 | unknown, by run |" in text
    assert write_rescues(tmp_path / "none", benchmark(row("control", HEALTHY))) is None


def test_a_random_choice_counts_where_it_was_tried(tmp_path: Path) -> None:
    first, second = (
        case(0, bare=0.1, auto=0.75, random=0.1, hand=0.74),
        case(1, bare=0.1, auto=0.75, random=0, hand=0.74),
    )
    scored = score_rescues(benchmark(*first, *(r for r in second if not r.arm.endswith("random"))))
    assert scored is not None
    total = scored.counts[-1]
    assert (total.repairable, total.auto, total.tried, total.random) == (2, 2, 1, 0)
    assert (scored.random.value, scored.difference.value) == (0.0, 1.0)
    assert "| random choice | 0 of 1 | 0.00 |" in rescue_markdown(scored)


def test_a_remedy_by_hand_that_was_not_tried_repairs_nothing() -> None:
    rows = case(0, bare=0.1, auto=0.75, random=0.1, hand=0.74)
    more = [
        row("control", HEALTHY, seed=1),
        row("rate-30", 0.1, seed=1),
        row("rate-30+rescue-auto", 0.75, seed=1),
    ]
    scored = score_rescues(benchmark(*rows, *more))
    assert scored is not None
    assert (scored.counts[-1].failing, scored.counts[-1].repairable) == (2, 1)
    assert scored.counts[-1].by_hand == {"rescue-lower-rate": 1}
