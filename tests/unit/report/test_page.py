"""`report.html`: what it says, what it draws, and that nothing in it comes from elsewhere or runs
by surprise."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sample_benchmark import BLOCKS, write_sample
from sample_benchmark import sample as make

from yolo_stability.benchmarks.results import BenchmarkResult, results_to_json
from yolo_stability.core.errors import TraceError
from yolo_stability.report.run_bins import read_series
from yolo_stability.report.write import write_report

WRITE = """
import sys, pathlib
from yolo_stability.report.write import write_report
write_report(pathlib.Path(sys.argv[1]))""".strip()
FEW = ("control", "huge-lr", "skipping")


class Page(HTMLParser):
    """Elements with their attributes, the visible text, and what the script elements hold."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._inside: list[str] = []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())
        self.spec: dict[str, Any] = json.loads(self.scripts[0])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag in ("script", "style"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._inside and tag == self._inside[-1]:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.words.append(data)
        elif self._inside[-1] == "script":
            self.scripts.append(data)

    def having(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]


def report(folder: Path, **choices: Any) -> Page:
    write_sample(folder, **choices)
    return written(folder)


def written(folder: Path) -> Page:
    return Page(write_report(folder)[0].read_text(encoding="utf-8"))


def rewrite(folder: Path, result: BenchmarkResult) -> Page:
    (folder / "results.json").write_text(results_to_json(result), encoding="utf-8")
    return written(folder)


def cells(
    frame: pl.DataFrame, arm: str, seed: int, block: str, column: str = "median"
) -> list[float | None]:
    """Read the values of a block off the table itself."""
    chosen = frame.filter(
        (pl.col("arm") == arm)
        & (pl.col("seed") == seed)
        & (pl.col("task") == "detect")
        & (pl.col("block") == block)
    )
    return chosen.sort("bin")[column].to_list()


def section_of(page: Page, arm: str, arms: tuple[str, ...] = FEW) -> str:
    return f"g1-a{arms.index(arm) + 1}"


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return report(tmp_path_factory.mktemp("few"), arms=FEW)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Page]:
    folder = tmp_path_factory.mktemp("hostile")
    return folder, report(folder, arms=FEW, tasks=("detect",), hostile=True)


# --- what it says ---------------------------------------------------------------------------------


def test_the_first_part_says_which_arms_broke_how_fast_where_and_how_sure(few: Page) -> None:
    result, _ = make(arms=FEW)
    top = few.text[: few.text.index("Verdicts by arm and task")]
    assert "1 of 2 arms failed: huge-lr." in top
    assert "1 of 2 arms became unstable: skipping." in top
    assert "The control was stable in 4 of 4 runs." in top
    for comparison in result.comparisons:
        assert comparison.sentence in top


def test_the_worst_verdicts_come_first(tmp_path: Path) -> None:
    page = report(tmp_path, arms=("control", "agc", "huge-lr"), tasks=("detect",))
    assert page.text.index("huge-lr on detect") < page.text.index("agc on detect")


def test_the_matrix_links_each_verdict_to_its_curves(few: Page) -> None:
    links = [a for tag, a in few.elements if tag == "a" and "aria-label" in a]
    assert [(a["href"], a["aria-label"]) for a in links][2:4] == [
        ("#g1-a2", "huge-lr, Detection: failed"),
        ("#g2-a2", "huge-lr, Pose: failed"),
    ]
    assert (
        f"2 of 2 runs first sign at step 5: NaN or Inf in {BLOCKS[0]} likely cause: learning rate "
        "34% to 100% of such runs would fail" in few.text
    )


def test_the_control_too_says_how_sure(few: Page) -> None:
    assert "✓ stable 2 of 2 runs 0% to 66% of such runs would fail (95% interval)" in few.text


def test_one_seed_is_called_anecdotal(tmp_path: Path, few: Page) -> None:
    page = report(tmp_path, arms=FEW, tasks=("detect",), seeds=(7,))
    top = page.text[: page.text.index("How to read this", 400)]
    assert "Every arm ran with a single seed: the results are anecdotal." in top
    assert page.text.count("one seed: anecdotal") == len(FEW)
    assert "one seed: anecdotal" not in few.text


