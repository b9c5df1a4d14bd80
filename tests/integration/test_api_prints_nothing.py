"""API functions print nothing: output belongs to the command line and to Ultralytics' log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from inspect import isclass
from pathlib import Path
from typing import Any

import pytest
from traces import record, write
from training import MODELS, overrides

from yolo_stability import api
from yolo_stability.benchmarks import verify as verification
from yolo_stability.benchmarks.executors.local import LocalExecutor
from yolo_stability.benchmarks.plan import RunOutcome, RunSpec
from yolo_stability.config import make_settings

pytestmark = pytest.mark.trains
SMALL: dict[str, Any] = {"model": MODELS["detect"], "data": "shapes", "imgsz": 64, "batch": 8}


def write_run(spec: RunSpec, out: Path) -> RunOutcome:
    """Write what a run of some steps leaves."""
    write(out / spec.folder, [record(step) for step in range(32)])
    outcome = RunOutcome(digest=spec.digest, outcome="finished", seconds={"total": 2.0})
    outcome.write(out / spec.folder)
    return outcome


def run_all(
    executor: LocalExecutor, specs: Sequence[RunSpec], out: Path, on_start: Callable[..., None]
) -> Iterator[tuple[RunSpec, RunOutcome]]:
    """Stand in for an executor: every run is there at once."""
    for spec in specs:
        on_start(spec)
        yield spec, write_run(spec, out)


def train(folder: Path) -> None:
    api.train(**{**overrides("detect", folder, epochs=1, optimizer="auto"), **SMALL})


def train_checked(folder: Path) -> None:
    keys = {**overrides("detect", folder, epochs=1), **SMALL}
    model, data = keys.pop("model"), keys.pop("data")
    api.train_checked(None, model=model, data=data, settings=make_settings(), overrides=keys)


def benchmark(folder: Path) -> None:
    api.benchmark("quick", out=folder / "quick", task="detect", arms="huge-lr")


def verify(folder: Path) -> None:
    benchmark(folder)
    assert api.verify(folder / "quick", sample=1).identical


def compare(folder: Path) -> None:
    benchmark(folder)
    runs = sorted((folder / "quick").rglob("run.json"))
    api.compare(*(run.parent for run in runs[:2]), out=folder / "compared")


def draw_probes(folder: Path) -> None:
    api.draw_probes([api.probe(**SMALL, fraction=[8, 4])], folder / "drawn")


def diagnose(folder: Path) -> None:
    write(folder / "run", [record(step) for step in range(32)])
    api.diagnose(folder / "run")


def bundle(folder: Path) -> None:
    diagnose(folder)
    api.bundle(folder / "run", out=folder / "b.zip")


CALLS: dict[str, Callable[[Path], Any]] = {
    "benchmark": benchmark,
    "bundle": bundle,
    "compare": compare,
    "diagnose": diagnose,
    "draw_probes": draw_probes,
    "examine": diagnose,
    "explain": lambda _: [str(api.explain(name)) for name in ("spike", "data")],
    "frontier": lambda folder: api.frontier("lr_mult", out=folder / "frontier", grid=2),
    "mechanics": lambda folder: api.mechanics("clip", out=folder / "mechanics"),
    "probe": draw_probes,
    "probe_checked": draw_probes,
    "probe_grid": lambda _: api.probe_grid(**SMALL, fraction=[8, 4], grid=[{"norm": "none"}]),
    "train": train,
    "train_checked": train_checked,
    "verify": verify,
}


@pytest.fixture
def _runs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the runs of a benchmark be there at once, and a run that is verified be as it was."""
    monkeypatch.setattr(LocalExecutor, "run", run_all)
    monkeypatch.setattr(verification, "supervise", lambda spec, out, **_: write_run(spec, out))


@pytest.fixture
def _ultralytics_is_silent() -> Iterator[None]:
    """Let Ultralytics print neither its log nor its bars."""
    logger = logging.getLogger("ultralytics")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


@pytest.mark.usefixtures("_runs_at_once", "_ultralytics_is_silent")
@pytest.mark.parametrize("name", CALLS)
def test_a_function_prints_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    CALLS[name](tmp_path)
    assert capfd.readouterr().out == ""


def test_every_function_is_tried() -> None:
    assert set(CALLS) == {name for name in api.__all__ if not isclass(getattr(api, name))}


def test_what_a_training_reports_is_in_ultralytics_log(
    tmp_path: Path, log: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path)
    found = {record.levelname: record.message for record in log.records if ours(record)}
    assert found["INFO"].startswith("data: shapes: 128 training and 32 validation images")
    assert "stability: optimizer=auto ignores lr0=0.01" in found["WARNING"]
    assert "ignores lr0" not in capfd.readouterr().err


def ours(record: logging.LogRecord) -> bool:
    """Return whether a message is one that `train` reports itself."""
    return "data: shapes" in record.message or "ignores lr0=0.01" in record.message
