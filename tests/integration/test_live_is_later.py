"""Live findings equal those of the trace cut off at that step, and have no side effects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import polars as pl
import pytest
import torch
from shorter import DETECT_SHORT
from training import MODELS, one_thread, overrides, state
from ultralytics import YOLO

from yolo_stability import Trace, train
from yolo_stability.core.findings import Diagnosis
from yolo_stability.diagnosis import live
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.diagnose import diagnose_context, diagnose_trace
from yolo_stability.diagnosis.live import LiveRules
from yolo_stability.diagnosis.rules import RULES
from yolo_stability.trace import load_trace
from yolo_stability.trace.arrays import as_series
from yolo_stability.trainer.base_monitor import Monitor

pytestmark = pytest.mark.trains

RANK = {"warning": 1, "critical": 2}
Telling = tuple[str, str, int | None]
FAILING: dict[str, tuple[dict[str, Any], set[str]]] = {
    "huge rate": (
        {"lr_mult": 1000.0, "clip": "none", "warmup_epochs": 0},
        {"update_ratio", "non_finite"},
    ),
    "clipped huge rate": (
        {"lr_mult": 1000.0, "warmup_epochs": 0, "guard": "off"},
        {"update_ratio"},
    ),
    "nan loss": ({"fault": "nan_loss@5,13"}, {"non_finite"}),
    "no norm": ({"norm": "none"}, {"vanishing"}),
}


def tellings(trace: Trace) -> Iterator[tuple[int, int, Telling]]:
    """Yield the row among the events, the step and the content of each finding that was told."""
    for row, (kind, step, data) in enumerate(trace.events.select("kind", "step", "data").rows()):
        if kind == "finding":
            found = json.loads(data)
            yield row, int(step), (found["rule"], found["severity"], found["first_step"])


def cut(trace: Trace, step: int, event: int) -> Trace:
    """Return the trace as it stood after a step, before the event at a row was written."""
    steps, blocks = (table.filter(pl.col("step") <= step) for table in (trace.steps, trace.blocks))
    return replace(trace, steps=steps, blocks=blocks, events=trace.events.head(event))


def unsettling(diagnosis: Diagnosis) -> list[Telling]:
    """Return what was found that unsettles, as it would be told."""
    found = [f for f in diagnosis.findings if f.severity != "info" and RULES[f.rule].unsettles]
    return [(f.rule, f.severity, f.first_step) for f in found]


def worst(found: list[Telling]) -> dict[str, int]:
    """Return the highest severity of each rule."""
    return {rule: max(RANK[s] for r, s, _ in found if r == rule) for rule, _, _ in found}


@pytest.mark.parametrize("task", DETECT_SHORT)
@pytest.mark.parametrize("kind", list(FAILING))
def test_what_is_told_is_what_the_trace_says_up_to_that_step(
    kind: str, task: str, tmp_path: Path
) -> None:
    settings, expected = FAILING[kind]
    model = YOLO(MODELS[task])
    one_thread(model)
    trace = train(task, model=model, **{**overrides(task, tmp_path, epochs=8), **settings}).trace
    told = list(tellings(trace))
    assert expected <= {rule for _, _, (rule, _, _) in told}
    for row, step, telling in told:
        past = cut(trace, step, row)
        later = unsettling(
            diagnose_context(DiagnosisContext(as_series(past), header=past.header, live=True))
        )
        assert telling in later, f"told at step {step}"
        assert worst(later) == worst([t for _, s, t in told if s <= step]), f"at step {step}"
        if (
            "guard" not in past.steps["skipped"].to_list()
        ):  # the only rule that knows a run from its end
            assert telling in unsettling(diagnose_trace(past))


def test_telling_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two healthy runs, one with nobody to judge it, are equal bit for bit."""
    rules, states, traces = LiveRules(), [], []
    asked = Mock(wraps=live.find_all)
    monkeypatch.setattr(live, "find_all", asked)
    for name, policy in (("alone", None), ("judged", lambda settings: rules)):
        model = YOLO(MODELS["detect"])
        one_thread(model)
        monitor = Monitor(make_policy=policy, watch_every=2).attach(model)
        model.train(**overrides("detect", tmp_path / name, epochs=5))
        states.append(state(model.trainer))
        traces.append(load_trace(monitor.save_dir))
    assert rules._seen == 20
    assert asked.call_count == 5  # each fourth step of a young run
    assert states[0].keys() == states[1].keys()
    assert [name for name in states[0] if not torch.equal(states[0][name], states[1][name])] == []
    first, second = traces
    assert first.steps.drop("seconds").equals(second.steps.drop("seconds"))
    assert first.blocks.equals(second.blocks)
    assert list(tellings(second)) == []
