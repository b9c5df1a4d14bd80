"""Console lines between the progress bars."""

from __future__ import annotations

import logging

import pytest

from yolo_stability.core.types import BlockStats, Event, RunHeader, StepRecord
from yolo_stability.trainer.loggers.console import ConsoleSink


def record(step: int, a: float, b: float, **changed: object) -> StepRecord:
    fields: dict[str, object] = {
        "attempt": 0,
        "step": step,
        "iteration": step,
        "epoch": 0,
        "accumulate": 1,
        "loss": 1.0,
        "loss_items": {},
        "lr_by_group": {},
        "momentum": 0.9,
        "grad_norm": (a**2 + b**2) ** 0.5,
        "clip_coef": 0.5,
        "amp_scale": None,
        "skipped": None,
        "nonfinite": 0,
        "seconds": 0.1,
        "blocks": (BlockStats(block="a", grad_norm=a), BlockStats(block="b", grad_norm=b)),
    }
    return StepRecord(**{**fields, **changed})


@pytest.fixture
def sink(caplog: pytest.LogCaptureFixture) -> ConsoleSink:
    """A sink whose lines are captured."""
    logger = logging.getLogger("ultralytics")
    logger.propagate = True
    caplog.set_level(logging.INFO, logger="ultralytics")
    return ConsoleSink()


def header() -> RunHeader:
    return RunHeader(
        schema_version=1,
        run_id="x",
        config_digest="x",
        seed=0,
        requested={},
        effective={"epochs": 2, "guard": "skip"},
        versions={},
        device="cpu",
        dataset_digest=None,
        blocks=(),
        started="",
    )


def test_an_epoch_is_one_line(sink: ConsoleSink, caplog: pytest.LogCaptureFixture) -> None:
    sink.open(header())
    sink.write(record(0, 3.0, 4.0))
    sink.write(record(1, 30.0, 40.0))
    sink.write(record(2, 0.0, 5.0, clip_coef=None, skipped="guard"))
    sink.end_epoch(0)
    sink.end_epoch(1)  # nothing happened: no line
    lines = [message for message in caplog.messages if "epoch" in message]
    assert lines == [
        "stability: epoch 1/2, 3 steps, grad norm 5 (max 50), largest in b, 2 clipped, "
        "1 skipped by guard"
    ]
    assert len(lines[0]) <= 100


EVENTS = {
    "guard_skip": {"reason": "gradient", "blocks": 3, "in_a_row": 2, "nonfinite": 9},
    "scaler_skip": {"scale": 65536.0},
    "guard_stop": {"text": "10 consecutive steps were non-finite"},
    "rollback": {"restored_step": 1, "why": "because"},
    "nan_recovery": {"epoch": 1},
    "oom_restart": {"epoch": 0, "batch": 4},
    "resume": {},
    "notice": {"text": "something to know"},
}


@pytest.mark.parametrize("kind", EVENTS)
def test_every_event_is_one_line(
    kind: str, sink: ConsoleSink, caplog: pytest.LogCaptureFixture
) -> None:
    sink.event(Event(attempt=0, step=7, kind=kind, data=EVENTS[kind]))
    assert len(caplog.messages) == 1
    assert caplog.messages[0].strip().startswith("stability: step 7: ")


def test_a_skip_names_the_block_when_it_is_one(
    sink: ConsoleSink, caplog: pytest.LogCaptureFixture
) -> None:
    sink.event(
        Event(attempt=0, step=3, kind="guard_skip", block="model.6 C3k2", data=EVENTS["guard_skip"])
    )
    assert "gradients not finite in model.6 C3k2 (2 in a row)" in caplog.text


def test_an_unknown_event_says_nothing(sink: ConsoleSink, caplog: pytest.LogCaptureFixture) -> None:
    sink.event(Event(attempt=0, step=3, kind="end", data={}))
    assert caplog.messages == []


LONG = (
    "the gradient norm leapt to 1.66e5 at step 1, 248 times the highest before, "
    "and the loss rose 5.8e3 times, "
    "most in model.23.cv3 Detect cls"
)


@pytest.mark.parametrize(
    ("message", "remedy", "end"),
    [
        ("short", "lr_mult=0.1, clip=norm:10", "short; to try: lr_mult=0.1, clip=norm:10"),
        (LONG, "lr_mult=0.1 or warmup_epochs=3; clip=norm:10", " ...; to try: lr_mult=0.1"),
        (LONG[:96], "lr_mult=0.1 or warmup_epochs=3; clip=norm:10", "; to try: lr_mult=0.1"),
        (
            LONG,
            "a rate (AdamW 0.002, SGD 0.01 or so), or clip=1",
            "; to try: a rate (AdamW 0.002, SGD 0.01 or so)",
        ),
        (LONG * 3, "", " ..."),
        ("two\nlines", "", "two lines"),
    ],
)  # fmt: skip
def test_a_finding_is_one_line_that_ends_with_its_remedy(
    message: str, remedy: str, end: str, sink: ConsoleSink, caplog: pytest.LogCaptureFixture
) -> None:
    data = {"severity": "critical", "rule": "exploding", "message": message, "remedy": remedy}
    sink.event(Event(attempt=0, step=21, kind="finding", data=data))
    (line,) = (text.strip() for text in caplog.messages)
    assert line.startswith(f"stability: step 21: critical exploding: {message[:3]}")
    assert line.endswith(end)
    assert len(line) <= 160
    assert "\n" not in line
