"""Benchmarks that were never run: results and series with known content, for tests of the report."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from yolo_stability.benchmarks.plan import RunSpec
from yolo_stability.benchmarks.results import (
    RESULTS_FILE,
    SCHEMA_VERSION,
    SERIES_FILE,
    BenchmarkResult,
    results_to_json,
)
from yolo_stability.benchmarks.rows import Arm, BlockRatio, Comparison, Interval, RunResultRow
from yolo_stability.core.findings import Cause, Finding

HOSTILE = "<script>alert(1)</script>\"'&|`_*[x](y)\u202e"
BINS = 60
SCHEMA = {
    "arm": pl.String, "task": pl.String, "model": pl.String, "seed": pl.Int64, "bin": pl.Int64,
    "first_step": pl.Int64, "last_step": pl.Int64, "block": pl.String, "index": pl.Int64, "median": pl.Float64,
    "highest": pl.Float64, "nonfinite": pl.Int64, "skipped": pl.Int64, "loss": pl.Float64, "loss_highest": pl.Float64,
}  # fmt: skip
_TRUNK = (
    *(
        "0 Conv",
        "1 Conv",
        "2 C3k2",
        "3 Conv",
        "4 C3k2",
        "5 Conv",
        "6 C3k2",
        "7 Conv",
        "8 C3k2",
        "9 SPPF",
    ),
    *("10 C2PSA", "13 C3k2", "16 C3k2", "17 Conv", "19 C3k2", "20 Conv", "22 C3k2"),
)
_HEAD = ("cv2 {} box", "cv3 {} cls", "cv4 {} keypoints", "flow_model {} flow")
BLOCKS = tuple(
    f"model.{name}"
    for name in (
        *_TRUNK,
        *(f"23.{twin}{part.format('Detect')}" for twin in ("", "one2one_") for part in _HEAD),
    )
)


@dataclass(frozen=True)
class Behaviour:
    """What the runs of an arm do: their norms relative to control, and where they end."""

    kind: str
    fate: str = "stable"
    slope: float = 1.0  # factor on the norm per block, from the head towards the first
    growth: float = 1.0  # factor on everything at the onset
    onset: int | None = None
    lasts: float = 1.0  # share of the planned steps
    skips: bool = False
    overrides: tuple[tuple[str, Any], ...] = ()


ARMS = {
    "control": Behaviour("control"),
    "huge-lr": Behaviour(
        "cause", "failed", growth=1e9, onset=5, lasts=0.06, overrides=(("lr_mult", 1000),)
    ),
    "no-norm": Behaviour("cause", "failed", slope=0.4, onset=16, overrides=(("norm", "none"),)),
    "collapse": Behaviour(
        "cause", "failed", growth=0.0, onset=40, lasts=0.5, overrides=(("lr_mult", 100),)
    ),
    "skipping": Behaviour(
        "both", "unstable", onset=30, skips=True, overrides=(("fault", "nan_grad@30"),)
    ),
    "tiny-batch": Behaviour("cause", growth=3.0, onset=1, overrides=(("batch", 1), ("nbs", 1))),
    "agc": Behaviour("remedy", slope=1.05, overrides=(("clip", "agc:0.01"),)),
}


def sample(
    *,
    arms: tuple[str, ...] = tuple(ARMS),
    tasks: tuple[str, ...] = ("detect", "pose"),
    seeds: tuple[int, ...] = (0, 1),
    planned: int = 160,
    blocks: tuple[str, ...] = BLOCKS,
    hostile: bool = False,
) -> tuple[BenchmarkResult, pl.DataFrame]:
    """Return a result and its series.

    Args:
        arms: Which of `ARMS`.
        tasks: Tasks.
        seeds: Seeds of each arm.
        planned: Steps of a whole run.
        blocks: Names of the blocks.
        hostile: Append to every name what a page must escape.
    """
    tail = HOSTILE if hostile else ""
    blocks = tuple(block + tail for block in blocks)
    names = {name: name + tail for name in arms}
    keys = [(arm, task, seed) for arm in arms for task in tasks for seed in seeds]
    rows: list[tuple[Any, ...]] = []
    runs = []
    for arm, task, seed in keys:
        noise = random.Random(f"{arm} {task} {seed}")
        model = model_of(task) + tail
        rows += series_rows((names[arm], task, model, seed), ARMS[arm], planned, blocks, noise)
        runs.append(run_row(names[arm], task, model, seed, ARMS[arm], planned, blocks, tail))
    comparisons = [
        comparison(names[arm], task, model_of(task) + tail, seeds, ARMS[arm], blocks)
        for arm in arms
        if arm != "control"
        for task in tasks
    ]
    result = BenchmarkResult(
        schema_version=SCHEMA_VERSION,
        suite="sample" + tail,
        description="Do the stock settings survive what the textbook warns of?" + tail,
        manifest={
            "command": "yolo-stability benchmark suite=sample" + tail,
            "device": "cpu",
            "threads": 1,
            "versions": {"python": "3.12.1", "torch": "2.8.0", "ultralytics": "8.4.60"},
            "data": {
                "shapes.yaml" + tail: "sha256:0123456789abcdef",
                "figures.yaml": "sha256:fedcba9876543210",
            },
        },
        arms=tuple(
            Arm(
                name=names[arm],
                is_control=arm == "control",
                kind=ARMS[arm].kind,
                claim=f"The textbook says something about {arm}." + tail,
                expects="It is expected to show." + tail,
                overrides=dict(ARMS[arm].overrides),
            )
            for arm in arms
        ),
        runs=tuple(runs),
        comparisons=tuple(comparisons),
        totals={
            "wall": 169.2,
            "steps": 120.5,
            "startup": 40.25,
            "outcomes": {"finished": len(runs)},
        },
    )
    return result, pl.DataFrame(rows, schema=SCHEMA, orient="row")


def write_sample(folder: Path, **choices: Any) -> BenchmarkResult:
    """Write a sample as the runner of suites would, and return it."""
    result, series = sample(**choices)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULTS_FILE).write_text(results_to_json(result), encoding="utf-8")
    series.write_parquet(folder / SERIES_FILE)
    return result


def model_of(task: str) -> str:
    return "yolo26n.yaml" if task == "detect" else f"yolo26n-{task}.yaml"


def series_rows(
    key: tuple[str, str, str, int],
    how: Behaviour,
    planned: int,
    blocks: tuple[str, ...],
    noise: random.Random,
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of one run, sorted as in the file."""
    bins = min(BINS, planned)
    edges = [round(i * planned / bins) for i in range(bins + 1)]
    count = max(1, round(bins * how.lasts))
    spans = [(edges[i] + 1, edges[i + 1]) for i in range(count)]
    onset_bin = next(
        (i for i, (_, last) in enumerate(spans) if how.onset and last >= how.onset), None
    )
    dies = how.fate == "failed" and how.lasts < 0.2
    for row, block in enumerate((None, *blocks)):
        depth = row / len(blocks)
        for i, (first, last) in enumerate(spans):
            after = onset_bin is not None and i >= onset_bin
            nonfinite = (
                12
                if (dies and i == count - 1) or (how.skips and i == onset_bin and row in (0, 3))
                else 0
            )
            level = 400 * (0.2 + depth) * math.exp(-i / bins) * (0.8 + 0.4 * noise.random())
            level *= how.slope ** (len(blocks) - row) if block else 1.0
            level *= how.growth if after else 1.0
            median = None if nonfinite and dies else level
            loss = (5 * math.exp(-2 * i / bins) + 1 + 0.2 * noise.random()) * (
                0.0 if after and not how.growth else 1.0
            )
            yield (
                *key, i, first, last, block, None if block is None else row - 1, median,
                None if median is None else median * 1.5, nonfinite,
                1 if how.skips and nonfinite else 0,
                None if block or median is None else loss, None if block or median is None else loss * 1.2,
            )  # fmt: skip


