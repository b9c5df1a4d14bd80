"""How a run ended, from what the trainer knows."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from yolo_stability.core.types import EpochRecord
from yolo_stability.trainer.epoch_log import EpochLog
from yolo_stability.trainer.run_end import end_data, session_end


def trainer(**changed: Any) -> Any:
    values: dict[str, Any] = {
        "epochs": 10,
        "args": SimpleNamespace(time=None),
        "stopper": SimpleNamespace(best_epoch=10, patience=math.inf),
    }
    return SimpleNamespace(**{**values, **changed})


def epochs(done: int, seconds: float = 5.0) -> EpochLog:
    log = EpochLog(lambda record: None)
    log.done, log.seconds = done, seconds
    return log


TIMED = SimpleNamespace(time=0.001)  # 3.6 seconds
WORN = SimpleNamespace(best_epoch=2, patience=3)


@pytest.mark.parametrize(
    ("made", "done", "state", "reason"),
    [
        (trainer(), 10, "finished", None),
        (trainer(), 4, "stopped", "user"),
        (trainer(stopper=WORN), 5, "stopped", "patience"),
        (trainer(stopper=WORN), 4, "stopped", "user"),
        (trainer(stopper=WORN), 10, "finished", None),
        (trainer(args=TIMED), 4, "stopped", "time"),
        (trainer(args=TIMED, epochs=4), 4, "stopped", "time"),
        (trainer(args=SimpleNamespace(time=1.0), stopper=WORN), 5, "stopped", "patience"),
        (trainer(args=SimpleNamespace(time=1.0)), 5, "stopped", "user"),
        (trainer(stopper=None), 4, "stopped", "user"),
    ],
)
def test_a_run_that_ended_in_order(made: Any, done: int, state: str, reason: str | None) -> None:
    end = session_end(made, epochs(done), ended=True, early=None, error=None)
    assert (end.state, end.reason, end.epochs_done) == (state, reason, done)
    assert end.epochs_planned == made.epochs
    assert end_data(end, None)["completed"] is True


def test_what_ended_a_run_early_comes_first() -> None:
    end = session_end(trainer(stopper=WORN), epochs(5), ended=True, early="guard", error=None)
    assert (end.state, end.reason) == ("stopped", "guard")
    assert end_data(end, "too many skips.")["completed"] is False


@pytest.mark.parametrize(
    ("error", "state"),
    [(KeyboardInterrupt(), "interrupted"), (None, "interrupted"), (ValueError("x"), "exception")],
)
def test_a_run_that_was_left(error: BaseException | None, state: str) -> None:
    end = session_end(trainer(), epochs(4), ended=False, early=None, error=error)
    data = end_data(end, None)
    assert (data["state"], data["reason"], data["completed"]) == (state, None, False)
    assert (data["exception"] is not None) == (state == "exception")


# --- epochs ---------------------------------------------------------------------------------------


def followed(**changed: Any) -> tuple[list[EpochRecord], EpochLog, Any, Any]:
    received: list[EpochRecord] = []
    values = {"epoch": 3, "world_size": 1, "fitness": 0.5, "metrics": {"metrics/mAP": 0.5}}
    loop = SimpleNamespace(
        journal=SimpleNamespace(step=7, attempt=2),
        reader=SimpleNamespace(window=SimpleNamespace(images_seen=100)),
    )
    return received, EpochLog(received.append), SimpleNamespace(**{**values, **changed}), loop


def test_the_epoch_after_the_final_validation_is_none() -> None:
    received, log, made, loop = followed()
    log.begin(made, loop)
    loop.journal.step, loop.reader.window.images_seen = 12, 140
    log.validated()
    log.end(made, loop)
    made.epoch += 1
    log.end(made, loop)
    [record] = received
    assert (record.attempt, record.epoch, record.steps, record.images) == (2, 3, 5, 40)
    assert (record.metrics, record.fitness, record.validated) == ({"mAP": 0.5}, 0.5, True)
    assert log.done == 4


def test_metrics_of_an_earlier_validation_are_not_those_of_the_epoch() -> None:
    received, log, made, loop = followed()
    log.begin(made, loop)
    log.validated()
    log.begin(made, loop)  # restarted, as after an out-of-memory error
    log.end(made, loop)
    assert (received[0].metrics, received[0].fitness, received[0].validated) == ({}, None, False)


def test_a_validator_of_the_users_may_return_anything() -> None:
    odd = {"val/box": "1.5", "note": "good", "accuracy": 0.25, "curve": [1, 2], "val/nan": math.nan}
    received, log, made, loop = followed(metrics=odd, fitness=None)
    loop.reader.window.images_seen = None
    log.begin(made, loop)
    log.validated()
    log.end(made, loop, replayed=True)
    [record] = received
    assert record.metrics == {"accuracy": 0.25}
    assert record.val["box"] == 1.5
    assert math.isnan(record.val["nan"])
    assert (record.images, record.fitness, log.done) == (None, None, 3)
