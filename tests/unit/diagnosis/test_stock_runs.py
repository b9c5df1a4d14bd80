"""Stock runs: their table of epochs, what of it was validated, and how they ended."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from traces import record, write

from yolo_stability.core.findings import End
from yolo_stability.diagnosis.bundle import write_bundle
from yolo_stability.diagnosis.results_table import epoch_series, read_table
from yolo_stability.diagnosis.targets import diagnose_run, examine_target

HEAD = "epoch,time,train/box_loss,metrics/mAP50-95(B),val/box_loss,lr/pg0"
DAYS = 2 * 86400.0


def table(folder: Path, rows: Sequence[Sequence[Any]], head: str = HEAD) -> Path:
    """Write a table with these rows: metric and validation loss of each epoch."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        f"{i + 1},{10.0 * (i + 1)},{2 - 0.1 * i},{m},{v},0.01" for i, (m, v) in enumerate(rows)
    ]
    (folder / "results.csv").write_text("\n".join([head, *lines]) + "\n")
    return folder


def learned(epochs: int) -> list[tuple[float, float]]:
    return [(0.05 * (i + 1), 2 - 0.1 * i) for i in range(epochs)]


def run(folder: Path, epochs: int, *, last: str = "none", age: float = DAYS, **args: Any) -> Path:
    """Write a run folder of so many learned epochs, with a last checkpoint of some kind and age."""
    table(folder, learned(epochs))
    (folder / "args.yaml").write_text(yaml.safe_dump({"task": "detect", "epochs": 6, **args}))
    weights = {"model": torch.randn(8, 8), "epoch": -1 if last == "stripped" else epochs - 1}
    if last == "whole":
        weights["optimizer"] = {"state": {0: torch.ones(3)}}
    if last != "none":
        (folder / "weights").mkdir(exist_ok=True)
        torch.save(weights, folder / "weights" / "last.pt")
    then = time.time() - age
    for file in folder.rglob("*"):
        os.utime(file, (then, then))
    return folder


@pytest.mark.parametrize(
    ("epochs", "known", "expected"),
    [
        (6, {"last": "stripped"}, End(state="finished", epochs_done=6, epochs_planned=6)),
        (
            4,
            {"last": "stripped"},
            End(state="stopped", reason="patience", epochs_done=4, epochs_planned=6),
        ),
        (
            4,
            {"last": "stripped", "time": 0.0126},  # 45.4 s at 10 s an epoch
            End(state="stopped", reason="time", epochs_done=4, epochs_planned=5),
        ),
        (4, {"last": "whole"}, End(state="interrupted", epochs_done=4, epochs_planned=6)),
        (4, {"last": "whole", "age": 25.0}, End(state="running", epochs_done=4, epochs_planned=6)),
        (
            4,
            {"last": "whole", "age": 35.0},
            End(state="interrupted", epochs_done=4, epochs_planned=6),
        ),
        (6, {}, End(state="finished", epochs_done=6, epochs_planned=6)),
        (4, {}, End(state="interrupted", epochs_done=4, epochs_planned=6)),
        (4, {"age": 25.0}, End(state="running", epochs_done=4, epochs_planned=6)),
    ],
)
def test_the_end_of_a_stock_run(
    tmp_path: Path, epochs: int, known: dict[str, Any], expected: End
) -> None:
    assert diagnose_run(run(tmp_path, epochs, **known)).end == expected


def test_a_table_alone_says_nothing_about_its_end(tmp_path: Path) -> None:
    found = diagnose_run(table(tmp_path, learned(4)))
    assert (found.verdict, found.learning, found.end) == ("stable", "learned", None)


def test_early_stopping_was_due_without_a_checkpoint(tmp_path: Path) -> None:
    rows = [*learned(3), (0.1, 1.7), (0.1, 1.6)]
    table(tmp_path, rows)
    (tmp_path / "args.yaml").write_text("epochs: 50\npatience: 2\n")
    assert diagnose_run(tmp_path).end == End(
        state="stopped", reason="patience", epochs_done=5, epochs_planned=50
    )


def test_an_interrupted_run_is_inconclusive_and_says_why_no_more_is_known(tmp_path: Path) -> None:
    found = diagnose_run(run(tmp_path, 4, last="whole"))
    assert (found.verdict, found.learning) == ("inconclusive", "learned")
    assert found.why.startswith(
        "the run ended after 4 of 6 epochs; without a log, a kill, too little memory and Ctrl-C "
        "look alike; learned: mAP50-95(B) 0.2 in epoch 4 of 6; no sign of trouble in the losses of"
    )
    assert diagnose_run(run(tmp_path / "whole", 6, last="stripped")).verdict == "stable"


def test_the_best_checkpoint_is_audited_and_dated_by_its_fitness(tmp_path: Path) -> None:
    folder = run(tmp_path, 6, last="stripped")
    best = folder / "weights" / "best.pt"
    weights = {"model": torch.randn(8, 8), "epoch": -1, "train_metrics": {"fitness": 0.2000004}}
    torch.save(weights, best)
    found = diagnose_run(folder).best
    assert found is not None
    assert (found.epoch, found.fitness, found.audit) == (4, 0.2000004, "sound")
    torch.save({"model": torch.full((8, 8), math.nan), "epoch": 2}, best)
    found = diagnose_run(folder).best
    assert found is not None
    assert (found.epoch, found.audit) == (3, "damaged")
    assert found.fitness == pytest.approx(0.15)
    best.write_bytes(b"no checkpoint")
    found = diagnose_run(folder).best
    assert found is not None
    assert (found.epoch, found.audit, found.file) == (6, "unreadable", "weights/best.pt")