def test_failures_are_counted_among_runs_with_a_verdict(tmp_path: Path) -> None:
    result = write_sample(tmp_path, arms=FEW, tasks=("detect",), seeds=(0, 1, 2))
    seen = [run for run in result.runs if run.arm == "huge-lr"]
    runs = tuple(replace(r, verdict="inconclusive") if r is seen[0] else r for r in result.runs)
    found = next(c for c in result.comparisons if c.arm == "huge-lr")
    changed = tuple(replace(c, failures=2) if c is found else c for c in result.comparisons)
    page = rewrite(tmp_path, replace(result, runs=runs, comparisons=changed))
    assert "huge-lr, Detection 2 of 2 " in page.text
    assert len(found.seeds) == 3


def test_settings_that_differ_are_named_and_no_others(few: Page) -> None:
    told = few.text[
        few.text.index("Settings that differ from") : few.text.index("All runs Run Outcome")
    ]
    assert "huge-lr lr_mult not set 1000 all tasks" in told
    assert "skipping fault not set nan_grad@30 all tasks" in told
    assert "lr0" not in told


def test_a_setting_that_differs_on_one_task_says_where(tmp_path: Path) -> None:
    result = write_sample(tmp_path, arms=FEW)
    runs = tuple(
        replace(r, effective={**r.effective, "lr0": 0.01})
        if (r.arm, r.task) == ("huge-lr", "pose")
        else r
        for r in result.runs
    )
    assert "huge-lr lr0 0.005 0.01 Pose" in rewrite(tmp_path, replace(result, runs=runs)).text


def test_environment_and_command_are_there(few: Page) -> None:
    assert "yolo-stability benchmark suite=sample" in few.text
    assert "versions.torch 2.8.0" in few.text


def test_lost_runs_are_told_at_the_top(tmp_path: Path, few: Page) -> None:
    result = write_sample(tmp_path, arms=FEW, tasks=("detect",))
    outcomes = {1: "killed", 2: "timeout", 3: "memory"}
    runs = tuple(replace(r, outcome=outcomes.get(i, r.outcome)) for i, r in enumerate(result.runs))
    top = rewrite(tmp_path, replace(result, runs=runs)).text
    assert (
        "3 runs did not complete: control on detection, seed 1, was killed, huge-lr on detection"
        in top
    )
    assert "seed 0, hit its time limit and huge-lr on detection, seed 1, ran out of memory." in top
    assert "did not end by themselves" not in few.text


def test_every_picture_has_words_and_numbers_beside_it(few: Page) -> None:
    charts = [a for _, a in few.elements if "data-chart" in a]
    assert len(charts) == len(few.spec["charts"]) > 0
    assert all(a["role"] == "img" and a["aria-label"] for a in charts)
    for arm in FEW:
        for seed in (0, 1):
            for place in ("detection, yolo26n.yaml", "pose, yolo26n-pose.yaml"):
                assert f"Table: block norms of {arm} on {place}, seed {seed}" in few.text
    assert "NaN or Inf in steps 9 to 11; stopped after 10 of 160 steps." in few.text


# --- what it draws --------------------------------------------------------------------------------


def test_the_heat_map_shows_the_medians_of_the_series(few: Page) -> None:
    _, frame = make(arms=FEW)
    chart = few.spec["charts"][f"{section_of(few, 'skipping')}-heat-arm"]["1"]
    grid = few.spec["grids"][chart["data"][0]["grid"]]
    for block, row in zip(BLOCKS, grid["z"], strict=True):
        assert row == pytest.approx(np.log10(cells(frame, "skipping", 1, block)), abs=2e-3)
    assert (grid["x"][0], grid["x"][-1], len(grid["x"])) == (0.5, 160.5, 61)


def test_control_and_arm_share_one_scale(few: Page) -> None:
    sides = [
        few.spec["charts"][f"g1-a2-heat-{side}"]["0"]["data"][0] for side in ("control", "arm")
    ]
    assert sides[0]["zmin"] == sides[1]["zmin"] < sides[0]["zmax"] == sides[1]["zmax"]
    assert sides[0]["grid"] != sides[1]["grid"]


def test_nan_and_skipped_steps_are_marked(few: Page) -> None:
    _, frame = make(arms=FEW)
    chart = few.spec["charts"][f"{section_of(few, 'skipping')}-heat-arm"]["0"]
    over = few.spec["grids"][chart["data"][0]["grid"]]["over"]
    bad = [[n > 0 for n in cells(frame, "skipping", 0, block, "nonfinite")] for block in BLOCKS]
    assert [[cell == 1 for cell in row] for row in over] == bad
    assert sum(map(sum, bad)) == 1
    marks = {
        t["marker"]["symbol"]: (t["x"], t["y"]) for t in chart["data"] if t["type"] == "scatter"
    }
    # 160 steps in 60 bins: step 30 lies in that of the steps 30 to 32
    assert marks == {"x-thin": ([31.0], [2]), "triangle-down": ([31.0], [-1])}


