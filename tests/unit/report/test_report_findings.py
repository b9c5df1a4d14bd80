"""What a report says of the diagnosis of its runs, in HTML and in Markdown, and of files that hold
none."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from sample_benchmark import HOSTILE, write_sample
from sample_benchmark import sample as make

from yolo_stability.benchmarks.results import read_results, results_to_json
from yolo_stability.benchmarks.rows import RunResultRow
from yolo_stability.core.findings import Cause, Finding
from yolo_stability.core.types import CauseName
from yolo_stability.diagnosis.rules import RULES
from yolo_stability.report.findings import cause_of, diagnosed
from yolo_stability.report.phrases import CAUSES, SIGNS
from yolo_stability.report.write import write_report

FEW = ("control", "huge-lr")


def row(cause: str | None = None, **changes: Any) -> RunResultRow:
    values = {
        "arm": "a",
        "task": "detect",
        "model": "m",
        "seed": 0,
        "outcome": "finished",
        "verdict": "failed",
    }
    return RunResultRow(**{**values, "cause": cause, **changes})


def test_every_rule_and_cause_has_words() -> None:
    assert set(RULES) <= set(SIGNS)
    assert set(CAUSES) == set(get_args(CauseName))


def test_a_run_with_trouble_is_told_in_full() -> None:
    causes = (
        Cause(name="data", score=0.754, evidence="one batch"),
        Cause(name="numeric_range", score=0.15, evidence="one block alone"),
        Cause(name="unknown", score=0.096, evidence="what the evidence leaves open"),
    )
    findings = (
        Finding(
            rule="spike",
            severity="warning",
            message="it leapt",
            first_step=1200,
            last_step=3400,
            block="b",
        ),
        Finding(rule="no such rule", severity="info", message="nobody knows", remedy="wait"),
    )
    (found,) = diagnosed([row("data", seed=7, why="so it was", causes=causes, findings=findings)])
    assert (found.seed, found.verdict, found.why) == (7, "failed", "so it was")
    assert found.cause == "data (75% of the evidence): one batch"
    assert found.others == ("numeric range (15% of the evidence): one block alone",)
    first, second = found.seen
    assert (first.what, first.where) == ("a gradient spike", "steps 1,200 to 3,400, in b")
    assert (second.what, second.where, second.remedy) == ("no such rule", "", "wait")


def test_runs_without_trouble_or_without_a_diagnosis_say_nothing() -> None:
    advice = (Finding(rule="stall", severity="info", message="m"),)
    assert (
        diagnosed(
            [row("data"), row(verdict="stable", findings=advice), row(verdict="inconclusive")]
        )
        == ()
    )
    (lonely,) = diagnosed([row(findings=advice)])
    assert lonely.cause.startswith("unknown")


@pytest.mark.parametrize(
    ("causes", "expected"),
    [
        ([None, None], ""),
        (["data", "data"], "likely cause: data"),
        (["learning_rate", "data", "learning_rate"], "likely cause: learning rate (2 of 3 runs)"),
        (["unknown"], "cause unknown"),
    ],
)
def test_the_cell_names_the_most_frequent_cause(causes: list[str | None], expected: str) -> None:
    assert cause_of([row(cause) for cause in causes]) == expected


def test_page_and_markdown_tell_cause_findings_and_remedy(tmp_path: Path) -> None:
    write_sample(tmp_path, arms=FEW, tasks=("detect",))
    html, text, *_ = (path.read_text(encoding="utf-8") for path in write_report(tmp_path)[:2])
    assert html.count("<small>likely cause: learning rate</small>") == 1  # one cell of the matrix
    assert html.count('<details class="diagnosed">') == 2  # one of each seed, folded
    assert html.index("likely cause: learning rate") < html.index('<details class="diagnosed">')
    for said in (
        "(85% of the evidence): the updates were as long as the weights",
        "steps 5 to 1,205",
        "lr_mult=0.1",
    ):
        assert html.count(said) == 2
    assert html.index("updates were long.") < html.index("the gradient norm leapt")
    assert "<br>likely cause: learning rate<br>" in text
    assert (
        text.count(
            "**Diagnosis of seed 0, failed.** Likely cause: learning rate (85% of the evidence)"
        )
        == 1
    )
    assert (
        "2. critical: an exploding gradient, steps 5 to 1,205, in model.0 Conv: the gradient norm "
        "leapt." in text
    )
    assert "To try: clip=norm:10." in text


def test_hostile_diagnoses_are_text(tmp_path: Path) -> None:
    write_sample(tmp_path, arms=FEW, tasks=("detect",), hostile=True)
    html, text = (path.read_text(encoding="utf-8") for path in write_report(tmp_path)[:2])
    assert "updates were long&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "nothing normalises&lt;script&gt;" in html
    assert "<script>alert" not in html
    assert "updates were long\\<script\\>" in text
    assert not re.search(r"(long|normalises|leapt|0\.1)<script>", text)
    assert "\u202e" not in html + text
    assert "\u202e" in HOSTILE


def test_a_diagnosis_is_read_back(tmp_path: Path) -> None:
    written = write_sample(tmp_path, arms=FEW)
    assert read_results(tmp_path).runs == written.runs
    assert written.runs[-1].findings


def test_files_without_a_diagnosis_are_still_drawn(tmp_path: Path) -> None:
    """As they were written before diagnoses were part of them."""
    result, series = make(arms=FEW, tasks=("detect",))
    content = json.loads(results_to_json(result))
    for run in content["runs"]:
        del run["causes"], run["findings"]
    (tmp_path / "results.json").write_text(json.dumps(content))
    series.write_parquet(tmp_path / "series.parquet")
    assert read_results(tmp_path).runs == tuple(
        replace(run, causes=(), findings=()) for run in result.runs
    )
    html, text = (path.read_text(encoding="utf-8") for path in write_report(tmp_path)[:2])
    assert '<details class="diagnosed">' not in html
    assert "Diagnosis of" not in text
    assert "likely cause: learning rate" in html
