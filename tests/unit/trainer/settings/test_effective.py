"""Effective settings where not all options are supported."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from yolo_stability.config import StabilitySettings
from yolo_stability.trainer.settings import effective


@pytest.mark.parametrize(
    ("ours", "several", "guard", "rescue"),
    [(True, False, "skip", "auto"), (True, True, "skip", "off"), (False, False, "off", "off")],
)
def test_a_rescue_needs_one_process_and_a_step_that_is_guarded(
    ours: bool, several: bool, guard: str, rescue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effective, "is_distributed", lambda trainer: several)
    trainer: Any = object()
    found = effective.supported(
        trainer, StabilitySettings(rescue="auto", watch_every=3), owns_step=ours
    )
    assert found == StabilitySettings(guard=guard, rescue=rescue, watch_every=3)


# --- facts about model and data -------------------------------------------------------------------


def trainer_of(model: nn.Module, name: str = "mine.yaml", pretrained: Any = True) -> Any:
    return SimpleNamespace(model=model, args=SimpleNamespace(model=name, pretrained=pretrained))


def network(batches: int = 0) -> nn.Module:
    """Return a network with BatchNorm that has seen some batches."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    for _ in range(batches):
        model(torch.rand(2, 3, 4, 4))
    return model


@pytest.mark.parametrize(("batches", "loaded"), [(0, False), (1, False), (16, False), (17, True)])
def test_statistics_of_batches_show_loaded_weights(batches: int, loaded: bool) -> None:
    for name in ("mine.yaml", "mine.pt"):
        assert effective.has_loaded_weights(trainer_of(network(batches), name)) is loaded


def test_weights_without_a_count_of_batches_show_their_means() -> None:
    model = network(20)
    assert isinstance(model[1].num_batches_tracked, torch.Tensor)  # type: ignore[index]
    model[1].num_batches_tracked.zero_()  # type: ignore[index]
    assert effective.has_loaded_weights(trainer_of(model))


@pytest.mark.parametrize(
    ("name", "pretrained", "loaded"),
    [
        ("mine.yaml", True, False),
        ("mine.yaml", "base.pt", True),
        ("mine.pt", True, True),
        ("mine.pt", False, False),
    ],
)
def test_without_batch_norm_the_settings_decide(name: str, pretrained: Any, loaded: bool) -> None:
    trainer = trainer_of(nn.Sequential(nn.Linear(2, 2)), name, pretrained)
    assert effective.has_loaded_weights(trainer) is loaded


def test_the_share_of_trainable_weights_is_that_of_the_student() -> None:
    model = nn.Sequential(nn.Linear(9, 1, bias=False), nn.Linear(1, 1, bias=False))
    model[0].weight.requires_grad = False
    assert effective.trainable_share(model) == 0.1
    both = nn.ModuleDict({"student_model": model[1], "teacher_model": model[0]})
    both.student_model = model[1]
    assert effective.trainable_share(both) == 1.0


def test_objects_and_classes_of_data_sets() -> None:
    labels = [{"cls": torch.zeros(3, 1)}, {"cls": torch.zeros(0, 1)}, {}]
    assert effective.labeled_objects(SimpleNamespace(labels=labels)) == 3
    assert effective.labeled_objects(SimpleNamespace()) is None
    assert effective.labeled_objects(SimpleNamespace(labels=torch.zeros(3))) is None
    samples = [["a.jpg", 0], ["b.jpg", 1], ["c.jpg", 1]]
    loader = SimpleNamespace(dataset=SimpleNamespace(samples=samples))
    assert effective.largest_share(loader) == 2 / 3
    assert effective.largest_share(SimpleNamespace(dataset=[])) is None
    assert effective.largest_share(None) is None