def test_every_colour_that_a_chart_names_is_in_the_style_sheet_light_and_dark(
    tmp_path: Path,
) -> None:
    write_sample(tmp_path, tasks=("detect",))
    text = write_report(tmp_path)[0].read_text(encoding="utf-8")
    style = text[text.index("<style>") : text.index("</style>")]
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    used = {
        m
        for s in strings_in(Page(text).spec["charts"])
        for m in re.findall(r"^var\((--[\w-]+)\)$", s)
    }
    assert {
        "--arm",
        "--control",
        "--arm-band",
        "--control-band",
        "--bad",
        "--skip",
        "--blank",
    } <= used
    assert all(
        f"{name}: " in light and f"{name}: " in dark.split("color-scheme: dark")[0] for name in used
    )


def test_a_norm_of_zero_has_its_own_colour(tmp_path: Path) -> None:
    page = report(tmp_path, arms=("control", "collapse"), tasks=("detect",), seeds=(0,))
    chart = page.spec["charts"]["g1-a2-heat-arm"]["0"]
    grid = page.spec["grids"][chart["data"][0]["grid"]]
    assert {row[-1] for row in grid["over"]} == {0}
    assert {row[-1] for row in grid["z"]} == {None}
    assert "every block norm of collapse is zero" in page.text


@pytest.mark.parametrize(("arm_steps", "ends"), [(1280, (160.5, 1280.5)), (320, (320.5, 320.5))])
def test_an_arm_of_far_more_steps_leaves_the_control_readable(
    arm_steps: int, ends: tuple[float, float], tmp_path: Path
) -> None:
    """A tiny batch takes 8 steps where the control takes one: on one axis the control would be a
    strip."""
    result = write_sample(tmp_path, arms=("control", "tiny-batch"), tasks=("detect",), seeds=(0,))
    control = pl.read_parquet(tmp_path / "series.parquet").filter(pl.col("arm") == "control")
    longer, series = make(
        arms=("control", "tiny-batch"), tasks=("detect",), seeds=(0,), planned=arm_steps
    )
    pl.concat([control, series.filter(pl.col("arm") == "tiny-batch")]).write_parquet(
        tmp_path / "series.parquet"
    )
    page = rewrite(tmp_path, replace(result, runs=(result.runs[0], longer.runs[1])))
    charts = page.spec["charts"]
    shown = [
        charts[f"g1-a2-heat-{side}"]["0"]["layout"]["xaxis"]["range"][1]
        for side in ("control", "arm")
    ]
    assert tuple(shown) == ends
    told = f"The control ends at step 160, this run at step {arm_steps:,}: the step axes differ."
    assert (told in page.text) == (ends[0] != ends[1])


def test_the_depth_profile_shows_start_onset_and_end(few: Page) -> None:
    _, frame = make(arms=FEW)
    bins = frame.filter(
        (pl.col("arm") == "skipping") & (pl.col("seed") == 0) & (pl.col("task") == "detect")
    )
    onset = bins.filter((pl.col("first_step") <= 30) & (pl.col("last_step") >= 30))["bin"][0]
    for name, column in {"start": 0, "onset": onset, "end": -1}.items():
        control, arm = few.spec["charts"][f"g1-a3-depth-{name}"]["0"]["data"][:2]
        assert arm["x"] == pytest.approx(
            [cells(frame, "skipping", 0, b)[column] for b in BLOCKS], rel=1e-3
        )
        assert control["x"] == pytest.approx(
            [cells(frame, "control", 0, b)[column] for b in BLOCKS], rel=1e-3
        )


def test_an_arm_without_a_sign_has_no_profile_at_the_onset(tmp_path: Path) -> None:
    page = report(tmp_path, arms=("control", "agc"), tasks=("detect",))
    assert {c for c in page.spec["charts"] if "depth" in c and c.startswith("g1-a2")} == {
        "g1-a2-depth-start",
        "g1-a2-depth-end",
    }


