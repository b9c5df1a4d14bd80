"""Sinks of experiment trackers, tested with fakes; tests/integration uses the real trackers."""

from __future__ import annotations

import inspect
import logging
import pickle
import subprocess
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from test_console import header
from test_log_queue import record

from yolo_stability.core.types import Event
from yolo_stability.trainer.loggers import SINKS, Sink
from yolo_stability.trainer.loggers._tracker import TrackerSink
from yolo_stability.trainer.loggers.mlflow import MlflowSink
from yolo_stability.trainer.loggers.tensorboard import TensorboardSink
from yolo_stability.trainer.loggers.wandb import WandbSink
from yolo_stability.trainer.monitor import StabilityMonitor
from yolo_stability.trainer.outputs import Outputs

CALLBACKS = "ultralytics.utils.callbacks"
TRACKERS = [MlflowSink, TensorboardSink, WandbSink]
FINDING = Event(
    attempt=0,
    step=1,
    kind="finding",
    block="a",
    data={
        "rule": "spike",
        "severity": "critical",
        "message": "m" * 300,
        "remedy": "clip=agc",
        "first_step": 1,
    },
)


def old_start(trainer: Any) -> None:
    """Imitate versions that set W&B's step."""


def new_start(trainer: Any) -> None:
    """Imitate versions that define an axis."""
    trainer.define_metric("epoch")


class Backend:
    """Calls that a tracker received, as (name, args, kwargs)."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.id = "run-1"
        self.fails: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*args: Any, **kwargs: Any) -> None:
            self.gate.wait(30)
            if self.fails:
                raise self.fails
            self.calls.append((name, args, kwargs))

        return call

    def named(self, name: str) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        return [(args, kwargs) for called, args, kwargs in self.calls if called == name]


class Trackers:
    """The modules in which sinks look for a run."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.backend = Backend()
        self.settings = {"wandb": True, "mlflow": True, "tensorboard": True}
        self.tensorboard = SimpleNamespace(WRITER=None)
        self.wandb = SimpleNamespace(run=None)
        self.wb = SimpleNamespace(wb=self.wandb, on_pretrain_routine_end=new_start)
        self.mlflow = SimpleNamespace(
            active_run=lambda: self.active,
            MlflowClient=lambda: self.backend,
            entities=SimpleNamespace(Metric=lambda *values: values),
        )
        self.active: Any = None
        modules = {
            "ultralytics.utils": SimpleNamespace(SETTINGS=self.settings),
            f"{CALLBACKS}.tensorboard": self.tensorboard,
            f"{CALLBACKS}.wb": self.wb,
            f"{CALLBACKS}.mlflow": SimpleNamespace(mlflow=self.mlflow),
            "wandb": self.wandb,
            "mlflow": self.mlflow,
        }
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)

    def open(self) -> None:
        self.tensorboard.WRITER = self.wandb.run = self.backend
        self.active = SimpleNamespace(info=SimpleNamespace(run_id=self.backend.id))

    def end(self) -> None:
        self.tensorboard.WRITER = self.wandb.run = self.active = None


@pytest.fixture
def trackers(monkeypatch: pytest.MonkeyPatch) -> Trackers:
    return Trackers(monkeypatch)


def started(kind: type[TrackerSink], steps: int = 3) -> TrackerSink:
    sink = kind()
    sink.open(header())
    for step in range(steps):
        sink.write(record(step))
    return sink


def delivered(sink: TrackerSink) -> None:
    assert sink._queue is not None
    assert sink._queue.wait(5)


# --- every sink -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(SINKS))
def test_a_sink_is_named_after_its_file_and_documented(name: str) -> None:
    cls = SINKS[name]
    assert issubclass(cls, Sink)
    assert inspect.getmodule(cls).__all__[0] == cls.__name__
    assert cls.__name__.lower() == f"{name}sink"
    assert SINKS.summaries[name].endswith(".")
    assert len(SINKS.summaries[name]) <= 120


@pytest.mark.parametrize("name", list(SINKS))
def test_a_sink_travels_to_workers_before_it_is_opened(name: str) -> None:
    assert type(pickle.loads(pickle.dumps(SINKS[name]()))) is SINKS[name]


def test_a_monitor_has_every_sink() -> None:
    assert [type(sink) for sink in StabilityMonitor()._make_sinks()] == [
        SINKS[name] for name in SINKS
    ]
    assert set(SINKS) == {"console", "mlflow", "tensorboard", "wandb"}


