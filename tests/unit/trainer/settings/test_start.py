"""The number of optimizer steps of a run, against Ultralytics' loop without its model."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from yolo_stability.trainer.settings.start import planned_steps, weights_trained


def taken(
    images: int, batch: int, nbs: int, epochs: int, warmup_epochs: float, start: int, *, old: bool
) -> tuple[int, dict[str, float]]:
    """Count steps as `BaseTrainer._do_train` takes them; return them and what is known at the start.

    `old`: as up to 8.4.150, where the warm-up approached the ratio and was not limited.
    """
    nb = -(-images // batch)
    accumulate = max(round(nbs / batch), 1)
    if old:
        nw = max(round(warmup_epochs * nb), 100) if warmup_epochs > 0 else 0
        target = nbs / batch
    else:
        accumulate = min(accumulate, nb * epochs)
        shorter = min(warmup_epochs, max(epochs - 1, 0))
        nw = round(shorter * nb) if shorter > 0 else 0
        target = accumulate
    known = {"batches": nb, "warmup": nw, "accumulate": accumulate, "target": target}
    last_opt_step, steps, epoch = -1, 0, start
    while epoch < epochs:
        for i in range(nb):
            ni = i + nb * epoch
            if nw and ni <= nw:
                accumulate = max(1, int(np.interp(ni, [0, nw], [1, target]).round()))
            if ni - last_opt_step >= accumulate:
                steps += 1
                last_opt_step = ni
        epoch += 1
    return steps, known


def assert_counted(*run: float, start: int = 0, old: bool = False) -> None:
    """Assert that the steps of a run are planned as they are taken."""
    images, batch, nbs, epochs, warmup = run
    steps, known = taken(int(images), int(batch), int(nbs), int(epochs), warmup, start, old=old)
    assert planned_steps(**known, epochs=int(epochs), start_epoch=start) == steps  # type: ignore[arg-type]


def test_every_small_run_is_counted() -> None:
    """3,600 runs: partial batches, runs shorter than their warm-up, accumulation longer than a run."""
    sizes = itertools.product(
        (1, 7, 24, 33, 100),
        (1, 3, 8, 16, 32, 64),
        (1, 8, 20, 64, 100, 256),
        (1, 2, 12),
        (0.0, 0.4, 3.0, 50.0),
        (False, True),
    )
    for images, batch, nbs, epochs, warmup, old in sizes:
        assert_counted(images, batch, nbs, epochs, warmup, old=old)


@settings(max_examples=300, deadline=None)
@given(
    images=st.integers(1, 500),
    batch=st.integers(1, 80),
    nbs=st.integers(1, 300),
    epochs=st.integers(1, 20),
    warmup=st.floats(0, 25),
    data=st.data(),
    old=st.booleans(),
)
def test_any_run_is_counted_from_any_epoch(
    images: int, batch: int, nbs: int, epochs: int, warmup: float, data: st.DataObject, old: bool
) -> None:
    start = data.draw(st.integers(0, epochs - 1))
    assert_counted(images, batch, nbs, epochs, warmup, start=start, old=old)


def test_a_long_run_takes_no_time() -> None:
    """ImageNet in single images for 300 epochs is 384 million batches."""
    steps = planned_steps(batches=1_281_167, epochs=300, warmup=10_000, accumulate=64)
    assert steps == pytest.approx(1_281_167 * 300 / 64, rel=1e-3)


def test_only_what_the_optimizer_changes_is_trained() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    model[0].requires_grad_(requires_grad=False)
    optimizer = torch.optim.SGD([*model[0].parameters(), *model[2].parameters()], lr=0.1)
    assert weights_trained(SimpleNamespace(model=model, optimizer=optimizer)) == 10
    teacher = SimpleNamespace(student_model=model[2], parameters=model.parameters)
    assert weights_trained(SimpleNamespace(model=teacher, optimizer=optimizer)) == 10