def test_the_curves_hold_every_seed_and_a_band_around_them(few: Page) -> None:
    _, frame = make(arms=FEW)
    whole = frame.filter(
        (pl.col("task") == "detect") & (pl.col("arm") == "control") & pl.col("block").is_null()
    )
    data = few.spec["charts"]["g1-a3-curves"][""]["data"]
    lines = {
        t["name"]: t["y"]
        for t in data
        if t.get("legendgroup", "").startswith("control") and t["yaxis"] == "y"
    }
    assert set(lines) == {"control, seed 0", "control, seed 1"}
    for seed in (0, 1):
        expected = whole.filter(pl.col("seed") == seed).sort("bin")["median"].to_list()
        assert lines[f"control, seed {seed}"] == pytest.approx(expected, rel=1e-3)
    band = next(t for t in data if t.get("fill") == "toself" and t["yaxis"] == "y")
    assert min(v for v in band["y"] if v) == pytest.approx(whole["median"].min(), rel=1e-3)
    assert max(v for v in band["y"] if v) == pytest.approx(whole["highest"].max(), rel=1e-3)


def test_the_seed_whose_trouble_began_first_is_shown_first(tmp_path: Path) -> None:
    result = write_sample(tmp_path, arms=("control", "skipping"), tasks=("detect",))
    runs = tuple(
        replace(r, onset_step=12) if (r.arm, r.seed) == ("skipping", 1) else r for r in result.runs
    )
    page = rewrite(tmp_path, replace(result, runs=runs))
    chosen = [
        a["value"] for _, a in page.elements if a.get("name") == "seed-g1-a2" and "checked" in a
    ]
    assert chosen == ["1"]
    assert [a["data-seed"] for _, a in page.elements if a.get("id") == "g1-a2-heat-arm"] == ["1"]


# --- alone, the same each time, and safe
# ------------------------------------------------------------------------------


