"""Hostile names in notebooks, pages and texts create no element, attribute or link."""

from __future__ import annotations

import dataclasses
import html.parser
import json
import re
from pathlib import Path
from typing import Any

import pytest
from sample_benchmark import write_sample
from traces import record, write

from yolo_stability.benchmarks.results import read_results
from yolo_stability.core.findings import Cause, Diagnosis, Finding
from yolo_stability.diagnosis.targets import diagnose_run
from yolo_stability.report.write import write_report
from yolo_stability.trace import load_trace
from yolo_stability.trainer.result import RunResult

EVIL = (
    "\"'><script>alert(1)</script><img src=x onerror=alert(1)></td></script>"
    "<!--[x](javascript:alert(1))`|\n# head"
)
KNOWN = {
    "div",
    "p",
    "b",
    "i",
    "br",
    "ul",
    "li",
    "code",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "style",
    "small",
}


class Elements(html.parser.HTMLParser):
    """The elements and attributes of a piece of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    bad: dict[str, Any] = {"names": (EVIL, "b"), "skipped": "guard", "loss_items": {EVIL: 1.0}}
    steps = [record(s, (float("nan"), 3.0), **bad) for s in range(40)]
    return write(
        tmp_path / "run",
        steps,
        names=(EVIL, "b"),
        run_id=EVIL,
        requested={"model": EVIL, "task": EVIL},
    )


def printed_fields(run: Path) -> dict[str, Any]:
    """Return everything that shows itself in a notebook."""
    trace, diagnosis = load_trace(run), diagnose_run(run)
    assert EVIL in {finding.block for finding in diagnosis.findings}
    hostile: Any = EVIL
    other = Diagnosis(
        run_id=EVIL,
        verdict=hostile,
        why=EVIL,
        cause=hostile,
        causes=(Cause(name=hostile, score=1.0, evidence=EVIL),),
        findings=(Finding(rule=EVIL, severity=hostile, message=EVIL, block=EVIL, remedy=EVIL),),
    )
    result = RunResult(
        save_dir=Path(f"/{EVIL}"), trace=trace, metrics={}, stopped=EVIL, diagnosis=other
    )
    return {"trace": trace, "diagnosis": diagnosis, "of another": other, "result": result}


@pytest.mark.parametrize("name", ["trace", "diagnosis", "of another", "result", "benchmark"])
def test_a_name_is_text_in_a_notebook(name: str, run: Path, tmp_path: Path) -> None:
    if name == "benchmark":
        write_sample(tmp_path / "bench", arms=("control", "huge-lr"), tasks=("detect",), seeds=(0,))
        read = read_results(tmp_path / "bench")
        first = dataclasses.replace(read.comparisons[0], sentence=EVIL)
        shown: Any = dataclasses.replace(read, suite=EVIL, description=EVIL, comparisons=(first,))
    else:
        shown = printed_fields(run)[name]
    seen = Elements(shown._repr_html_())
    assert seen.tags <= KNOWN
    assert seen.attributes <= {"style", "scope", "border", "class"}
    assert "alert(1)" in shown._repr_html_()


def test_a_page_and_a_text_make_nothing_of_names(tmp_path: Path) -> None:
    write_sample(tmp_path, arms=("control", "huge-lr"), tasks=("detect",), seeds=(0,))
    clean = Elements((write_report(tmp_path)[0]).read_text(encoding="utf-8"))
    content = json.loads((tmp_path / "results.json").read_text())
    for place in (content, content["arms"][1], content["comparisons"][0], content["runs"][1]):
        for key, value in place.items():
            if isinstance(value, str) and key not in {
                "arm",
                "task",
                "model",
                "name",
                "verdict",
                "outcome",
                "kind",
            }:
                place[key] = f"{value} {EVIL}"
    content["manifest"] = {EVIL: EVIL, "command": f"yolo-stability {EVIL} ```\n# head"}
    content["arms"][1]["overrides"] = {EVIL: EVIL}
    (tmp_path / "results.json").write_text(json.dumps(content))
    page, text = (file.read_text(encoding="utf-8") for file in write_report(tmp_path)[:2])
    seen = Elements(page)
    assert (seen.tags, seen.attributes) == (clean.tags, clean.attributes)
    assert seen.links == clean.links
    assert "alert(1)" in page
    outside = text.split("```")[0]
    assert "alert(1)" in outside
    assert "<script" not in outside.replace("\\<script", "")
    assert not re.search(r"(?<!\\)\]\(javascript", outside)
    assert "\n# head" not in outside
