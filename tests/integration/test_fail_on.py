"""`fail_on=critical` ends a run early and healthy; otherwise the finding is only reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from training import MODELS, bad_tensors, overrides
from ultralytics import YOLO

from yolo_stability import train
from yolo_stability.core.findings import Finding
from yolo_stability.core.types import StepRecord
from yolo_stability.diagnosis.live import LiveRules
from yolo_stability.trace import load_trace

pytestmark = pytest.mark.trains

HUGE = {"lr_mult": 1000.0, "clip": "none", "warmup_epochs": 0, "epochs": 4}


@pytest.mark.smoke
@pytest.mark.parametrize("task", ["detect", "pose"])
def test_a_critical_finding_ends_the_run(task: str, tmp_path: Path) -> None:
    model = {"detect": "yolo26n.yaml", "pose": "yolo26n-pose.yaml"}[task]
    result = train(task, model=model, fail_on="critical", **{**overrides(task, tmp_path), **HUGE})
    assert result.stopped is not None
    assert "fail_on=critical ended the run" in result.stopped
    assert result.trace.steps.height < 16
    assert result.diagnosis is not None
    assert (result.diagnosis.verdict, result.diagnosis.cause) == ("failed", "learning_rate")
    written = json.loads((result.save_dir / "stability" / "diagnosis.json").read_text())
    assert written["cause"] == "learning_rate"
    kinds = result.trace.events["kind"].to_list()
    assert "finding" in kinds
    assert "fail_on" in kinds
    saved = YOLO(result.save_dir / "weights" / "last.pt").model
    assert all(torch.isfinite(p).all() for p in saved.parameters())


def test_a_healthy_run_says_nothing_and_goes_on(tmp_path: Path) -> None:
    seen: list[str] = []
    model = YOLO("yolo26n.yaml")
    model.add_callback("on_train_end", lambda trainer: seen.extend(bad_tensors(trainer)))
    arguments = {**overrides("detect", tmp_path), "epochs": 5, "optimizer": "AdamW", "lr0": 0.002}
    result = train("detect", model=model, fail_on="critical", **arguments)
    assert result.stopped is None
    assert seen == []
    assert "finding" not in load_trace(result.save_dir).events["kind"].to_list()
    assert result.diagnosis is not None
    assert result.diagnosis.verdict in {"stable", "inconclusive"}  # it may be too early to know
    assert result.diagnosis.findings == ()


@pytest.mark.smoke
def test_a_rule_that_fails_costs_the_rules_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    def broken(self: LiveRules, record: StepRecord) -> tuple[Finding, ...]:
        raise ZeroDivisionError("a mistake in a rule")

    monkeypatch.setattr(LiveRules, "observe", broken)
    result = train(
        "detect", model=MODELS["detect"], **{**overrides("detect", tmp_path), "verbose": True}
    )
    assert result.stopped is None
    assert result.trace.steps.height == 8
    assert (
        log.text.count(
            "the rules failed; rules and rescue are disabled for this run: ZeroDivisionError"
        )
        == 1
    )
