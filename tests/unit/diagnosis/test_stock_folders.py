"""Twenty-two kinds of stock run folders: verdict, column and epoch; and what only a log shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from epoch_tables import Columns, learning, set_rows
from stock_folders import as_yolov5, console_log, epoch_lines, traceback_of, write_run

from yolo_stability.core.errors import TraceError
from yolo_stability.core.findings import Diagnosis
from yolo_stability.diagnosis.targets import diagnose_run, examine_target

NAN, LOST = float("nan"), slice(16, 28)


def lost(prefix: str, rows: slice = LOST, value: Any = NAN, task: str = "detect") -> Columns:
    """Return columns of a run that learns, with another value in some and metrics of 0."""
    return set_rows(set_rows(learning(task=task), prefix, rows, value), "metrics/", rows, 0.0)


def stepped() -> Columns:
    columns = learning(30)
    for name in [n for n in columns if n.startswith("train/")]:
        columns[name] = columns[name] + 0.4 * (np.arange(30) >= 20)
    return columns


def unvalidated() -> Columns:
    """Return columns of a run with val=False: zeros until its last epoch."""
    columns = set_rows(learning(20), "val/", slice(0, 19), 0.0)
    return set_rows(columns, "metrics/", slice(0, 19), 0.0)


def stalled() -> Columns:
    columns = learning(28)
    for name in [n for n in columns if n.startswith("metrics/")]:
        columns[name][18:] = columns[name][17] * 0.98
    return columns


@dataclass(frozen=True)
class Folder:
    """A kind of folder, and what is right about it; `column` and `epoch` of its first finding."""

    columns: Callable[[], Columns]
    verdict: str
    learned: str
    end: str
    column: str | None = None
    epoch: int | None = None
    reason: str | None = None
    cause: str | None = None
    kept: dict[str, Any] = field(default_factory=dict)


EVERY = slice(0, 28)
FOLDERS = {
    "validation NaN from the start": Folder(
        lambda: lost("val/", EVERY),
        "failed", "not_learned", "finished", "val/box_loss", 1, cause="evaluation",
    ),
    "validation NaN late": Folder(
        lambda: lost("val/"),
        "failed", "not_learned", "finished", "val/box_loss", 17, cause="evaluation",
    ),
    "validation NaN in one part": Folder(
        lambda: lost("val/dfl_loss"),
        "failed", "not_learned", "finished", "val/dfl_loss", 17, cause="evaluation",
    ),
    "metrics gone": Folder(
        lambda: lost("nothing/"), "failed", "not_learned", "finished", "metrics/mAP50-95(B)", 17,
        cause="unknown",
    ),
    "box loss 0": Folder(
        lambda: lost("train/box_loss", EVERY, 0.0),
        "failed", "not_learned", "finished", "train/box_loss", 1, cause="data",
    ),
    "validation exploded": Folder(
        lambda: lost("val/cls_loss", LOST, 8e15),
        "failed", "not_learned", "finished", "val/cls_loss", 17,
    ),
    "died of NaN": Folder(
        lambda: learning(4), "inconclusive", "learned", "interrupted",
        kept={"epochs": 9, "stripped": False},
    ),
    "out of memory": Folder(
        lambda: learning(12), "inconclusive", "learned", "interrupted",
        kept={"epochs": 50, "stripped": False},
    ),
    "killed": Folder(
        lambda: learning(12), "inconclusive", "learned", "interrupted",
        kept={"epochs": 50, "stripped": False},
    ),
    "interrupted": Folder(
        lambda: learning(12), "inconclusive", "learned", "interrupted",
        kept={"epochs": 50, "stripped": False},
    ),
    "early stop": Folder(
        stalled, "stable", "learned", "stopped", reason="patience",
        kept={"epochs": 100, "patience": 10},
    ),
    "time=": Folder(
        lambda: learning(20), "stable", "learned", "stopped", reason="time",
        kept={"time": 0.17, "epochs": 100},
    ),
    "val=False": Folder(unvalidated, "stable", "learned", "finished", kept={"val": False}),
    "healthy": Folder(lambda: learning(28), "stable", "learned", "finished"),
    "mosaic closed": Folder(stepped, "stable", "learned", "finished", kept={"close_mosaic": 10}),
    "huge first validation": Folder(
        lambda: set_rows(learning(28), "val/cls_loss", slice(0, 1), 41350.0),
        "stable", "learned", "finished",
    ),
    "short": Folder(
        lambda: set_rows(learning(3), "metrics/", slice(0, 3), 0.002),
        "inconclusive", "too_early", "finished",
    ),
    "YOLOv5": Folder(
        lambda: as_yolov5(lost("nothing/")),
        "failed", "not_learned", "finished", "metrics/mAP_0.5:0.95", 17,
        kept={"first": 0, "spaces": True, "settings": "opt.yaml"},
    ),
    "8.0": Folder(
        lambda: lost("train/box_loss"),
        "failed", "not_learned", "finished", "train/box_loss", 17,
        kept={"first": 0, "spaces": True},
    ),
    "segment": Folder(
        lambda: lost("train/seg_loss", task="segment"),
        "failed", "not_learned", "finished", "train/seg_loss", 17, kept={"task": "segment"},
    ),
    "pose": Folder(
        lambda: set_rows(learning(task="pose"), "metrics/mAP50-95(P)", LOST, 0.0),
        "failed", "not_learned", "finished", "metrics/mAP50-95(P)", 17, kept={"task": "pose"},
    ),
    "classify": Folder(
        lambda: set_rows(
            set_rows(learning(task="classify"), "val/loss", LOST, NAN),
            "metrics/accuracy_top1", LOST, 0.1,
        ),
        "failed", "not_learned", "finished", "val/loss", 17,
        kept={"task": "classify", "nc": 10},
    ),
}  # fmt: skip
BROKEN_OFF = ("died of NaN", "out of memory", "killed", "interrupted")


@pytest.mark.parametrize("name", FOLDERS)
def test_verdict_column_and_epoch(name: str, tmp_path: Path) -> None:
    kind = FOLDERS[name]
    found = diagnose_run(write_run(tmp_path / "train", kind.columns(), **kind.kept))
    assert (found.verdict, found.learning) == (kind.verdict, kind.learned), found
    assert found.end is not None
    assert (found.end.state, found.end.reason) == (kind.end, kind.reason)
    severe = [f for f in found.findings if f.severity != "info"]
    if kind.column is None:
        assert not [f for f in severe if f.severity == "critical"]
    else:
        assert (kind.column, kind.epoch) in {(f.column, f.first_epoch) for f in severe}, found
    if kind.cause is not None:
        assert found.cause == kind.cause
    if kind.verdict == "failed":
        assert found.lines(200)[0].startswith("failed (best.pt of epoch ")
        assert " is sound" in found.lines(200)[0]
        assert found.findings[-1].rule == "no_trace"
        assert "name=train-again" in found.findings[-1].remedy


def test_without_a_log_a_kill_memory_and_an_interruption_read_alike(tmp_path: Path) -> None:
    found = []
    for number, name in enumerate(BROKEN_OFF[1:]):
        kind = FOLDERS[name]
        folder = write_run(tmp_path / str(number) / "train", kind.columns(), **kind.kept)
        found.append(diagnose_run(folder))
    assert len({f.why for f in found}) == 1
    assert "without a log, a kill, too little memory and Ctrl-C look alike" in found[0].why
    assert found[0].findings[-1].rule == "no_log"
    assert "log=FILE" in found[0].findings[-1].remedy


def with_log(tmp_path: Path, name: str, end: list[str]) -> tuple[Diagnosis, Diagnosis]:
    """Return the diagnoses of a folder with its log, and of the log alone."""
    kind = FOLDERS[name]
    columns = kind.columns()
    folder = write_run(tmp_path / "runs" / "train", columns, **kind.kept)
    log = tmp_path / "elsewhere" / "console.log"
    log.parent.mkdir()
    log.write_text(console_log(columns, end, planned=kind.kept.get("epochs")))
    return examine_target(folder, log).diagnosis, examine_target(log).diagnosis


def began(columns: Columns, planned: int, share: int = 50) -> list[str]:
    """Return the lines of the epoch after the last one, up to a share of its bar."""
    more = {name: np.append(values, values[-1]) for name, values in columns.items()}
    size = len(next(iter(columns.values())))
    losses = [name.removeprefix("train/") for name in columns if name.startswith("train/")]
    return epoch_lines(more, size, losses, planned, "8.4", share=share)


def test_a_log_shows_that_it_died_of_nan(tmp_path: Path) -> None:
    bad = set_rows(learning(5), "train/cls", slice(4, 5), NAN)
    again = epoch_lines(bad, 4, ["box_loss", "cls_loss", "dfl_loss"], 9, "8.4")
    end = []
    for attempt in (1, 2, 3):
        end += [
            *again,
            f"WARNING Loss NaN/Inf detected (attempt {attempt}/3), recovering from last.pt...",
        ]
    end += [*again, *traceback_of("RuntimeError: Training failed: NaN persisted for 4 epochs")]
    for found in with_log(tmp_path, "died of NaN", end):
        assert found.verdict == "failed"
        first = found.findings[0]
        assert (first.severity, first.column, first.first_epoch) == (
            "critical",
            "train/cls_loss",
            5,
        )
        assert "restarted it from last.pt 3 times and gave up" in first.message
        assert found.end is not None
        assert (found.end.state, found.end.epochs_done, found.end.epochs_planned) == (
            "exception",
            4,
            9,
        )
        assert found.end.exception is not None
        assert (found.end.exception.type, found.end.exception.where) == (
            "RuntimeError",
            "train.py:31",
        )


@pytest.mark.parametrize(
    ("name", "end", "state", "text"),
    [
        (
            "out of memory",
            traceback_of("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."),
            "exception",
            "the device ran out of memory in epoch 13, after 12 of 50 epochs",
        ),
        (
            "out of memory",
            traceback_of("RuntimeError: DataLoader worker (pid 17) is killed by signal: Killed. "),
            "exception",
            "the host ran out of memory in epoch 13, after 12 of 50 epochs",
        ),
        (
            "out of memory",
            ["[ 71.2] Out of memory: Killed process 171 (python)", "Killed"],
            "killed",
            "killed by the system, which was out of memory, in epoch 13 after 12 of 50 epochs",
        ),
        ("killed", ["Killed"], "killed", "killed by SIGKILL in epoch 13 after 12 of 50 epochs"),
        (
            "killed",
            ["slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-01-01 DUE TO TIME LIMIT ***"],
            "killed",
            "killed by its time limit in epoch 13",
        ),
        (
            "interrupted",
            ["^C", *traceback_of("KeyboardInterrupt")],
            "interrupted",
            "interrupted by Ctrl-C in epoch 13, after 12 of 50 epochs",
        ),
        (
            "interrupted",
            traceback_of("ValueError: no box in 'a.jpg'"),
            "exception",
            "(ValueError: no box in 'a.jpg', in train.py:31)",
        ),
        ("interrupted", [], "interrupted", "the log ends in epoch 13 without a reason"),
    ],
)  # fmt: skip
def test_a_log_distinguishes_what_reads_alike(
    name: str, end: list[str], state: str, text: str, tmp_path: Path
) -> None:
    begun = began(learning(12), 50)
    for found in with_log(tmp_path, name, [*begun, *end]):
        assert found.verdict == "inconclusive"
        assert found.end is not None
        assert (found.end.state, found.end.epochs_done, found.end.epochs_planned) == (state, 12, 50)
        assert text in found.why
        assert "look alike" not in found.why
        memory = [f for f in found.findings if f.rule == "out_of_memory"]
        assert bool(memory) == ("memory" in text)


def test_the_log_of_another_run_is_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "train", learning(12))
    log = tmp_path / "console.log"
    log.write_text(console_log(learning(12, seed=7)))
    with pytest.raises(TraceError, match=r"is not the log of '.*results\.csv': train/\w+ of epoch"):
        examine_target(folder, log)
    best = examine_target(log).diagnosis.best
    assert best is not None
    assert best.audit == "not examined"
