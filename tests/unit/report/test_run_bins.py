"""Which bin of a run holds a step."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample_benchmark import write_sample

from yolo_stability.benchmarks.results import SERIES_FILE
from yolo_stability.report.run_bins import BinnedRun, read_series


@pytest.mark.parametrize("planned", [40, 160])
def test_every_step_lies_in_exactly_one_bin(tmp_path: Path, planned: int) -> None:
    """With 40 steps a bin holds one step, with 160 steps two or three."""
    run = binned(tmp_path, planned)
    held = [step for step in range(planned + 2) if run.column(step) is not None]
    assert held == list(range(1, planned + 1))
    for column, (first, last) in enumerate(zip(run.first, run.last, strict=True)):
        assert [run.column(step) for step in range(first, last + 1)] == [column] * (
            last - first + 1
        )


def test_a_run_without_onset_has_no_bin_for_it(tmp_path: Path) -> None:
    assert binned(tmp_path, 40).column(None) is None


def binned(folder: Path, planned: int) -> BinnedRun:
    """Return the only run of a small benchmark."""
    blocks = ("model.0 Conv",)
    write_sample(
        folder, arms=("control",), tasks=("detect",), seeds=(0,), planned=planned, blocks=blocks
    )
    [run] = read_series(folder / SERIES_FILE).values()
    return run
