"""A benchmark folder, whole or partial, to the files of the matrix."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from fabricated import fill, matrix_suite

from yolo_stability.benchmarks.results import BenchmarkResult, results_to_json
from yolo_stability.benchmarks.rows import RunResultRow
from yolo_stability.benchmarks.suite import Suite
from yolo_stability.core.errors import ConfigError, TraceError
from yolo_stability.studies.remedy_matrix import score_matrix, write_remedies
from yolo_stability.studies.remedy_matrix.matrix import RemedyCell
from yolo_stability.studies.remedy_matrix.result import MatrixResult

SUITE = matrix_suite()
ALIVE: list[float | None] = [0.8] * 5
DEAD: list[float | None] = [None] * 5
WHOLE = {
    "control": ALIVE,
    "no-norm": [0.0] * 5,
    "sgd-lr-100": DEAD,
    "remedy-agc": [0.76] * 5,
    "group-norm": [0.6] * 5,
    "no-norm+remedy-agc": [0.0, 0.1, 0.0, 0.5, 0.0],
    "sgd-lr-100+remedy-agc": ALIVE,
    "sgd-lr-100+remedy-adamw": DEAD,
    "sgd-lr-100+group-norm": DEAD,
}


def found(result: MatrixResult, cause: str, remedy: str) -> RemedyCell:
    return next(cell for cell in result.cells if (cell.cause, cell.remedy) == (cause, remedy))


def test_a_whole_matrix(tmp_path: Path) -> None:
    result = write_remedies(fill(tmp_path / "bench", SUITE, WHOLE))
    assert result.ended_runs == result.planned_runs == 45
    verdicts = {(c.cause, c.remedy): c.verdict for c in result.cells}
    assert verdicts == {
        ("no-norm", "remedy-agc"): "unproven",
        ("no-norm", "remedy-adamw"): "void",  # the recipe has it already
        ("no-norm", "group-norm"): "costly",  # 0.6 of 0.8 on the healthy recipe
        ("sgd-lr-100", "remedy-agc"): "recommended",
        ("sgd-lr-100", "remedy-adamw"): "unproven",
        ("sgd-lr-100", "group-norm"): "unproven",
    }
    saved = found(result, "sgd-lr-100", "remedy-agc")
    assert (saved.own.saved, saved.gain.value, saved.replaced) == (5, 1.0, ("clip",))
    assert (
        found(result, "no-norm", "group-norm").arm == "group-norm"
    )  # takes all of it back: the same runs
    assert {p.remedy: p.own.fitness.value for p in result.prices} == pytest.approx(
        {"remedy-agc": 0.95, "remedy-adamw": 1.0, "group-norm": 0.75}
    )
    assert [(row.name, row.cause, row.optimizer) for row in result.rows] == [
        ("no-norm", "normalization", "AdamW"),
        ("sgd-lr-100", "learning_rate", "SGD"),
    ]


def test_a_partial_matrix_is_anecdotal_and_says_what_is_missing(tmp_path: Path) -> None:
    bench = fill(
        tmp_path, SUITE, {"control": [0.8], "sgd-lr-100": [None], "sgd-lr-100+remedy-agc": [0.8]}
    )
    result = write_remedies(bench)
    assert (result.ended_runs, result.planned_runs) == (3, 45)
    assert found(result, "sgd-lr-100", "remedy-agc").verdict == "anecdotal"
    assert found(result, "sgd-lr-100", "group-norm").verdict == "missing"
    text = (bench / "remedies.md").read_text()
    assert "3 of 45 runs have ended" in text
    assert "None so far." in text
    assert "anecdotal: too few seeds" in text


def test_runs_without_a_healthy_control_are_told(tmp_path: Path) -> None:
    bench = fill(tmp_path, SUITE, {"control": [0.8, 0.0], "sgd-lr-100": [None] * 3})
    result = write_remedies(bench)
    assert result.uncounted_runs == 3  # the control of seed 1, and what hangs on it and on seed 2
    assert "3 of them are excluded" in (bench / "remedies.md").read_text()


def test_an_empty_folder_with_a_plan_renders(tmp_path: Path) -> None:
    result = write_remedies(fill(tmp_path, SUITE, {}))
    assert result.ended_runs == 0
    assert {cell.verdict for cell in result.cells} == {"void", "missing"}


def test_the_files(tmp_path: Path) -> None:
    bench, target = fill(tmp_path / "bench", SUITE, WHOLE), tmp_path / "remedies.json"
    write_remedies(bench, target)
    content = json.loads((bench / "remedies.json").read_text())
    assert content["schema_version"] == 1
    assert target.read_bytes() == (bench / "remedies.json").read_bytes()
    assert (bench / "figures" / "remedies.png").read_bytes().startswith(b"\x89PNG")
    text = (bench / "remedies.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("| `clip=agc:0.01`"))
    assert line == "| `clip=agc:0.01` | 1/5, 0.15 | **5/5, 1.00 †** ✓ | 0.95 [0.95, 0.95] |"
    assert "| `norm=group` | 5/5, 0.75 † | 0/5, 0.00 | 0.75 [0.75, 0.75] |" in text
    before = [
        (bench / name).read_bytes()
        for name in ("remedies.json", "remedies.md", "figures/remedies.png")
    ]
    write_remedies(bench)
    assert before == [
        (bench / n).read_bytes() for n in ("remedies.json", "remedies.md", "figures/remedies.png")
    ]


def test_runs_of_other_settings_count_nowhere(tmp_path: Path) -> None:
    fill(tmp_path, SUITE.changed({"overrides": {"epochs": 2}}), {"remedy-agc": ALIVE})
    result = write_remedies(fill(tmp_path, SUITE, {"control": ALIVE}))
    assert (result.ended_runs, result.stale_runs) == (5, 5)


def test_a_run_that_is_half_written_or_was_killed_counts_nowhere(tmp_path: Path) -> None:
    fill(tmp_path, SUITE, {"remedy-agc": ALIVE}, outcome="killed")
    bench = fill(tmp_path, SUITE, {"control": ALIVE})
    next(bench.glob("runs/control/detect/*/3/run.json")).write_text('{"digest"')
    next(bench.glob("runs/control/detect/*/4/spec.json")).unlink()
    assert write_remedies(bench).ended_runs == 3


def results(suite: Suite, *rows: RunResultRow) -> str:
    return results_to_json(
        BenchmarkResult(
            schema_version=1,
            suite=suite.name,
            description="",
            manifest={"command": "yolo-stability benchmark suite=mine"},
            arms=(),
            runs=rows,
            comparisons=(),
        )
    )


def judged(seed: int, verdict: str) -> RunResultRow:
    values = {"outcome": "finished", "verdict": verdict, "fitness": 0.8, "steps": 128}
    return RunResultRow(
        arm="sgd-lr-100+remedy-agc", task="detect", model="yolo26n.yaml", seed=seed, **values
    )


def test_verdicts_come_from_the_results_unless_a_run_has_ended_since(tmp_path: Path) -> None:
    bench = fill(tmp_path, SUITE, WHOLE)
    (bench / "results.json").write_text(
        results(SUITE, *(judged(seed, "failed") for seed in range(5)))
    )
    result = write_remedies(bench)
    assert found(result, "sgd-lr-100", "remedy-agc").own.called_failed == 5
    assert result.command == "yolo-stability benchmark suite=mine"
    later = (bench / "results.json").stat().st_mtime + 100
    os.utime(next(bench.glob("runs/sgd-lr-100+remedy-agc/detect/*/2/run.json")), (later, later))
    assert found(write_remedies(bench), "sgd-lr-100", "remedy-agc").own.called_failed == 4


def test_other_benchmarks_have_no_matrix(tmp_path: Path) -> None:
    plain = Suite.model_validate(
        {"name": "mine", "control": "control", "arms": ["control", "no-norm"]}
    )
    bench = fill(tmp_path, plain, {"control": ALIVE})
    assert score_matrix(bench) is None
    assert not (bench / "remedies.json").exists()
    with pytest.raises(
        ConfigError, match=r"has no causes and remedies. Choose a folder of suite=remedies"
    ):
        write_remedies(bench)


@pytest.mark.parametrize("text", [None, "{", '{"suite": {"name": 3}}', "[]"])
def test_what_is_no_benchmark_is_told_in_one_sentence(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "plan.json").write_text(text)
    with pytest.raises(TraceError, match=r"contains no plan.json") as error:
        write_remedies(tmp_path)
    assert "\n" not in str(error.value)


def test_a_crash_is_named(tmp_path: Path) -> None:
    bench = fill(tmp_path, SUITE, {"control": ALIVE})
    rows = (
        replace(
            judged(0, "failed"), arm="control", outcome="crashed", error="RuntimeError: no | luck"
        ),
    )
    (bench / "results.json").write_text(results(SUITE, *rows))
    assert write_remedies(bench).crashes == {"RuntimeError: no | luck": 1}
    assert "- 1 x RuntimeError: no / luck" in (bench / "remedies.md").read_text()