def run_spec(**changed: Any) -> RunSpec:
    """Return the specification of a run that may be forked on Linux."""
    usual = {
        "arm": "a",
        "task": "detect",
        "model": "m",
        "seed": 0,
        "settings": {"device": "cpu"},
        "minutes": 5.0,
        "gigabytes": 8.0,
        "zero_loss_steps": 16,
        "digest": "d",
    }
    return RunSpec(**{**usual, **changed})


def run_row(
    arm: str,
    task: str,
    model: str,
    seed: int,
    how: Behaviour,
    planned: int,
    blocks: tuple[str, ...],
    tail: str,
) -> RunResultRow:
    steps = max(1, round(planned * how.lasts))
    good = how.fate == "stable"
    return RunResultRow(
        arm=arm,
        task=task,
        model=model,
        seed=seed,
        outcome="finished" if how.lasts == 1 else "stopped",
        verdict=how.fate,
        why=f"{how.fate}: the norm was what it was" + tail,
        onset_step=None if good else how.onset,
        onset_sign=None if good else ("non_finite" if how.growth > 1 else "vanishing"),
        onset_block=None if good else blocks[0],
        steps=steps,
        planned_steps=planned,
        trace_digest=f"{seed:064x}",
        metrics={"metrics/mAP50(B)": 0.76 if good else 0.0},
        fitness=0.76 - 0.01 * seed if good else 0.0,
        peak_norm=612.0 * max(how.growth, 1.0),
        median_norm=231.0,
        clip_saturation=None if how.fate == "failed" else 0.98,
        skipped=1 if how.skips else 0,
        seconds={"startup": 4.5, "steps": 20.25, "total": 24.75},
        effective={
            "lr0": 0.005,
            "norm": "batch",
            "batch": 8,
            "data": "shapes.yaml" + tail,
            **dict(how.overrides),
        },
        cause=None if good else "learning_rate",
        causes=() if good else causes(tail),
        findings=() if good else findings(how.onset or 0, blocks[0], tail),
        error="RuntimeError: the loss is NaN" + tail if how.lasts < 0.2 else None,
        folder=f"runs/{arm}/{task}/{model}/{seed}",
    )


