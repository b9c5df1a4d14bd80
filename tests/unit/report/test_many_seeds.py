"""A benchmark of many seeds: a page shows some of them, says which, and counts them all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
from sample_benchmark import sample

from yolo_stability.benchmarks.results import (
    RESULTS_FILE,
    SERIES_FILE,
    BenchmarkResult,
    results_to_json,
)
from yolo_stability.report.outline import Section, build_outline
from yolo_stability.report.run_bins import read_series
from yolo_stability.report.write import write_report

ARMS = ("control", "skipping")
BLOCKS = ("model.0 Conv", "model.1 Conv")
SEEDS = tuple(range(30))


def made(folder: Path, **choices: Any) -> tuple[BenchmarkResult, pl.DataFrame]:
    """Write a benchmark of which seed 17 alone failed, and seed 23 was in trouble first."""
    result, series = sample(
        **{"arms": ARMS, "tasks": ("detect",), "seeds": SEEDS, "blocks": BLOCKS, **choices}
    )
    changed = {17: {"verdict": "failed", "onset_step": 40}, 23: {"onset_step": 2}}
    runs = tuple(
        replace(r, **changed.get(r.seed, {})) if r.arm == "skipping" else r for r in result.runs
    )
    result = replace(result, runs=runs)
    (folder / RESULTS_FILE).write_text(results_to_json(result), encoding="utf-8")
    series.write_parquet(folder / SERIES_FILE)
    return result, series


def sections(folder: Path, **choices: Any) -> list[Section]:
    result, _ = made(folder, **choices)
    return [
        section
        for group in build_outline(result, read_series(folder / SERIES_FILE)).groups
        for section in group.sections
    ]


def test_ten_seeds_of_an_arm_are_shown_those_first_in_trouble_among_them(tmp_path: Path) -> None:
    control, arm = sections(tmp_path)
    assert [run.seed for run, _ in arm.runs] == [0, 1, 2, 3, 4, 5, 6, 7, 17, 23]
    assert [run.seed for run, _ in arm.control] == [run.seed for run, _ in arm.runs]
    assert [run.seed for run, _ in control.runs] == list(range(10))
    assert (arm.omitted, control.omitted) == (20, 20)
    assert arm.cell.verdict == "failed"
    assert arm.cell.runs == "1 of 30 runs"


def test_few_seeds_are_all_shown(tmp_path: Path) -> None:
    for section in sections(tmp_path, seeds=tuple(range(10))):
        assert (len(section.runs), section.omitted, section.note) == (10, 0, "")


def test_with_many_arms_fewer_seeds_are_shown_but_never_less_than_three(tmp_path: Path) -> None:
    many = build_outline(_with_arms(made(tmp_path)[0], 60), read_series(tmp_path / SERIES_FILE))
    shown = {len(section.runs) for group in many.groups for section in group.sections}
    assert shown == {3}


def _with_arms(result: BenchmarkResult, count: int) -> BenchmarkResult:
    """Return the result with its second arm there so many times."""
    one = next(arm for arm in result.arms if not arm.is_control)
    own = [run for run in result.runs if run.arm == one.name]
    names = [f"arm-{i}" for i in range(2 * count)]
    return replace(
        result,
        arms=(*result.arms[:1], *(replace(one, name=name) for name in names)),
        runs=(
            *(run for run in result.runs if run.arm != one.name),
            *(replace(run, arm=name) for name in names for run in own),
        ),
    )


def test_a_control_without_a_seed_in_common_is_shown_all_the_same(tmp_path: Path) -> None:
    result, _ = made(tmp_path)
    moved = tuple(
        replace(run, seed=run.seed + 100) if run.arm == "skipping" else run for run in result.runs
    )
    outline = build_outline(replace(result, runs=moved), read_series(tmp_path / SERIES_FILE))
    assert [run.seed for run, _ in outline.groups[0].sections[1].control] == list(range(10))


def test_page_and_markdown_say_what_is_left_out_and_list_every_run(tmp_path: Path) -> None:
    made(tmp_path)
    html, markdown, *_ = write_report(tmp_path)
    note = "10 of 30 runs are shown: for each verdict the run with the earliest onset"
    for path in (html, markdown):
        text = path.read_text(encoding="utf-8")
        assert text.count(note) == 2
        for seed in SEEDS:
            assert f"skipping, detect, yolo26n.yaml, seed {seed}" in text
    small, many = tmp_path / "few", tmp_path / "many"
    sizes = []
    for folder, seeds in ((small, 10), (many, 60)):
        folder.mkdir()
        made(folder, seeds=tuple(range(seeds)))
        sizes.append(write_report(folder)[0].stat().st_size)
    assert sizes[1] - sizes[0] < 50 * 2 * 1000  # a line each, no charts
