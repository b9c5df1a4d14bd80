"""Tables of results as a plain run of Ultralytics leaves them, and what they show."""

from __future__ import annotations

import csv
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

from answers import (
    Values,
    field,
    finding,
    matching,
    no_finding,
    one_of,
    silence,
    starting,
)
from case_types import Case, Input
from in_process import Ran
from makers import Change, learning_rows, write_results

PARTS = {
    "detect": ("box", "cls", "dfl"),
    "segment": ("box", "seg", "cls", "dfl"),
    "pose": ("box", "pose", "kobj", "cls", "dfl"),
    "obb": ("box", "cls", "dfl", "angle"),
}
"""Loss parts by task."""
METRICS = {"segment": "BM", "pose": "BP"}
FAILED, UNSTABLE = field("verdict", "failed"), field("verdict", "unstable")
LEARNED, NOT_LEARNED = field("learning", "learned"), field("learning", "not_learned")
EVALUATION = field("cause", "evaluation")
NO_VERDICT_AGAINST = field("verdict", "stable", "inconclusive")


def table(name: str, epochs: int, *changes: Change, task: str = "detect", **args: Any) -> Input:
    """Return the results folder of a run that learns well, but for some changes."""
    healthy = learning_rows(epochs, PARTS[task], METRICS.get(task, "B"))

    def make(folder: Path) -> None:
        rows = healthy
        for change in changes:
            rows = change.made_in(rows)
        write_results(folder, rows, task=task, **args)

    def proof(folder: Path, made: Ran | None) -> None:
        with (folder / "results.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["epoch"] for row in rows] == [str(n) for n in range(1, epochs + 1)]
        for change in changes:
            columns = [name for name in rows[0] if fnmatchcase(name, change.columns)]
            assert columns, f"no column is called {change.columns}"
            for row, well in zip(rows, healthy, strict=True):
                differ = {name for name in columns if row[name] != str(well[name])}
                assert differ == (set(columns) if change.covers(well, epochs) else set())

    return Input(name=name, make=make, proof=proof)


def yolov5_table(name: str, epochs: int, gone: int) -> Input:
    """Return the folder of a YOLOv5 run whose metrics are 0 in its last rows.

    Args:
        name: Name of the input.
        epochs: Number of rows.
        gone: First row of those, counted from 1.
    """
    new = {"metrics/mAP50": "metrics/mAP_0.5", "metrics/mAP50-95": "metrics/mAP_0.5:0.95"}
    new |= {f"lr/pg{g}": f"x/lr{g}" for g in range(3)}

    def make(folder: Path) -> None:
        rows = Change("metrics/*", 0, first=gone).made_in(
            learning_rows(epochs, ("box", "obj", "cls"))
        )
        table = [
            {new.get(n.removesuffix("(B)"), n.removesuffix("(B)")): v for n, v in row.items()}
            for row in rows
        ]
        lines = [[n for n in table[0] if n != "time"]]
        lines += [[str(row[n] - (n == "epoch")) for n in lines[0]] for row in table]
        text = "".join(",".join(f"{cell:>20}" for cell in line) + "\n" for line in lines)
        (folder / "results.csv").write_text(text)
        (folder / "opt.yaml").write_text(f"weights: yolov5s.pt\nepochs: {epochs}\nimgsz: 416\n")

    def proof(folder: Path, made: Ran | None) -> None:
        head, *rows = [
            [cell.strip() for cell in line.split(",")]
            for line in (folder / "results.csv").read_text().splitlines()
        ]
        assert {"train/obj_loss", "metrics/mAP_0.5", "x/lr0"} <= set(head)
        zero = [float(row[head.index("metrics/mAP_0.5")]) == 0 for row in rows]
        assert zero == [number >= gone for number in range(1, epochs + 1)]

    return Input(name=name, make=make, proof=proof)


case = partial(Case, ask=("diagnose", "."), waits_for=None)
LOST = (FAILED, NOT_LEARNED)
LATE = table("val-nan-late", 40, Change("val/*", "nan", 17), Change("metrics/*", 0, 17))
FROM_17 = (*LOST, finding(column=starting("val/", "metrics/"), first_epoch=17))
MOSAIC = table(
    "mosaic-closes",
    42,
    Change("train/*", lambda old: round(old + 0.4, 5), 31),
    Change("metrics/*", lambda old: round(old + 0.02, 5), 31),
    close_mosaic=12,
)
SHORT = table("still-short", 3, Change("metrics/*", 0.0021), task="pose")
OTHER_LOSS = Values(
    "another training loss",
    lambda name: str(name).startswith("train/") and name != "train/seg_loss",
)

CASES = (
    case(
        given=table("val-nan-from-start", 34, Change("val/*", "nan"), Change("metrics/*", 0)),
        saw="validation losses NaN and mAP 0 in every epoch, training losses fall",
        after="ultralytics #8422, #21765",
        right=(*LOST, EVALUATION, finding(column=starting("val/"), first_epoch=1)),
    ),
    case(
        given=table("val-nan-one-part", 22, Change("val/dfl_loss", "nan"), Change("metrics/*", 0)),
        saw="one validation loss NaN and mAP 0 in every epoch",
        after="ultralytics #8422, #21765",
        right=(*LOST, EVALUATION, finding(column="val/dfl_loss", first_epoch=1)),
    ),
    case(
        given=LATE,
        saw="validation losses NaN and mAP 0 from epoch 17 on, after a good start",
        after="ultralytics #8289",
        right=FROM_17,
    ),
    case(
        given=LATE,
        variant="file",
        saw="the same, asked with the path of results.csv",
        after="ultralytics #8289",
        ask=("diagnose", "results.csv"),
        right=FROM_17,
    ),
    case(
        given=table(
            "val-nan-pose", 25, Change("val/*", "nan", 9), Change("metrics/*", 0, 9), task="pose"
        ),
        saw="the same in a pose run, from epoch 9 on",
        after="ultralytics #8289",
        right=(*LOST, finding(column=starting("val/", "metrics/"), first_epoch=9)),
    ),
    case(
        given=table("metrics-fall", 36, Change("metrics/*", 0, 23)),
        saw="losses look well, all metrics fall to 0 at epoch 23 and stay there",
        after="yolov5 #8339",
        right=(*LOST, finding(column=starting("metrics/"), first_epoch=23)),
    ),
    case(
        given=yolov5_table("metrics-fall-yolov5", 15, gone=8),
        saw="the same in the table of a YOLOv5 run",
        after="yolov5 #8339",
        right=(*LOST, finding(column=starting("metrics/"))),
    ),
    case(
        given=table("keypoints-fall", 30, Change("metrics/*(P)", 0, 15), task="pose"),
        saw="boxes are still found, but no keypoints from epoch 15 on",
        after="yolov5 #8339",
        right=(
            *LOST,
            finding(column=matching(r"^metrics/.*\(P\)", "metrics/...(P)"), first_epoch=15),
        ),
    ),
    case(
        given=table("metrics-sag", 33, Change("metrics/*", 0.11, 27)),
        saw="mAP falls to a fifth of its best in the last 7 epochs",
        after="yolov5 #8339",
        right=(UNSTABLE, field("learning", "declined")),
    ),
    case(
        given=table(
            "val-exploded", 32, Change("val/cls_loss", 8.1e12, 19), Change("metrics/*", 0, 19)
        ),
        saw="val/cls_loss of 8e12 and mAP 0 from epoch 19 on",
        after="yolov5 #8339",
        right=(*LOST, finding(column=starting("val/cls_loss", "metrics/"), first_epoch=19)),
    ),
    case(
        given=table("val-inf-then-well", 30, Change("val/dfl_loss", "inf", 1, 4)),
        saw="val/dfl_loss inf in epochs 1 to 4, then all is well",
        after="ultralytics #20439",
        right=(
            *(NO_VERDICT_AGAINST, LEARNED, no_finding("critical")),
            finding("warning", column="val/dfl_loss", first_epoch=1, last_epoch=4),
        ),
    ),
    case(
        given=table("val-inf-throughout", 24, Change("val/cls_loss", "inf")),
        saw="val/cls_loss inf in every epoch of a run whose mAP rises",
        after="ultralytics #20439",
        right=(UNSTABLE, LEARNED, EVALUATION, finding(column="val/cls_loss", first_epoch=1)),
    ),
    case(
        given=table("first-validation-huge", 28, Change("val/cls_loss", 41350.0, 1, 1)),
        saw="val/cls_loss of 41350 in epoch 1 only",
        after="ultralytics #20439",
        right=(NO_VERDICT_AGAINST, no_finding("critical")),
    ),
    case(
        given=table(
            "seg-loss-nan",
            26,
            *(Change("*/seg_loss", "nan", 14), Change("metrics/*(M)", 0, 14)),
            task="segment",
        ),
        saw="seg_loss alone becomes NaN at epoch 14, and masks are lost",
        after="ultralytics #4733",
        right=(
            FAILED,
            finding(column="train/seg_loss", first_epoch=14),
            no_finding(column=OTHER_LOSS),
        ),
    ),
    case(
        given=table(
            "pose-loss-nan",
            20,
            *(Change("train/pose_loss", "nan", 8), Change("metrics/*(P)", 0, 8)),
            task="pose",
        ),
        saw="pose_loss alone becomes NaN at epoch 8, and keypoints are lost",
        after="ultralytics #4733",
        right=(*LOST, finding(column="train/pose_loss", first_epoch=8)),
    ),
    case(
        given=table(
            "angle-loss-nan",
            24,
            *(Change("train/angle_loss", "nan", 11), Change("metrics/*", 0, 11)),
            task="obb",
        ),
        saw="angle_loss of an OBB run becomes NaN at epoch 11, and all is lost",
        after="ultralytics #4733",
        right=(*LOST, finding(column="train/angle_loss", first_epoch=11)),
    ),
    case(
        given=table(
            "boxes-never-matched",
            18,
            *(Change("*/box_loss", 0), Change("*/dfl_loss", 0), Change("metrics/*", 0)),
        ),
        saw="box_loss and dfl_loss are 0 in every epoch, mAP 0",
        after="ultralytics #22228",
        right=(
            *(*LOST, field("cause", "data")),
            finding(column=one_of("train/box_loss", "train/dfl_loss"), first_epoch=1),
        ),
    ),
    case(
        given=MOSAIC,
        variant="silence",
        saw="training losses step up for the last 12 epochs: mosaic is off",
        after="ultralytics #14886, #17649",
        right=silence(),
    ),
    case(
        given=MOSAIC,
        variant="learned",
        saw="the same",
        after="ultralytics #14886, #17649",
        right=(LEARNED,),
    ),
    case(
        given=SHORT,
        variant="silence",
        saw="mAP of 0.002 after 3 epochs",
        after="ultralytics #20663",
        right=silence(),
    ),
    case(
        given=SHORT,
        variant="too-early",
        saw="the same",
        after="ultralytics #20663",
        right=(field("verdict", "inconclusive"), field("learning", "too_early")),
    ),
)
