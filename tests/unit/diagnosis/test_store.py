"""`diagnosis.json`: what schema 2 holds, and that files of schema 1 are read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from yolo_stability.core.errors import TraceError
from yolo_stability.core.findings import (
    Best,
    Cause,
    Diagnosis,
    End,
    Finding,
    Rescued,
    RunException,
)
from yolo_stability.diagnosis.store import diagnosis_from_json, diagnosis_to_json

WHOLE = Diagnosis(
    run_id="r",
    verdict="failed",
    why="w",
    cause="normalization",
    causes=(Cause(name="normalization", score=0.9, evidence="e"),),
    findings=(
        Finding(
            rule="validation",
            severity="critical",
            message="m",
            column="val/box_loss",
            first_epoch=3,
            last_epoch=5,
            images=("a.jpg",),
            resolved_by="rescue",
        ),
    ),
    learning="not_learned",
    end=End(
        state="exception",
        epochs_done=3,
        epochs_planned=7,
        exception=RunException(type="KeyError", message="x", where="train.py:31"),
    ),
    best=Best(epoch=2, fitness=0.4, file="weights/best.pt", audit="sound"),
    rescued=Rescued(count=1, remedies=("lower_rate",), healthy_since=None),
)


def test_what_was_written_is_read_again() -> None:
    content = diagnosis_to_json(WHOLE)
    assert content["schema_version"] == 2
    assert diagnosis_from_json(json.dumps(content), "file") == WHOLE


def test_a_file_of_schema_1_is_read_with_causes_as_they_are_called_now() -> None:
    finding = {"rule": "spike", "severity": "warning", "message": "m", "block": None}
    finding |= {"first_step": 1, "last_step": 2, "observed": None, "threshold": 5, "remedy": ""}
    first: dict[str, Any] = {
        "schema_version": 1,
        "run_id": "r",
        "verdict": "unstable",
        "why": "w",
        "cause": "initialisation",
        "causes": [
            {"name": "initialisation", "score": 0.6, "evidence": "normalisation"},
            {"name": "normalisation", "score": 0.4, "evidence": "e"},
        ],
        "findings": [finding],
        "time_to_divergence": None,
    }
    found = diagnosis_from_json(json.dumps(first), "file")
    assert found.cause == "initialization"
    assert [cause.name for cause in found.causes] == ["initialization", "normalization"]
    assert found.causes[0].evidence == "normalisation"  # a sentence is left as it is
    assert (found.learning, found.end, found.findings[0].resolved_by) == ("unknown", None, None)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema_version": "x"}', "{" * 9999])
def test_a_damaged_file_is_refused(text: str) -> None:
    with pytest.raises(TraceError, match="is damaged"):
        diagnosis_from_json(text, "file")


def test_a_newer_file_asks_for_an_upgrade() -> None:
    with pytest.raises(TraceError, match="diagnosis schema 9"):
        diagnosis_from_json(json.dumps({**diagnosis_to_json(WHOLE), "schema_version": 9}), "file")
