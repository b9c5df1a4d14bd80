"""When batches are kept, and which bad steps count as an incident."""

from __future__ import annotations

import random
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from yolo_stability.config import make_settings
from yolo_stability.guard.guard import StepSigns
from yolo_stability.guard.incidents.capture import IncidentKeeper


def trainer(tmp_path: Path) -> Any:
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    return SimpleNamespace(
        model=model,
        device=torch.device("cpu"),
        loss=torch.tensor(2.0),
        world_size=1,
        save_dir=tmp_path,
    )


def signs(loss: float = 1.0) -> StepSigns:
    return StepSigns(loss=loss, nonfinite_gradients=0, largest_buffer=1.0, scaler_enabled=False)


def keeper(made: Any, **own: Any) -> IncidentKeeper:
    return IncidentKeeper(made, make_settings(**own), lambda kind, block, data: None)


def batch() -> dict[str, Any]:
    return {"img": torch.zeros(2, 3, 4, 4), "im_file": ["a", "b"]}


def test_a_batch_is_held_until_a_finite_step_and_no_longer(tmp_path: Path) -> None:
    made, one = trainer(tmp_path), batch()
    kept = keeper(made)
    kept.keep(made, one, 0, first=True)
    assert kept._window.batches[0].batch["img"] is one["img"]
    assert kept.evidence(made, signs()) is None
    assert kept._window.batches == []
    gone = weakref.ref(one["img"])
    del one
    assert gone() is None  # there is no other reference


def test_the_first_batch_of_a_window_ends_the_one_before(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    kept = keeper(made)
    for iteration, first in enumerate([True, False, True, False, False]):
        kept.keep(made, batch(), iteration, first=first)
    assert [k.iteration for k in kept._window.batches] == [2, 3, 4]


def test_without_incidents_nothing_is_held_and_nothing_is_evidence(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    kept = keeper(made, incidents=0)
    kept.keep(made, batch(), 0, first=True)
    assert kept._window.batches == []
    assert kept.evidence(made, signs(torch.nan)) is None


@pytest.mark.parametrize(
    ("guard", "expected"),
    [("off", [True, False, False, True]), ("skip", [True] * 2 + [False, True])],
)
def test_without_a_guard_only_the_first_bad_step_in_a_row_counts(
    guard: str, expected: list[bool], tmp_path: Path
) -> None:
    made = trainer(tmp_path)
    kept = keeper(made, guard=guard, incidents=10)
    found = []
    for step, loss in enumerate([torch.nan, torch.inf, 1.0, torch.nan]):
        kept.keep(made, batch(), step, first=True)
        found.append(kept.evidence(made, signs(loss)) is not None)
    assert found == expected


def test_keeping_draws_no_random_number(tmp_path: Path) -> None:
    made = trainer(tmp_path)
    before = (random.getstate(), torch.get_rng_state())
    kept = keeper(made)
    kept.keep(made, batch(), 0, first=True)
    kept.evidence(made, signs())
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


def test_what_cannot_be_explained_is_a_warning(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    """This trainer lacks all that an explanation needs."""
    made = trainer(tmp_path)
    kept = keeper(made)
    kept.keep(made, batch(), 0, first=True)
    evidence = kept.evidence(made, signs(torch.nan))
    assert evidence is not None
    kept.write(made, evidence, 3, 0)
    assert "the incident at step 3 could not be saved: AttributeError" in log.text
    assert kept._window.batches == []
