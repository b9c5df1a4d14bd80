"""Displayed results are short, complete and escaped."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from odd_runs import golden_folders

from yolo_stability.benchmarks.results import BenchmarkResult
from yolo_stability.benchmarks.rows import Arm, RunResultRow
from yolo_stability.core.findings import Cause, Diagnosis, Finding
from yolo_stability.core.types import Trace
from yolo_stability.diagnosis.diagnose import diagnose_trace
from yolo_stability.trace import load_trace
from yolo_stability.trainer.result import RunResult

HOSTILE = "<script>alert('x')</script>&"


class Tags(HTMLParser):
    """Collects tags and text, and whether tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)
        if tag not in {"br", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def trace() -> Trace:
    return load_trace(golden_folders()[0])


def hostile() -> Diagnosis:
    return Diagnosis(
        run_id=HOSTILE,
        verdict="failed",
        why=HOSTILE,
        cause="data",
        causes=(Cause(name="data", score=1.0, evidence=HOSTILE),),
        findings=(
            Finding(
                rule="spike", severity="critical", message=HOSTILE, block=HOSTILE, remedy=HOSTILE
            ),
        ),
    )


def result(trace: Trace, **changed: object) -> RunResult:
    given = {
        "save_dir": Path("runs/detect/train"),
        "trace": trace,
        "metrics": {"metrics/mAP50(B)": 0.51239, "fitness": 0.4, "val/box_loss": 1.0},
        "diagnosis": diagnose_trace(trace),
    }
    return RunResult(**{**given, **changed})


def test_a_run_in_a_terminal(trace: Trace) -> None:
    shown = result(trace)
    steps, blocks = trace.steps.height, len(trace.header.blocks)
    lines = str(shown).splitlines()
    assert lines[:3] == [
        "run: runs/detect/train",
        f"recorded: {steps} steps of {blocks} blocks",
        "metrics: mAP50(B) 0.512",
    ]
    assert lines[3:] == diagnose_trace(trace).lines()
    assert max(map(len, lines)) <= 80
    assert repr(shown) == (
        f"<RunResult 'runs/detect/train': {steps} steps of {blocks} blocks, "
        f"{diagnose_trace(trace).verdict}>"
    )


def test_a_stopped_run_says_so_and_counts_what_was_left_out(trace: Trace) -> None:
    import polars as pl

    skipped = pl.when(pl.col("step").is_in([3, 5, 6])).then(pl.lit("guard")).alias("skipped")
    shown = result(
        replace(trace, steps=trace.steps.with_columns(skipped)),
        stopped="10 steps in a row",
        diagnosis=None,
        metrics={},
    )
    assert str(shown).splitlines()[2:] == ["skipped updates: 3", "stopped: 10 steps in a row"]
    assert repr(shown).endswith(", not recorded>")


def test_a_diagnosis_is_short_where_it_is_echoed() -> None:
    found = hostile()
    assert repr(found) == f"<Diagnosis '{HOSTILE}': failed, cause data, findings 1>"
    assert str(found).splitlines() == found.lines()


def test_a_run_in_a_notebook(trace: Trace) -> None:
    page = Tags(result(trace)._repr_html_())
    assert page.open == []
    assert "runs/detect/train" in page.text
    assert diagnose_trace(trace).why in page.text


@pytest.mark.parametrize("kind", ["run", "benchmark"])
def test_nothing_in_a_result_becomes_markup(kind: str, trace: Trace) -> None:
    if kind == "run":
        shown = result(
            trace, save_dir=Path(HOSTILE), stopped=HOSTILE, diagnosis=hostile()
        )._repr_html_()
    else:
        shown = benchmark(description=HOSTILE, suite=HOSTILE)._repr_html_()
    page = Tags(shown)
    assert page.open == []
    assert "script" not in page.seen
    assert HOSTILE in page.text
    assert not re.search(r"(?<!-)color:(?!inherit)", shown)  # readable on light and on dark


def benchmark(**changed: object) -> BenchmarkResult:
    given = {
        "schema_version": 1,
        "suite": "demo",
        "description": "What holds?",
        "manifest": {},
        "arms": (
            Arm(
                name="control", is_control=True, kind="control", claim="", expects="", overrides={}
            ),
        ),
        "runs": (
            RunResultRow(
                arm="control",
                task="detect",
                model="m",
                seed=0,
                outcome="finished",
                verdict="stable",
            ),
            RunResultRow(
                arm=HOSTILE,
                task="pose",
                model="m",
                seed=1,
                outcome="killed",
                verdict="failed",
                error=HOSTILE,
            ),
        ),
        "comparisons": (),
        "folder": Path("bench"),
    }
    return BenchmarkResult(**{**given, **changed})


def test_a_benchmark_shows_itself() -> None:
    shown = benchmark()
    assert repr(shown) == "<BenchmarkResult 'demo': arms 1, runs 2, lost 1>"
    assert str(shown).splitlines() == [
        "demo: What holds?",
        f"- lost: {HOSTILE}, pose, seed 1: killed, {HOSTILE}",
        "report: bench/report.html",
    ]
    page = Tags(shown._repr_html_())
    assert page.open == []
    assert {"b", "ul", "li"} <= page.seen


def test_a_trace_shows_itself(trace: Trace) -> None:
    steps, blocks = trace.steps.height, len(trace.header.blocks)
    expected = (
        f"<Trace '{trace.path}': {steps} steps of {blocks} blocks, {trace.events.height} events>"
    )
    assert (repr(trace), str(trace)) == (expected, expected)
    page = Tags(replace(trace, path=Path(HOSTILE))._repr_html_())
    assert page.open == []
    assert "script" not in page.seen
    assert "grad_norm" in page.text


def test_a_diagnosis_in_a_terminal(trace: Trace) -> None:
    diagnosis = diagnose_trace(trace)
    assert str(diagnosis).splitlines() == diagnosis.lines()
