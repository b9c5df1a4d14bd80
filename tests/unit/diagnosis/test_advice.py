"""Advice is the measured one, or reports that nothing was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from traces import header

from yolo_stability.core.findings import Cause, Finding
from yolo_stability.diagnosis import advice as module
from yolo_stability.diagnosis.advice import NOT_MEASURED, advice, advised


def own(
    saved: int, fitness: tuple[float, float, float], share: tuple[float, float]
) -> dict[str, Any]:
    value, low, high = fitness
    return {
        "seeds": [0, 1, 2, 3, 4],
        "saved": saved,
        "share": {"value": saved / 5, "low": share[0], "high": share[1]},
        "fitness": {"value": value, "low": low, "high": high},
    }


ALL, NONE = (0.57, 1.0), (0.0, 0.43)


def cell(
    cause: str, remedy: str, task: str, verdict: str, saved: int = 5, fitness: float = 1.0
) -> dict[str, Any]:
    share = ALL if saved else NONE
    found = own(saved, (fitness, 0.9, 1.1), share)
    return {"cause": cause, "remedy": remedy, "task": task, "verdict": verdict, "own": found}


def price(remedy: str, task: str, value: float, low: float, high: float) -> dict[str, Any]:
    return {"remedy": remedy, "task": task, "own": own(5, (value, low, high), ALL)}


TABLE = {
    "schema_version": 1,
    "rows": [
        {"name": "sgd", "cause": "learning_rate", "optimizer": "SGD"},
        {"name": "adamw", "cause": "learning_rate", "optimizer": "AdamW"},
        {"name": "bare", "cause": "normalization", "optimizer": "AdamW"},
        {"name": "deep", "cause": "depth", "optimizer": "AdamW"},
    ],
    "columns": [
        {"name": "agc", "settings": "clip=agc:0.01"},
        {"name": "low", "settings": "lr_mult=0.1"},
        {"name": "group", "settings": "norm=group"},
    ],
    "prices": [
        price("agc", "detect", 0.99, 0.95, 1.02),
        price("agc", "pose", 1.01, 0.99, 1.05),
        price("low", "detect", 0.96, 0.94, 0.98),
        price("low", "pose", 0.97, 0.95, 1.01),
        price("group", "detect", 0.80, 0.75, 0.86),
        price("group", "pose", 0.95, 0.9, 1.0),
    ],
    "cells": [
        cell("sgd", "agc", "detect", "recommended"),
        cell("sgd", "agc", "pose", "recommended"),
        cell("sgd", "low", "detect", "recommended", fitness=0.9),
        cell("sgd", "low", "pose", "unproven", 0),
        cell("sgd", "group", "detect", "unproven", 0),
        cell("adamw", "agc", "detect", "unproven", 0),
        cell("adamw", "low", "detect", "unproven", 0),
        cell("adamw", "group", "detect", "void", 0),
        cell("bare", "group", "detect", "costly"),
        cell("bare", "agc", "detect", "unproven", 0),
        cell("deep", "group", "detect", "anecdotal"),
        cell("deep", "agc", "detect", "missing", 0),
    ],
}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "remedies.json"
    file.write_text(json.dumps(TABLE))
    return file


AGC = (
    "clip=agc:0.01 (in suite=remedies it saved 5 of 5 runs on detect (57-100 %) and 5 of 5 on "
    "pose (57-100 %), and has no measurable cost on a healthy run)"
)
LOW = "lr_mult=0.1 (in suite=remedies it saved 5 of 5 runs on detect (57-100 %), and costs a healthy run 4 % (2-6 %))"


def test_the_best_comes_first_with_its_price(table: Path) -> None:
    assert advice("learning_rate", "SGD", table) == f"{AGC} or {LOW}"


def test_the_optimizer_decides(table: Path) -> None:
    nothing = (
        "none of the 2 remedies of suite=remedies saved significantly more runs than no remedy"
    )
    assert advice("learning_rate", "adamw", table) == nothing
    assert (
        advice("learning_rate", None, table) == f"under SGD: {AGC} or {LOW}; under AdamW: {nothing}"
    )
    assert advice("normalization", "SGD", table).endswith("(measured under AdamW)")


def test_a_costly_remedy_is_reported_with_its_cost(table: Path) -> None:
    reported = advice("normalization", "AdamW", table)
    saved = "in suite=remedies it saved 5 of 5 runs on detect (57-100 %)"
    assert reported == f"norm=group ({saved}, and costs a healthy run 20 % (14-25 %))"


@pytest.mark.parametrize("cause", ["depth", "data", "unknown"])
def test_cells_with_too_few_seeds_count_as_not_measured(cause: str, table: Path) -> None:
    assert advice(cause, "AdamW", table) == NOT_MEASURED


@pytest.mark.parametrize("text", [None, "{", "[]", '{"schema_version": 2, "rows": 3}'])
def test_no_file_or_another_version_is_not_measured(text: str | None, tmp_path: Path) -> None:
    file = tmp_path / "remedies.json"
    if text is not None:
        file.write_text(text)
    assert advice("learning_rate", "SGD", file) == NOT_MEASURED


def finding(rule: str, severity: Any = "critical", remedy: str = "folklore") -> Finding:
    return Finding(rule=rule, severity=severity, message="", remedy=remedy)


CAUSES = (Cause(name="learning_rate", score=1.0, evidence=""),)


def test_general_advice_gives_way_once_and_special_advice_stays(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "resource", lambda *_: table)
    module._table.cache_clear()
    rules = ("non_finite", "divergence", "exploding", "recoveries")
    findings = (*map(finding, rules), finding("update_ratio", "info"))
    reported = advised(findings, CAUSES, header(effective={"optimizer": "AdamW"}))
    module._table.cache_clear()
    assert [f.remedy for f in reported] == [
        "folklore",
        "none of the 2 remedies of suite=remedies saved significantly more runs than no remedy",
        "",
        "folklore",
        "folklore",
    ]
    assert [f.rule for f in reported] == [f.rule for f in findings]


def test_without_a_cause_or_a_measurement_findings_stay_as_they_are(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "resource", lambda *_: table)
    module._table.cache_clear()
    findings = (finding("divergence"),)
    assert advised(findings, (), None) == findings
    assert advised(findings, (Cause(name="data", score=1.0, evidence=""),), None) == findings
    module._table.cache_clear()