def test_nothing_is_loaded_from_elsewhere(few: Page) -> None:
    assert few.having("src") == []
    assert not {"link", "img", "iframe", "object", "base"} & {tag for tag, _ in few.elements}
    assert all(link.startswith("#") for link in few.having("href"))
    policy = next(
        a["content"] for _, a in few.elements if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'")


def test_ids_are_unique_and_every_link_has_its_target(few: Page) -> None:
    ids = Counter(few.having("id"))
    assert set(ids.values()) == {1}
    assert {link[1:] for link in few.having("href")} <= set(ids)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    write_sample(tmp_path, arms=FEW, tasks=("detect",))
    seen = []
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-c", WRITE, str(tmp_path)],
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        names = (
            "report.html",
            "report.md",
            "figures/g1-detect-blocks.png",
            "figures/g1-detect-curves.png",
        )
        seen.append([(tmp_path / name).read_bytes() for name in names])
    assert seen[0] == seen[1]


def test_the_report_needs_neither_torch_nor_ultralytics(tmp_path: Path) -> None:
    write_sample(tmp_path, arms=FEW, tasks=("detect",))
    code = WRITE + "; print(sorted({'torch', 'ultralytics'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert done.stdout == "[]\n"


def test_hostile_names_become_text(hostile: tuple[Path, Page]) -> None:
    _, page = hostile
    kinds = Counter(tag for tag, _ in page.elements)
    assert kinds["script"] == 3
    assert "<script>alert(1)</script>\"'&|`_*[x](y)" in page.text
    assert not any(key.startswith("on") for _, attributes in page.elements for key in attributes)
    assert "\u202e" not in page.text + page.scripts[0]


def test_hostile_names_are_text_for_plotly_too(hostile: tuple[Path, Page]) -> None:
    strings = list(strings_in(hostile[1].spec["charts"]))
    assert any("&lt;script&gt;" in text for text in strings)
    assert not any(re.search(r"<(?!br>|/?sup>)", text) for text in strings)


def strings_in(value: Any) -> Iterator[str]:
    """Yield every string that plotly is given, `<extra></extra>` being its own way to say nothing
    more."""
    if isinstance(value, str):
        yield value.replace("<extra></extra>", "")
    elif isinstance(value, dict):
        yield from (text for item in value.values() for text in strings_in(item))
    elif isinstance(value, list):
        yield from (text for item in value for text in strings_in(item))


def test_pictures_have_harmless_names(hostile: tuple[Path, Page]) -> None:
    folder, _ = hostile
    assert sorted(path.name for path in (folder / "figures").iterdir()) == [
        "g1-detect-blocks.png",
        "g1-detect-curves.png",
    ]


def test_every_verdict_has_its_mark_and_an_unknown_one_none(tmp_path: Path) -> None:
    result = write_sample(tmp_path, arms=("control",), tasks=("detect",), seeds=(0, 1))
    runs = (
        replace(result.runs[0], verdict="inconclusive"),
        replace(result.runs[1], verdict="inconclusive"),
    )
    assert "? inconclusive 2 of 2 runs" in rewrite(tmp_path, replace(result, runs=runs)).text


# --- what may be missing
# ----------------------------------------------------------------------------------------------


def test_a_run_without_any_step_is_told(tmp_path: Path) -> None:
    write_sample(tmp_path, arms=("control", "huge-lr"), tasks=("detect",), seeds=(0,))
    series = pl.read_parquet(tmp_path / "series.parquet")
    series.filter(pl.col("arm") == "control").write_parquet(tmp_path / "series.parquet")
    page = written(tmp_path)
    assert "huge-lr, seed 0: No step of this run was recorded." in page.text
    assert not any(chart.startswith("g1-a2") for chart in page.spec["charts"])


def test_runs_without_blocks_have_curves_only(tmp_path: Path) -> None:
    write_sample(tmp_path, arms=FEW, tasks=("detect",))
    series = pl.read_parquet(tmp_path / "series.parquet")
    series.filter(pl.col("block").is_null()).write_parquet(tmp_path / "series.parquet")
    assert set(written(tmp_path).spec["charts"]) == {"g1-a1-curves", "g1-a2-curves", "g1-a3-curves"}


def test_without_a_control_arms_stand_alone(tmp_path: Path) -> None:
    result = write_sample(tmp_path, arms=FEW, tasks=("detect",))
    arms = tuple(replace(arm, is_control=False) for arm in result.arms)
    page = rewrite(tmp_path, replace(result, arms=arms, comparisons=()))
    assert "There is no control: each arm is assessed on its own." in page.text
    assert not any(chart.endswith("heat-control") for chart in page.spec["charts"])


def test_an_empty_benchmark_has_a_report(tmp_path: Path) -> None:
    result = write_sample(tmp_path, arms=("control",), tasks=("detect",), seeds=(0,))
    series = pl.read_parquet(tmp_path / "series.parquet")
    series.clear().write_parquet(tmp_path / "series.parquet")
    page = rewrite(tmp_path, replace(result, runs=(), comparisons=()))
    assert "How to read this" in page.text
    assert page.spec["charts"] == {}


def test_a_gap_between_bins_stays_empty(tmp_path: Path) -> None:
    write_sample(tmp_path, arms=("control",), tasks=("detect",), seeds=(0,))
    file = tmp_path / "series.parquet"
    pl.read_parquet(file).filter(~pl.col("bin").is_in([10, 11])).write_parquet(file)
    (series,) = read_series(file).values()
    assert (int(series.first[10]), int(series.last[10])) == (
        28,
        32,
    )  # bins 10 and 11 of 160 steps in 60 bins
    assert np.isnan(series.block_norm[:, 10]).all()
    assert np.isfinite(np.delete(series.block_norm, 10, axis=1)).all()


def test_missing_or_broken_series_are_one_sentence(tmp_path: Path) -> None:
    write_sample(tmp_path, arms=("control",), tasks=("detect",), seeds=(0,))
    file = tmp_path / "series.parquet"
    pl.read_parquet(file).drop("median").write_parquet(file)
    with pytest.raises(
        TraceError, match=r"series.parquet lacks the column 'median'. Run the benchmark again"
    ):
        write_report(tmp_path)
    file.write_bytes(b"PAR1 half")
    with pytest.raises(
        TraceError, match=r"series.parquet cannot be read \([^\n]+\)\. Run the benchmark again"
    ):
        write_report(tmp_path)
    file.unlink()
    with pytest.raises(
        TraceError, match=r"series.parquet is missing. Run the benchmark again: it resumes"
    ):
        write_report(tmp_path)


def test_a_million_steps_make_a_small_page_in_little_memory(tmp_path: Path) -> None:
    write_sample(tmp_path, planned=1_000_000)
    # Not ru_maxrss: a child inherits the peak of the process that forked it.
    peak = "next(int(x.split()[1]) for x in open('/proc/self/status') if x.startswith('VmHWM'))"
    code = f"{WRITE}; import time; print({peak} / 1e6, time.process_time())"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True
    )
    gigabytes, seconds = map(float, done.stdout.split())
    assert (tmp_path / "report.html").stat().st_size < 12e6
    assert gigabytes < 1.5
    assert seconds < 15
