"""NaN, Inf and -Inf at every place where they can get into a training: each costs steps, none costs the run."""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from inside import Ended, Inside, bad_tensors
from places import PLACES, VALUES, Place, blows, hands_of
from plan import CHECKPOINT_PLACES, NETS, STRIKES_A_PLACE
from plan import PLACES as COUNT
from process import loads
from torch import Tensor

pytestmark = pytest.mark.trains
EPOCHS = 5
LONG = ("a convolution's weight", "SGD's momentum buffer", "AdamW's second moment")
EVERY_DAY = ("one pixel of an image", "the momentum", "the scale of AMP")


def test_as_many_places_as_the_docs_say() -> None:
    assert len({place.name for place in PLACES}) == len(PLACES) == COUNT >= 30
    assert Counter(place.net for place in PLACES) == NETS
    assert len(VALUES) == STRIKES_A_PLACE
    assert len(BROKEN) == CHECKPOINT_PLACES


def train(
    inside: Inside, place: Place, monkeypatch: pytest.MonkeyPatch, **changed: Any
) -> tuple[Ended, list[str]]:
    """Strike a place in a training; return how that ended, and what was not finite in the end."""
    struck: list[float] = []
    bad: list[str] = []

    def ended(trainer: Any) -> None:
        bad.extend(bad_tensors(trainer))

    def scaled(trainer: Any) -> None:
        if place.name == "the scale of AMP":
            trainer.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

    events = {**hands_of(place, struck), "on_pretrain_routine_end": scaled, "teardown": ended}
    with blows(monkeypatch):
        run = inside.train(
            place.task,
            hands=events,
            **{"epochs": EPOCHS, "incidents": 0, **place.changed, **changed},
        )
    assert struck
    return run, bad


def columns_with_nan(run: Path) -> set[str]:
    """Return the columns of `results.csv`, the learning rates aside, that hold a NaN or Inf."""
    table = pl.read_csv(run / "results.csv")
    numbers = table.select(pl.all().cast(pl.Float64, strict=False))
    return {
        c for c in table.columns if not c.startswith("lr/") and not numbers[c].is_finite().all()
    }


def lost_steps(run: Ended) -> tuple[int, int]:
    """Return how many steps were left out, and how many more were undone at most."""
    skipped = run.trace.steps["skipped"].is_not_null().sum()
    rows = run.trace.events.filter(pl.col("kind") == "rollback").select("step", "data").rows()
    return int(skipped), max(
        (step - json.loads(data)["restored_step"] for step, data in rows), default=0
    )


@pytest.mark.smoke
@pytest.mark.parametrize(
    "place",
    [
        pytest.param(p, marks=() if p.name in EVERY_DAY else pytest.mark.full, id=p.name)
        for p in PLACES
    ],
)
def test_a_bad_number_costs_steps_not_the_run(
    place: Place, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, bad = train(inside, place, monkeypatch)
    assert run.code == 0, run.said
    assert bad == []
    steps = run.trace.steps
    assert steps["step"].to_list() == list(range(4 * EPOCHS))
    assert loads(run.last) == -1  # finite, and the run came to its end
    skipped, undone = lost_steps(run)
    inside.tell(f"{place.name}: {skipped} steps left out for 3 strikes, at most {undone} undone")
    rollbacks = run.kinds().count("rollback")
    if place.net == "skip":
        assert steps.filter(pl.col("skipped") == "guard")["step"].to_list() == list(VALUES)
        assert rollbacks == 0
    elif place.net == "rollback":
        assert rollbacks >= 2
        assert steps.filter(pl.col("step") >= 16)["skipped"].null_count() == 4  # it has recovered
    else:
        assert (skipped, rollbacks) == (0, 0)
    assert columns_with_nan(run.run) == ({"train/box_loss"} if place.net == "shown" else set())


@pytest.mark.full
@pytest.mark.parametrize("name", LONG)
def test_in_a_long_epoch_the_run_ends_with_its_last_healthy_state_and_resumes(
    name: str, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More skips in a row than `guard_limit` come before the end of the epoch, at which the state is looked at."""
    place = next(p for p in PLACES if p.name == name)
    run, bad = train(inside, place, monkeypatch, epochs=2, fraction="[96,2]", guard_limit=3)
    assert run.code == 3, run.said
    assert bad == []
    event = json.loads(run.trace.events.filter(pl.col("kind") == "guard_stop")["data"][0])
    inside.tell(
        f"{name}: ended at step {run.trace.steps['step'].max()}, back to the state of step {event['restored_step']}"
    )
    assert loads(run.last) == -1  # Ultralytics strips it at the end of every run
    healthy = run.run / "stability" / "healthy.pt"
    assert loads(healthy) == 0
    again = inside.resume(run, checkpoint=healthy)
    assert again.code == 0, again.said
    assert again.trace.steps.filter(pl.col("attempt") == 1)["skipped"].null_count() == 24


def _first(tensor: Tensor, value: float) -> None:
    tensor.view(-1)[0] = value


def _in_slot(content: dict[str, Any], value: float) -> None:
    slots = content["optimizer"]["state"].values()
    _first(next(s["momentum_buffer"] for s in slots if s.get("momentum_buffer") is not None), value)


BROKEN = {
    "weight": lambda c, v: _first(c["ema"].state_dict()["model.2.cv1.conv.weight"], v),
    "bias": lambda c, v: _first(c["ema"].state_dict()["model.7.cv2.0.2.bias"], v),
    "running_var": lambda c, v: _first(c["ema"].state_dict()["model.1.bn.running_var"], v),
    "momentum_buffer": _in_slot,
    "momentum": lambda c, v: c["optimizer"]["param_groups"][1].update(momentum=v),
    "weight_decay": lambda c, v: c["optimizer"]["param_groups"][1].update(weight_decay=v),
    "lr0": lambda c, v: c["train_args"].update(lr0=v),
}


def stop_in_epoch(number: int) -> Any:
    """Return a hand that interrupts a run once that epoch is saved."""

    def stop(trainer: Any) -> None:
        if trainer.epoch == number and not trainer.resume:
            raise KeyboardInterrupt

    return stop


@pytest.mark.full
def test_a_broken_checkpoint_is_not_resumed_and_the_run_is_left_as_it_was(inside: Inside) -> None:
    """The guard would have nothing healthy to go back to. A best fitness alone is forgotten: any later is better."""
    run = inside.train(hands={"on_model_save": stop_in_epoch(1)}, epochs=3)
    assert run.code == 130
    sound, steps = run.last.read_bytes(), run.trace.steps.height
    for where, do in BROKEN.items():
        for value in (math.nan, math.inf):
            content = torch.load(io.BytesIO(sound), weights_only=False)
            do(content, value)
            torch.save(content, run.last)
            before = run.last.read_bytes()
            again = inside.resume(run)
            assert again.code == 2, again.said
            assert (
                "is an invalid value" if where == "lr0" else "contains NaN or Inf in"
            ) in again.said, where
            assert "Traceback" not in again.said
            assert run.last.read_bytes() == before
            assert again.trace.steps.height == steps
            assert "resume" not in again.kinds()
    content = torch.load(io.BytesIO(sound), weights_only=False)
    content["best_fitness"] = math.nan
    torch.save(content, run.last)
    best = run.run / "weights" / "best.pt"
    stamp = best.stat().st_mtime_ns
    again = inside.resume(run)
    assert again.code == 0, again.said
    assert again.trace.steps["step"].to_list() == list(range(12))
    assert best.stat().st_mtime_ns != stamp
    assert loads(best) == -1
    inside.tell(f"{2 * len(BROKEN)} broken checkpoints refused; the sound one resumed")