@pytest.mark.parametrize(
    ("rows", "validates", "expected"),
    [
        ([(0, 0), (0, 0), (0.3, 1.0)], False, [False, False, True]),
        ([(0.3, 1.0), (0.3, 1.0), (0.4, 1.0)], False, [True, False, True]),
        ([(0.3, 1.0), (0.3, 1.0), (0.4, 1.0)], None, [True, False, True]),
        ([(0.3, 1.0), (0.3, 1.0), (0.4, 1.0)], True, [True, True, True]),
        ([(0, "nan"), (0, "nan"), (0, "nan")], True, [True, True, True]),
        ([(0, "nan"), (0, "nan"), (0, "nan")], None, [True, True, True]),
        ([(0, "nan"), (0, "nan"), (0.1, 2)], False, [True, False, True]),
        ([("", ""), (0.3, 1.0)], True, [False, True]),
    ],
)
def test_which_rows_were_validated(
    tmp_path: Path, rows: list[Any], validates: bool | None, expected: list[bool]
) -> None:
    epochs = epoch_series(read_table(table(tmp_path, rows) / "results.csv"), validates=validates)
    assert epochs.validated.tolist() == expected


def test_a_cell_that_is_missing_is_not_one_that_is_not_finite(tmp_path: Path) -> None:
    rows = [("", "nan"), (0.3, "inf"), (0.3, "-inf"), ("nan", "")]
    epochs = epoch_series(read_table(table(tmp_path, rows) / "results.csv"), validates=True)
    assert epochs.missing["metrics/mAP50-95(B)"].tolist() == [True, False, False, False]
    assert epochs.missing["val/box_loss"].tolist() == [False, False, False, True]
    assert epochs.values["val/box_loss"].tolist()[1:3] == [math.inf, -math.inf]
    assert "train/box_loss" in epochs.values
    assert "lr/pg0" not in epochs.values


def test_spaces_a_repeated_epoch_and_a_row_cut_by_a_kill(tmp_path: Path) -> None:
    head = ",".join(f"  {name} " for name in HEAD.split(","))
    file = table(tmp_path, learned(4), head) / "results.csv"
    file.write_text(file.read_text() + "4,9,1.0,0.44,1.0,0.01\n5,50.0,1.5,0.2")
    rows = read_table(file)
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert epoch_series(rows, validates=True).fitness.tolist()[-1] == 0.44


def test_fitness_is_that_of_ultralytics(tmp_path: Path) -> None:
    names = "epoch,train/a,metrics/mAP50-95(B),metrics/mAP50-95(P)\n"
    (tmp_path / "pose.csv").write_text(names + "1,1,0.5,0.25\n")
    rows = read_table(tmp_path / "pose.csv")
    assert epoch_series(rows, validates=True).fitness.tolist() == [0.75]
    names = "epoch,train/loss,metrics/accuracy_top1,metrics/accuracy_top5\n"
    (tmp_path / "classes.csv").write_text(names + "1,1,0.5,1.0\n")
    rows = read_table(tmp_path / "classes.csv")
    assert epoch_series(rows, validates=True).fitness.tolist() == [0.75]


def test_a_table_is_diagnosed_by_its_path_whatever_its_name(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", 6, last="stripped")
    whole = diagnose_run(folder)
    assert examine_target(folder / "results.csv").diagnosis == whole
    (folder / "results.csv").rename(folder / "mine.csv")
    assert examine_target(folder / "mine.csv").diagnosis == whole


def test_the_classes_of_a_stock_classifier_are_those_of_its_checkpoint(tmp_path: Path) -> None:
    names = "epoch,train/loss,metrics/accuracy_top1,metrics/accuracy_top5,val/loss\n"
    rows = "".join(f"{i + 1},{1 - 0.1 * i},0.55,1.0,{1 - 0.1 * i}\n" for i in range(5))
    (tmp_path / "results.csv").write_text(names + rows)
    (tmp_path / "args.yaml").write_text("task: classify\nepochs: 5\n")
    assert diagnose_run(tmp_path).learning == "unknown"
    (tmp_path / "weights").mkdir()
    for classes, expected in ((2, "learned"), (10, "learned"), (1, "not_learned")):
        content = {"9.linear.weight": torch.randn(classes, 4)}
        torch.save({"model": content, "epoch": -1}, tmp_path / "weights" / "last.pt")
        assert diagnose_run(tmp_path).learning == expected


def test_a_bundle_keeps_what_settings_and_checkpoints_showed(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", 4, last="whole")
    found = diagnose_run(folder)
    file = write_bundle(folder, found, tmp_path / "b.zip").path
    assert examine_target(file).diagnosis.end == found.end
    records = [record(s, (3.0, 4.0, 2.0, 12.0), loss=8.0 - 0.05 * s) for s in range(40)]
    recorded = write(tmp_path / "recorded", records)
    (recorded / "weights").mkdir()
    torch.save({"model": torch.randn(8, 8), "epoch": 2}, recorded / "weights" / "best.pt")
    found = diagnose_run(recorded)
    file = write_bundle(recorded, found, tmp_path / "c.zip").path
    assert found.best is not None
    assert (found.best.epoch, found.best.audit) == (3, "sound")
    kept = examine_target(file).diagnosis.best
    assert kept is not None
    assert replace(kept, file=found.best.file) == found.best  # paths are anonymous
