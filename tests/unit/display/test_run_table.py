"""The table and the headline in the terminal."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from traces import NAMES, header, record, write

from yolo_stability.core.types import BlockStats, StepRecord
from yolo_stability.display.run_table import run_headline, summary_table
from yolo_stability.trace import load_trace
from yolo_stability.trace.summary import RunSummary, summarize


def summary(
    folder: Path, records: Sequence[StepRecord], names: Sequence[str] = NAMES
) -> RunSummary:
    return summarize(load_trace(write(folder, records, names=names)))


def text(run: RunSummary) -> list[str]:
    console = Console(width=80, file=io.StringIO())
    console.print(summary_table(run))
    return console.file.getvalue().splitlines()


def test_table_names_every_block_under_its_part(tmp_path: Path) -> None:
    lines = [
        line.split()
        for line in text(summary(tmp_path, [record(0), record(1, (1.0, 40.0, 2.0, 0.0))]))
    ]
    assert lines[0] == ["gradient", "norm", "of", "median", "max", "at", "step", "share"]
    assert [line for line in lines[2:] if line] == [
        ["backbone"],
        ["0", "Conv", "2.00", "3.00", "0", "2.7%"],
        ["neck"],
        ["16", "C3k2", "22.0", "40.0", "1", "54.6%"],
        ["head"],
        ["23.cv2", "Detect", "box", "1.00", "2.00", "1", "0.1%"],
        ["one2one", "head"],
        ["23.one2one_cv3", "Detect", "cls", "6.00", "12.0", "0", "42.6%"],
    ]


def test_widest_table_fits_80_columns(tmp_path: Path) -> None:
    names = tuple(f"model.23.one2one_cv4_{i}{'x' * i} Pose26 keypoints" for i in range(9))
    stats = tuple(
        BlockStats(
            block=n, grad_norm=1.234e-10, nonfinite_count=1, weight_norm=1.0, update_ratio=1.23e-10
        )
        for n in names
    )
    run = summary(
        tmp_path, [record(s, blocks=stats, nonfinite=9) for s in range(100_000, 100_004)], names
    )
    lines = text(run)
    assert max(map(len, lines)) <= 80
    assert all("1.23e-10" in line and "100000" in line for line in lines if "one2one_cv4" in line)
    assert sum("one2one_cv4" in line for line in lines) == 9


def test_headline_of_a_quiet_run(tmp_path: Path) -> None:
    run = summary(tmp_path, [record(0), record(1, (0.5, 0.0, 0.0, 0.0))])
    assert run_headline(run) == (
        "2 steps, 1 clipped at 10; largest norm 12.0 in model.23.one2one_cv3 Detect cls at step 0"
    )


def test_headline_of_a_skipped_step(tmp_path: Path) -> None:
    bad = record(1, (1.0, math.nan, 1.0, 1.0), skipped="guard")
    assert run_headline(summary(tmp_path, [record(0), bad])).startswith(
        "2 steps, 1 skipped by the guard, 1 clipped at 10;"
    )
    assert run_headline(summary(tmp_path, [record(2, attempt=1)])).endswith(
        "; NaN or Inf in 1 step, in model.16 C3k2"
    )
    assert ", 2 attempts;" in run_headline(summarize(load_trace(tmp_path)))


def test_headline_when_everything_is_bad(tmp_path: Path) -> None:
    bad = [record(s, (math.nan,) * 4) for s in range(2)]
    assert run_headline(summary(tmp_path, bad)) == "2 steps; NaN or Inf in 2 steps, in every block"
    assert "-" in text(summary(tmp_path, []))[3]


def test_nothing_recorded(tmp_path: Path) -> None:
    run = summary(tmp_path, [])
    assert run_headline(run) == "No optimizer step was recorded."
    assert len(text(run)) >= len(header().blocks)