def test_sinks_import_no_tracker_no_torch_and_no_ultralytics() -> None:
    code = (
        "import sys\n"
        "from yolo_stability.trainer.loggers import SINKS\n"
        "sinks = [SINKS[n]() for n in SINKS]\n"
        "for s in sinks[1:]: assert s.find() is None\n"
        "heavy = {'torch', 'ultralytics', 'tensorboard', 'wandb', 'mlflow', 'numpy', 'polars'}\n"
        "bad = heavy & set(sys.modules)\n"
        "assert not bad, bad\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- which run ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TRACKERS)
def test_without_a_run_nothing_happens(kind: type[TrackerSink], trackers: Trackers) -> None:
    sink = started(kind)
    sink.event(FINDING)
    sink.end_epoch(0)
    sink.close()
    assert trackers.backend.calls == []
    assert sink._queue is not None
    assert sink._queue._thread is None


@pytest.mark.parametrize("kind", [WandbSink, MlflowSink])
@pytest.mark.parametrize("why", ["setting", "unused", "not loaded"])
def test_a_run_that_is_not_of_ultralytics_is_left_alone(
    kind: type[TrackerSink], why: str, trackers: Trackers, monkeypatch: pytest.MonkeyPatch
) -> None:
    trackers.open()
    module, name = ("wb", "wb") if kind is WandbSink else ("mlflow", "mlflow")
    if why == "setting":
        trackers.settings["wandb" if kind is WandbSink else "mlflow"] = False
    elif why == "unused":  # as in tests, or where the package is missing
        monkeypatch.setattr(sys.modules[f"{CALLBACKS}.{module}"], name, None)
    else:
        monkeypatch.delitem(sys.modules, f"{CALLBACKS}.{module}")
    sink = started(kind)
    sink.close()
    assert trackers.backend.calls == []


def test_tensorboard_that_never_was_imported_well_is_left_alone(trackers: Trackers) -> None:
    del trackers.tensorboard.WRITER  # so it is in pytest
    started(TensorboardSink).close()
    assert trackers.backend.calls == []


# --- what is written ------------------------------------------------------------------------------


def test_tensorboard_gets_scalars_and_texts(trackers: Trackers) -> None:
    trackers.open()
    sink = started(TensorboardSink, 2)
    sink.event(FINDING)
    delivered(sink)
    scalars = [args for args, _ in trackers.backend.named("add_scalar")]
    one = [
        ("stability/grad_norm_total", 1.0),
        ("stability/clip_coef", 0.5),
        ("stability/skipped_steps", 0.0),
        ("stability/lr/pg0", 0.1),
        ("stability/grad_norm/a", 1.0),
    ]  # block b has no gradient, and no ratio was sampled
    assert scalars == [(*pair, step) for step in (0, 1) for pair in one]
    assert [args for args, _ in trackers.backend.named("add_text")] == [
        ("stability/events", f"critical spike: {'m' * 300}; to try: clip=agc", 1)
    ]
    assert trackers.backend.named("flush")
    sink.close()


def test_wandb_gets_rows_with_an_axis_of_their_own(trackers: Trackers) -> None:
    trackers.open()
    sink = started(WandbSink, 2)
    sink.event(FINDING)
    delivered(sink)
    assert [(args, kwargs) for args, kwargs in trackers.backend.named("define_metric")] == [
        (("stability/step",), {"hidden": True}),
        (("stability/*",), {"step_metric": "stability/step"}),
    ]
    logged = trackers.backend.named("log")
    assert [args[0]["stability/step"] for args, _ in logged] == [0, 1, 1]
    assert all(kwargs == {"commit": True} for _, kwargs in logged)
    assert len(trackers.backend.named("alert")) == 1
    sink.write(record(2))
    delivered(sink)
    assert len(trackers.backend.named("define_metric")) == 2
    sink.close()


def test_wandb_rows_do_not_count_up_the_step_that_older_versions_name(trackers: Trackers) -> None:
    trackers.wb.on_pretrain_routine_end = old_start
    trackers.open()
    sink = started(WandbSink, 2)
    delivered(sink)
    logged = trackers.backend.named("log")
    assert len(logged) == 2
    assert all(kwargs == {"commit": False} for _, kwargs in logged)
    sink.close()


def test_mlflow_gets_batches_that_it_takes(trackers: Trackers) -> None:
    trackers.open()
    sink = MlflowSink()
    sink.open(header())
    for step in range(300):  # 5 numbers each
        sink.write(record(step))
    sink.event(FINDING)
    delivered(sink)
    batches = [kwargs["metrics"] for _, kwargs in trackers.backend.named("log_batch")]
    assert [len(batch) for batch in batches] == [1000, 500]
    assert [
        m[3] for batch in batches for m in batch if m[0] == "stability/grad_norm_total"
    ] == list(range(300))
    assert all(args == ("run-1",) for args, _ in trackers.backend.named("log_batch"))
    (args, _), *more = trackers.backend.named("set_tag")
    assert args[:2] == ("run-1", "stability.spike")
    assert not more
    assert trackers.backend.named("log_text")[0][0][1].startswith("step 1: critical spike: mmm")
    sink.close()


def test_mlflow_is_given_no_name_that_it_refuses(trackers: Trackers) -> None:
    trackers.open()
    sink = MlflowSink()
    sink.send(
        "run-1", [SimpleNamespace(step=0, values={"stability/grad_norm/a(b)@c é.0 Conv": 1.0})], []
    )
    ((_, kwargs),) = trackers.backend.named("log_batch")
    assert kwargs["metrics"][0][0] == "stability/grad_norm/a_b__c _.0 Conv"


# --- the end --------------------------------------------------------------------------------------


def test_what_comes_after_the_end_of_a_run_is_only_written_where_that_is_possible(
    trackers: Trackers, log: pytest.LogCaptureFixture
) -> None:
    trackers.open()
    trackers.backend.gate.clear()
    sinks = {kind: started(kind) for kind in TRACKERS}
    for sink in sinks.values():
        sink._queue.stride = 100
        sink.write(record(3))
    trackers.end()
    trackers.backend.gate.set()
    for sink in sinks.values():
        delivered(sink)
    before = len(trackers.backend.named("log")), len(trackers.backend.named("add_scalar"))
    for sink in sinks.values():
        sink.write(record(4))  # no run any more
        sink.close()
    assert (len(trackers.backend.named("log")), len(trackers.backend.named("add_scalar"))) == before
    steps = [m[3] for _, kwargs in trackers.backend.named("log_batch") for m in kwargs["metrics"]]
    assert sorted(set(steps)) == [0, 1, 2, 3]  # MLflow takes numbers for a run that has ended
    assert [r.getMessage() for r in log.records if r.levelno >= logging.WARNING] == []


def test_a_run_that_ended_under_way_is_no_failure(trackers: Trackers) -> None:
    trackers.open()
    trackers.backend.fails = RuntimeError("run is finished")
    sink = started(WandbSink)
    trackers.end()
    sink.close()


# --- the contract: it never harms the run ---------------------------------------------------------


def watched(sink: Sink) -> Outputs:
    return Outputs([sink])


@pytest.mark.parametrize("kind", TRACKERS)
def test_a_failing_tracker_is_dropped_with_a_warning(
    kind: type[TrackerSink], trackers: Trackers, log: pytest.LogCaptureFixture
) -> None:
    trackers.open()
    trackers.backend.fails = ConnectionError("the server is gone")
    sink = started(kind, 0)
    run = watched(sink)
    run.record(record(0))
    assert sink._queue is not None
    sink._queue.wait(5)
    for step in range(1, 100):
        run.record(record(step))
    assert run._sinks == []
    records = {
        id(r): r for r in log.records if r.levelno >= logging.WARNING
    }  # two handlers may see the same one
    warnings = [r.getMessage() for r in records.values()]
    warnings = [text.removeprefix("WARNING ⚠️ ") for text in warnings]  # Ultralytics puts it there
    assert warnings == [
        f"stability: {kind.__name__} failed and is disabled for this run: the server is gone"
    ]


@pytest.mark.parametrize("kind", TRACKERS)
def test_a_tracker_that_hangs_keeps_nobody_waiting(
    kind: type[TrackerSink], trackers: Trackers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, "period", 0.001)
    monkeypatch.setattr(kind, "patience", (0.05, 0.2))
    trackers.open()
    trackers.backend.gate.clear()
    sink = started(kind, 0)
    began = time.monotonic()
    for step in range(2000):
        sink.write(record(step))
        if step % 20 == 0:
            sink.end_epoch(step // 20)
    sink.close()
    assert time.monotonic() - began < 4  # a hundred waits would be 5 s
    trackers.backend.gate.set()


def test_thinning_is_said_once(trackers: Trackers, log: pytest.LogCaptureFixture) -> None:
    trackers.open()
    sink = started(TensorboardSink)
    assert log.messages == []
    sink._queue.stride = 4
    for step in range(3, 50):
        sink.write(record(step))
    assert log.messages == [
        "stability: logging every step to TensorBoard would take more than 1% of the run's time: "
        "only the largest gradient norm of every few steps is sent; the trace contains all steps"
    ]
    sink.close()
