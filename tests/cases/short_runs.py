"""Runs that could not succeed: one that a plain trainer gave up, and sets that cannot train."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from answers import field, finding, matching, one_of, printed_at_the_start
from case_types import Case, Input
from data_sets import PHOTO, divided_again
from in_process import Ran, run_command, run_script
from makers import RUN, SETTINGS, draw_set, read_column, script_text, write_model

from yolo_stability import load_trace

DIES = """
    import torch
    from ultralytics import YOLO

    def poison(trainer):
        if trainer.epoch >= 4:
            with torch.no_grad():
                trainer.model.model[4].cv1.conv.weight.fill_(float("inf"))

    model = YOLO(str(HERE / "small.yaml"))
    model.add_callback("on_train_batch_start", poison)
    model.train(**SETTINGS | dict(epochs=9))
"""


def died_in_the_fifth_epoch(folder: Path) -> Ran:
    """Train without yolo_stability until Ultralytics gives up; keep the console log, and make files two days old."""
    draw_set(folder / "set")
    write_model(folder)
    (folder / "train.py").write_text(script_text(DIES))
    ran = run_script(folder)
    (folder / "console.log").write_text(ran.printed)
    before = time.time() - 2 * 86400
    for file in folder.rglob("*"):
        os.utime(file, (before, before))
    return ran


def gave_up_for_nan(folder: Path, made: Ran | None) -> None:
    """Assert that the run ended for NaN after four rows of results, with its last checkpoint and no trace."""
    assert made is not None
    assert isinstance(made.raised, RuntimeError)
    assert "NaN persisted" in str(made.raised)
    assert len(read_column(folder / RUN, "epoch")) == 4
    assert (folder / RUN / "weights" / "last.pt").is_file()
    assert not (folder / RUN / "stability").exists()


def command(
    name: str,
    task: str,
    draw: Callable[[Path], Any],
    proof: Callable[[Path], None],
    **settings: Any,
) -> Input:
    """Return the run of `yolo-stability train` on the set that `draw` draws into `set/`."""

    def make(folder: Path) -> Ran:
        draw(folder / "set")
        given = {"model": write_model(folder), "data": folder / "set" / "data.yaml"}
        given |= {"project": folder / "runs", **SETTINGS, **settings}
        if task == "classify":
            given["data"] = folder / "set"
        return run_command(folder, "train", task, *(f"{k}={v}" for k, v in given.items()))

    def prove(folder: Path, made: Ran | None) -> None:
        assert made is not None
        assert made.code == 0, made.printed
        proof(folder)

    return Input(name=name, make=make, proof=prove, trains=True)


def draw_specks(root: Path) -> None:
    """Draw sixteen photos whose boxes are specks."""
    draw_set(root, size=PHOTO, suffix=".jpg", row=divided_again)


def boxes_never_match(folder: Path) -> None:
    """Assert that box and dfl loss are 0 throughout."""
    assert not any(read_column(folder / RUN, "train/box_loss"))
    assert not any(read_column(folder / RUN, "train/dfl_loss"))


def draw_one_class(root: Path) -> None:
    """Draw a classification set of one folder."""
    draw_set(root / "drawn")
    for split in ("train", "val"):
        shutil.copytree(root / "drawn" / "images" / split, root / split / "plates")
    shutil.rmtree(root / "drawn")


def nothing_to_learn(folder: Path) -> None:
    """Assert that the loss is 0 and accuracy 1 in every epoch."""
    assert not any(read_column(folder / RUN, "train/loss"))
    assert set(read_column(folder / RUN, "metrics/accuracy_top1")) == {1.0}


def takes_ten_steps(folder: Path) -> None:
    """Assert that the whole run takes ten optimizer steps, most of them for two batches."""
    assert load_trace(folder / RUN).steps.height == 10


def draw_twenty(root: Path) -> None:
    """Draw twenty pictures, fewer than a batch."""
    draw_set(root, train=20)


DIED = Input(name="stock-died", make=died_in_the_fifth_epoch, proof=gave_up_for_nan, trains=True)
FOUR_OF_NINE = (field("end.epochs_done", 4), field("end.epochs_planned", 9))
FEW = command(
    *("few-images", "detect", draw_twenty, takes_ten_steps),
    **{"epochs": 18, "imgsz": 32, "batch": 32, "nbs": 64, "optimizer": "auto"},
)
NOT_LEARNED = (field("verdict", "failed"), field("learning", "not_learned"))
case = partial(Case, ask=("diagnose", str(RUN)), waits_for=None)

CASES = (
    case(
        given=DIED,
        saw="a stock run of NaN that ended after 4 of 9 epochs, two days ago",
        after="ultralytics #21020",
        right=(
            field("verdict", "failed", "unstable", "inconclusive"),
            field("end.state", "interrupted", "exception", "killed"),
            *FOUR_OF_NINE,
            field("why", matching(r"\b4\b.*\b9\b", "4 and 9")),
        ),
    ),
    case(
        given=DIED,
        variant="log",
        saw="the console log of the same run",
        after="ultralytics #21020",
        ask=("diagnose", "console.log"),
        right=(field("verdict", "failed"), field("end.state", "exception"), *FOUR_OF_NINE),
    ),
    case(
        given=command("specks-trained", "detect", draw_specks, boxes_never_match, epochs=5),
        saw="box_loss and dfl_loss 0, mAP 0: labels divided by the picture's size twice",
        after="ultralytics #22228",
        right=(
            *(*NOT_LEARNED, field("cause", "data")),
            finding(column=one_of("train/box_loss", "train/dfl_loss"), first_epoch=1),
        ),
    ),
    case(
        given=FEW,
        saw="20 images in batches of 32, mAP 0",
        after="ultralytics #20663",
        right=(field("verdict", "inconclusive"), field("learning", "too_early")),
    ),
    case(
        given=FEW,
        variant="start",
        saw="the same, without a word that the whole run takes 10 optimizer steps",
        after="ultralytics #20663",
        right=(
            printed_at_the_start(
                r"\b(9|10|11)\b.*\bsteps?\b|\bsteps?\b.*\b(9|10|11)\b",
                "the number of steps, 10 or one more or less",
            ),
        ),
    ),
    case(
        given=command(
            *("one-class", "classify", draw_one_class, nothing_to_learn),
            **{"epochs": 4, "model": "yolov8n-cls.yaml", "imgsz": 32},
        ),
        saw="classification with one folder: loss 0, accuracy 1",
        after="ultralytics #8560",
        right=(
            *(*NOT_LEARNED, field("cause", "data", "settings")),
            finding(message=matching(r"\bclass(es)?\b", "class")),
        ),
    ),
)
