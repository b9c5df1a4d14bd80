"""State that a rescue restores from earlier sessions."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import polars as pl
import pytest

from yolo_stability.config import make_settings
from yolo_stability.core.actions import Action
from yolo_stability.interventions.switches import Switches
from yolo_stability.trainer.rescue import controller as rescuing
from yolo_stability.trainer.rescue.controller import Rescue
from yolo_stability.trainer.rescue.remedies import LiveRemedies


def event_data(**more: Any) -> str:
    base = {
        "remedy": "lower_rate",
        "cause": "learning_rate",
        "why": "so",
        "value": "0.1",
        "images": [],
    }
    return json.dumps({**base, "restored_step": 0, "iterations": 12, "warmup_back": 10, **more})


def test_the_first_state_of_a_sitting_knows_of_the_warm_up_that_was_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cap of the AMP scale applies before it is taken."""
    events = pl.DataFrame(
        {"kind": ["rescue"], "step": [12], "data": [event_data(amp_cap=[4096.0, 20000])]}
    )
    monkeypatch.setattr(rescuing, "load_trace", lambda folder: SimpleNamespace(events=events))
    run, remedies, seen = Mock(), Mock(amp_cap=None), []
    run.begin_anew.side_effect = lambda warmup_back: seen.append(
        (warmup_back, remedies.after_rollback.call_count)
    )
    state: Any = SimpleNamespace(save_dir=tmp_path, start_epoch=2, batches=8)
    Rescue(state, run, Mock(attempt=1), Mock(), remedies, "auto").resume(known=True)
    assert seen == [(10, 1)]
    assert remedies.amp_cap == (4096.0, 20000)


def test_a_resume_restores_the_warmup_bias_rate_of_the_last_rescue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint from before the rescue still holds the higher rate."""
    rows = [event_data(warmup_bias_lr=0.05), event_data(warmup_bias_lr=0.005)]
    events = pl.DataFrame({"kind": ["rescue"] * 2, "step": [12, 20], "data": rows})
    monkeypatch.setattr(rescuing, "load_trace", lambda folder: SimpleNamespace(events=events))
    state: Any = SimpleNamespace(save_dir=tmp_path, start_epoch=2, batches=8, warmup_bias_lr=0.1)
    state.optimizer = SimpleNamespace(param_groups=[])
    state.scheduler = SimpleNamespace(base_lrs=[])
    remedies = LiveRemedies(Switches(make_settings()))
    Rescue(state, Mock(), Mock(attempt=1), Mock(), remedies, "auto").resume(known=True)
    assert state.warmup_bias_lr == 0.005


def test_a_remedy_that_fails_leaves_the_state_put_back_and_says_so() -> None:
    """The trace records the rollback, and the rules discard the undone steps."""
    run, journal, policy, remedies = Mock(), Mock(step=50), Mock(), Mock()
    run.roll_back.side_effect = [30, 28]
    remedies.apply.side_effect = RuntimeError("no such group")
    policy.decide.return_value = Action(
        remedy="lower_rate", cause="learning_rate", why="so", value="0.1", onset=40
    )
    rescue = Rescue(Mock(), run, journal, policy, remedies, "auto")
    rescue.act(stepped=True)
    journal.emit.assert_called_once_with(
        "rollback", None, {"restored_step": 28, "why": "lower_rate failed"}
    )
    policy.undone.assert_called_once_with(28)
    assert remedies.after_rollback.call_count == 2
    assert "no such group" in journal.notice.call_args[0][0]
    rescue.act(stepped=True)
    assert run.roll_back.call_count == 2  # nothing is tried again
