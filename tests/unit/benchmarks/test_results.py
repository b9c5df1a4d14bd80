"""Terminal output of a benchmark, and errors for results that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from yolo_stability.benchmarks.results import (
    SCHEMA_VERSION,
    BenchmarkResult,
    read_results,
    results_to_json,
)
from yolo_stability.core.errors import TraceError

COST = {
    "jobs": 2,
    "wall_seconds": 313.0,
    "ran": 28,
    "step_seconds_ran": 478.2,
    "startup_seconds_median": 3.28,
}


def result(**totals: Any) -> BenchmarkResult:
    return BenchmarkResult(
        schema_version=SCHEMA_VERSION,
        suite="mine",
        description="",
        manifest={},
        arms=(),
        runs=(),
        comparisons=(),
        totals=totals,
    )


def test_the_cost_beyond_the_steps_is_told_in_two_lines() -> None:
    lines = result(**COST).lines()
    assert lines == [
        "time: 313 s for 28 runs, 2 in parallel; startup 3.3 s per run (median)",
        "step loops: 478 s, 76% of 2 x 313 s; the rest is startup and validation",
    ]
    wide = result(
        **{
            **COST,
            "jobs": 128,
            "wall_seconds": 99_999.0,
            "ran": 6000,
            "step_seconds_ran": 9_876_543.0,
        }
    )
    assert max(len(line) for line in wide.lines()) <= 80


def test_one_run_alone_is_told_as_such() -> None:
    lines = result(
        jobs=1, wall_seconds=20.0, ran=1, step_seconds_ran=15.0, startup_seconds_median=None
    ).lines()
    assert lines == [
        "time: 20 s for 1 run, one at a time",
        "step loops: 15 s, 75% of the total; the rest is startup and validation",
    ]


@pytest.mark.parametrize(
    "totals", [{}, {"runs": 2}, {**COST, "ran": 0}, {"wall_seconds": 3.0, "jobs": 1}]
)
def test_nothing_is_told_where_nothing_was_run(totals: dict[str, Any]) -> None:
    assert result(**totals).lines() == []


def test_a_result_of_schema_1_is_read_with_causes_as_they_are_called_now(tmp_path: Path) -> None:
    row = {"arm": "normalisation", "task": "detect", "model": "m", "seed": 0}
    row |= {"outcome": "finished", "verdict": "failed", "cause": "normalisation"}
    row |= {"causes": [{"name": "initialisation", "score": 1.0, "evidence": "e"}]}
    content = {**json.loads(results_to_json(result())), "schema_version": 1, "runs": [row]}
    (tmp_path / "results.json").write_text(json.dumps(content))
    found = read_results(tmp_path)
    assert found.schema_version == SCHEMA_VERSION == 2
    assert [(r.arm, r.cause, r.causes[0].name, r.learning) for r in found.runs] == [
        ("normalisation", "normalization", "initialization", "unknown")
    ]
    content["schema_version"] = 3
    (tmp_path / "results.json").write_text(json.dumps(content))
    with pytest.raises(
        TraceError, match="schema version 3; this version of the package reads 1 and 2"
    ):
        read_results(tmp_path)


def test_a_result_is_read_back(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(results_to_json(result(**COST)))
    assert read_results(tmp_path) == result(**COST)
    assert read_results(tmp_path).folder == tmp_path


GOOD = json.loads(results_to_json(result(**COST)))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (
            json.dumps({**GOOD, "schema_version": 9}),
            "has schema version 9; this version of the package reads 1",
        ),
        (
            json.dumps({k: v for k, v in GOOD.items() if k != "schema_version"}),
            "has schema version None",
        ),
        ("[]", "has schema version None"),
        (json.dumps(GOOD)[:-40], "cannot be read"),
        ("", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("\x00\xff", "cannot be read"),
        (
            json.dumps({k: v for k, v in GOOD.items() if k != "runs"}),
            "is not a valid result (runs: Field required)",
        ),
        (json.dumps({**GOOD, "runs": [{"arm": "x"}]}), "is not a valid result"),
        (json.dumps({**GOOD, "runs": 3}), "is not a valid result"),
        (json.dumps({**GOOD, "arms": ["control"]}), "is not a valid result"),
        (json.dumps({**GOOD, "comparisons": [{"blocks": [1]}]}), "is not a valid result"),
        (
            json.dumps({**GOOD, "more": 1}),
            "is not a valid result (more: Unexpected keyword argument)",
        ),
        (
            json.dumps({**GOOD, "suite": 3}),
            "is not a valid result (suite: Input should be a valid string)",
        ),
        (
            json.dumps({**GOOD, "totals": {"a": float("nan")}}),
            "NaN is not a finite number",
        ),
        (
            json.dumps({**GOOD, "totals": {"a": 0.5}}).replace("0.5", "1e999"),
            "1e999 is not a finite number",
        ),
    ],
)
def test_what_is_not_whole_is_told_in_one_sentence(
    content: str, complaint: str, tmp_path: Path
) -> None:
    (tmp_path / "results.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(TraceError) as error:
        read_results(tmp_path)
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)
    assert "results.json" in str(error.value)


@pytest.mark.parametrize(
    "diagnosis", [{"causes": [{"name": "data"}]}, {"findings": [{"rule": "r", "worse": 1}]}]
)
def test_a_diagnosis_that_is_not_whole_is_told_in_one_sentence(
    diagnosis: dict[str, Any], tmp_path: Path
) -> None:
    run = {
        "arm": "a",
        "task": "t",
        "model": "m",
        "seed": 0,
        "outcome": "finished",
        "verdict": "failed",
        **diagnosis,
    }
    (tmp_path / "results.json").write_text(json.dumps({**GOOD, "runs": [run]}))
    with pytest.raises(TraceError, match="not a valid result"):
        read_results(tmp_path)
