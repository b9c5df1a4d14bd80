"""The wall clock jumps or stops: the same steps are recorded, and the run ends and resumes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from inside import Inside
from plan import CLOCKS, SEED
from process import loads

pytestmark = [pytest.mark.trains, pytest.mark.full]
COLUMNS = ["step", "iteration", "epoch", "loss", "grad_norm", "clip_coef"]
HOUR = 3600.0


def clock(name: str) -> Callable[[], float]:
    """Return a clock that goes wrong from now on."""
    true, rng = time.time, random.Random(SEED)
    stopped = true()
    return {
        "an hour back": lambda: true() - HOUR,
        "ten years back": lambda: true() - 10 * 365 * 24 * HOUR,
        "a day ahead": lambda: true() + 24 * HOUR,
        "stands still": lambda: stopped,
        "jumps at every look": lambda: true() + rng.uniform(-1e6, 1e6),
    }[name]


def goes_wrong(name: str, monkeypatch: pytest.MonkeyPatch, at: int) -> Callable[[Any], None]:
    """Return a hand that breaks the clock at an iteration."""
    count, wrong = iter(range(10**9)), clock(name)

    def hand(_: Any) -> None:
        if next(count) == at:
            monkeypatch.setattr(time, "time", wrong)

    return hand


def test_a_wrong_clock_changes_nothing(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = inside.train(name="whole", epochs=4).trace.steps.select(COLUMNS)
    for number, name in enumerate(CLOCKS):
        with monkeypatch.context() as patch:
            hands = {"on_train_batch_start": goes_wrong(name, patch, 6)}
            run = inside.train(name=str(number), hands=hands, epochs=4)
        assert run.code == 0, (name, run.said)
        assert run.trace.steps.select(COLUMNS).equals(whole), name
        assert (run.trace.steps["seconds"] >= 0).all()
        assert run.kinds()[-1] == "end"
        assert loads(run.last) == -1
        inside.tell(f"{name}: {run.trace.steps.height} of 16 steps, all the same")


@pytest.mark.parametrize("name", ["ten years back", "a day ahead"])
def test_an_interrupted_run_resumes_at_another_time(
    name: str, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock changes between sessions, as on a board without a battery."""

    def stop(trainer: Any) -> None:
        if trainer.epoch == 1 and not trainer.resume:
            raise KeyboardInterrupt

    run = inside.train(epochs=4, hands={"on_model_save": stop})
    assert run.code == 130
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", clock(name))
        again = inside.resume(run)
    assert again.code == 0, again.said
    steps = again.trace.steps
    assert steps["step"].to_list() == list(range(16))
    assert steps["attempt"].to_list() == [0] * 8 + [1] * 8
