"""The bench measures what it says: weights of kinds, intervals, and a real round of it."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from measure import RULES_EVERY, Sample, rows, shares, weighted_median  # noqa: E402
from traces import header, record  # noqa: E402
from variants import AGAIN, FULL, GUARDED, RECORDED, STOCK, fill_window  # noqa: E402

from yolo_stability.diagnosis.live import LiveRules  # noqa: E402


def test_shares_follow_the_schedules() -> None:
    assert shares(STOCK, 5, 1) == {"plain": 1.0}
    assert shares(RECORDED, 5, 1) == pytest.approx(
        {"plain": 0.75, "flush": 0.1875, "rules": 1 / 16}
    )
    guarded = shares(GUARDED, 1, 1)
    assert guarded == pytest.approx({"snapshot": 1 / 32, "rules": 1 / 16, "flush": 29 / 32})
    full = shares(FULL, 7, 1)
    assert sum(full.values()) == pytest.approx(1)
    assert full["snapshot"] == pytest.approx(1 / 32)
    assert full["rules"] == pytest.approx(1 / 16)
    assert full["sampled"] == pytest.approx(
        1 / 10 - 1 / 160 - 2 / 160
    )  # steps that are also another kind count there
    assert shares(FULL, 1000, 10)["snapshot"] == pytest.approx(5 / 16)  # a turn of 10 steps


def test_the_schedule_of_the_rules_is_that_of_a_run() -> None:
    """They are asked of every 16th step once a run is no longer young."""
    rules = LiveRules()
    rules.open(header().blocks)
    asked = []
    for step in range(200):
        rules.observe(record(step, [1.0, 2.0, 1.5, 3.0], loss=5.0))
        asked += [step] if rules._since == 0 else []
    assert [b - a for a, b in itertools.pairwise(s for s in asked if s >= 64)] == [RULES_EVERY] * 7


def test_a_filled_window_is_what_a_long_run_shows_the_rules() -> None:
    rules = LiveRules()
    rules.open(header().blocks)
    for step in range(20):
        rules.observe(record(step, [1.0 + step, 2.0, 1.5, 3.0], loss=5.0 + step))
    fill_window(rules, every=4)
    asked = []
    for step in range(20, 40):
        assert rules.observe(record(step, [10.0, 2.0, 1.5, 3.0], loss=15.0)) == ()
        asked += [step] if rules._since == 0 else []
    assert rules._rows is not None
    seen = rules._rows.series(())
    assert seen.step.tolist() == list(range(40 - 512, 40))
    assert set(seen.loss[:-20].tolist()) == {5.0 + step for step in range(4, 20)}
    assert set(seen.block_norm[0, :-20].tolist()) == {1.0 + step for step in range(4, 20)}
    assert asked == [23, 27, 31, 35, 39]


def test_rare_costs_count_by_their_share() -> None:
    """A plain median would not see a kind that comes once in ten turns."""
    ratios = {"plain": np.full(90, 1.01), "sampled": np.full(10, 1.11)}
    found = weighted_median(ratios, {"plain": 0.9, "sampled": 0.1})
    assert (found.ratio, found.low, found.high) == pytest.approx((1.02, 1.02, 1.02))
    alone = weighted_median({"plain": np.full(5, 1.01)}, {"plain": 0.9, "sampled": 0.1})
    assert alone.ratio == pytest.approx(1.01)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.Generator(np.random.PCG64(3))
    hits = 0
    for _ in range(200):
        found = weighted_median({"plain": random.normal(1.01, 0.03, 60)}, {"plain": 1.0})
        hits += found.low <= 1.01 <= found.high
    assert 180 <= hits <= 200


def test_turns_are_paired_by_round() -> None:
    """A slow round is slow for all: ratios do not notice, ratios of medians would."""
    slow = [1.0, 5.0, 1.0, 9.0, 1.0, 1.0]
    samples = {
        STOCK: [Sample(i, "plain", 100 * s, 100 * s) for i, s in enumerate(slow)],
        AGAIN: [Sample(i, "plain", 100 * s, 100 * s) for i, s in enumerate(slow)],
        RECORDED: [Sample(i, "plain", 102 * s, 101 * s) for i, s in enumerate(slow) if i % 2],
    }
    found = {row.variant: row for row in rows(samples, dense_rounds=0, flush_every=1000, turn=1)}
    assert found[AGAIN].wall.ratio == pytest.approx(1)
    assert found[RECORDED].wall.ratio == pytest.approx(1.02)
    assert found[RECORDED].cpu.ratio == pytest.approx(1.01)
    assert found[RECORDED].added_ms == pytest.approx(2)


@pytest.mark.trains
def test_a_short_bench_prints_and_writes_its_table(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    done = subprocess.run(
        [sys.executable, str(HERE / "bench.py"), "--quick", "seconds=1", f"out={out}"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode in {0, 3, 4}, (
        done.stderr
    )  # whether the goal is met is not for so short a run to say
    assert "wall ratio (95 %)" in done.stdout
    case = json.loads(out.read_text())["cases"][0]
    names = {row["variant"] for row in case["rows"]}
    assert {AGAIN, RECORDED, GUARDED, FULL, ".item() per parameter"} <= names
    assert case["stock_ms"] > 0


def test_a_wrong_option_is_a_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "bench.py"), "--fast"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("'--fast' is not an option of the bench.")


def test_without_a_gpu_the_gpu_bench_says_so(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = subprocess.run(
        [sys.executable, str(HERE / "gpu" / "bench.py")],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "needs a CUDA GPU" in done.stdout