def causes(tail: str) -> tuple[Cause, ...]:
    return (
        Cause(
            name="learning_rate",
            score=0.85,
            evidence="the updates were as long as the weights" + tail,
        ),
        Cause(name="normalization", score=0.1, evidence="nothing normalises" + tail),
        Cause(name="unknown", score=0.05, evidence="what the evidence leaves open"),
    )


def findings(onset: int, block: str, tail: str) -> tuple[Finding, ...]:
    return (
        Finding(
            rule="update_ratio",
            severity="warning",
            message="updates were long" + tail,
            first_step=onset,
            last_step=onset,
            remedy="lr_mult=0.1" + tail,
        ),
        Finding(
            rule="exploding",
            severity="critical",
            message="the gradient norm leapt" + tail,
            block=block,
            first_step=onset,
            last_step=onset + 1200,
            observed=1e9,
            threshold=100.0,
            remedy="clip=norm:10",
        ),
    )


def comparison(
    arm: str, task: str, model: str, seeds: tuple[int, ...], how: Behaviour, blocks: tuple[str, ...]
) -> Comparison:
    failures = len(seeds) if how.fate == "failed" else 0
    alone = len(seeds) == 1
    ratios = tuple(
        BlockRatio(
            block=block,
            index=i,
            ratio=Interval(value=how.slope ** (len(blocks) - i)),
            nonfinite_runs=failures if how.lasts < 0.2 else 0,
        )
        for i, block in enumerate(blocks)
    )
    verb = {"failed": "failed", "unstable": "was unstable", "stable": "stayed stable"}[how.fate]
    return Comparison(
        arm=arm,
        task=task,
        model=model,
        seeds=seeds,
        failures=failures,
        unstable=len(seeds) if how.fate == "unstable" else 0,
        rate=Interval(
            value=failures / len(seeds),
            low=None if alone else 0.342 * bool(failures),
            high=None if alone else 1.0 if failures else 0.658,
        ),
        control_rate=Interval(value=0.0, low=None if alone else 0.0, high=None if alone else 0.658),
        p_value=None if alone else 0.0625,
        onset=Interval(value=None if how.fate == "stable" else float(how.onset or 0)),
        peak_ratio=Interval(
            value=max(how.growth, 1.0), low=None if alone else 0.9, high=None if alone else 2e9
        ),
        median_ratio=Interval(value=1.02),
        fitness_difference=Interval(value=-0.76 if failures else 0.0),
        clip_saturation=0.98,
        blocks=ratios,
        worst_block=blocks[0] if failures else None,
        anecdotal=alone,
        sentence=(
            f"{arm} on {task}: {verb} in {len(seeds)} of {len(seeds)} runs "
            + ("(34% to 100% of runs would)" if failures else "(0% to 66% of runs would fail)")
            + ("" if how.fate == "stable" else f", first sign at step {how.onset} in {blocks[0]}")
            + f", largest norm {max(how.growth, 1.0):g} times the control's."
            + (" One seed: anecdotal." if alone else "")
        ),
    )
