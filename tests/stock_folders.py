"""Run folders and console logs as stock Ultralytics (8.0 to 8.4) and YOLOv5 leave them, made from columns."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from epoch_tables import Columns

__all__ = ["as_yolov5", "console_log", "traceback_of", "write_run"]

DAYS = 2 * 86400.0
_BLUE, _END = "\x1b[34m\x1b[1m", "\x1b[0m"
_OLD = {"(B)": "", "mAP50-95": "mAP_0.5:0.95", "mAP50": "mAP_0.5", "dfl_loss": "obj_loss"}


def as_yolov5(columns: Columns) -> Columns:
    """Return columns under the names of YOLOv5, which has an objectness loss instead of DFL."""
    found = {}
    for name, values in columns.items():
        new = name
        for old, other in _OLD.items():
            new = new.replace(old, other)
        found[new] = values
    return found


def write_run(
    folder: Path,
    columns: Mapping[str, Any],
    *,
    first: int = 1,
    spaces: bool = False,
    stripped: bool | None = True,
    settings: str = "args.yaml",
    **args: Any,
) -> Path:
    """Write a run folder of two days ago.

    Args:
        folder: The folder.
        columns: Columns of `results.csv`.
        first: Number of the first epoch in the table: 0 in YOLOv5 and Ultralytics 8.0.
        spaces: Whether names and cells are padded, as there.
        stripped: Whether last.pt was stripped of its optimizer; no checkpoint if None.
        settings: Name of the file of settings.
        args: Settings.
    """
    folder.mkdir(parents=True)
    size = len(next(iter(columns.values())))
    table = [["epoch", *(["time"] if first else []), *columns]]
    for row in range(size):
        cells = [f"{values[row]:.6g}" for values in columns.values()]
        table.append([str(row + first), *([f"{30.5 * (row + 1):g}"] if first else []), *cells])
    width = 20 if spaces else 0
    lines = [",".join(cell.rjust(width) for cell in line) for line in table]
    (folder / "results.csv").write_text("\n".join(lines) + "\n")
    given = {"task": "detect", "model": "yolo11n.pt", "data": "parts.yaml", "epochs": size}
    if settings == "opt.yaml":
        given = {"weights": "yolov5s.pt", "data": "parts.yaml", "epochs": size, "batch_size": 16}
    (folder / settings).write_text(yaml.safe_dump({**given, **args}))
    if stripped is not None:
        (folder / "weights").mkdir()
        weights: dict[str, Any] = {
            "model": torch.randn(8, 8),
            "epoch": -1 if stripped else size - 1,
        }
        if not stripped:
            weights["optimizer"] = {"state": {0: torch.ones(3)}}
        torch.save(weights, folder / "weights" / "last.pt")
        fitness = {"fitness": 0.0} if "metrics/accuracy_top1" in columns else {}
        best = {"model": torch.randn(8, 8), "epoch": size // 2, "train_metrics": fitness}
        torch.save(best, folder / "weights" / "best.pt")
    then = time.time() - DAYS
    for file in folder.rglob("*"):
        os.utime(file, (then, then))
    return folder


def console_log(
    columns: Columns,
    end: Iterable[str] = (),
    *,
    planned: int | None = None,
    style: str = "8.4",
    **args: Any,
) -> str:
    """Return what a training prints.

    Args:
        columns: Columns of its table, all of them completed.
        end: Lines after the last epoch.
        planned: Epochs planned; as many as completed if None.
        style: `8.4`, `8.0` (bars of tqdm) or `yolov5`.
        args: Settings that are logged.
    """
    size = len(next(iter(columns.values())))
    planned, old = planned or size, style == "yolov5"
    losses = [name.removeprefix("train/") for name in columns if name.startswith("train/")]
    logged = {"task": "detect", "mode": "train", "model": "yolo11n.pt", "data": "parts.yaml"}
    words = ", ".join(
        f"{k}={v}" for k, v in {**logged, "epochs": planned, "time": None, **args}.items()
    )
    lines = [f"{_BLUE}engine/trainer: {_END}{words}"]
    if old:
        lines = [f"{_BLUE}train: {_END}weights=yolov5s.pt, cfg=, data=parts.yaml, epochs={planned}"]
    lines += ["Logging results to \x1b[1mruns/detect/train\x1b[0m"]
    lines += [f"Starting training for {planned} epochs..."]
    for row in range(size):
        lines += epoch_lines(columns, row, losses, planned, style)
    return "\n".join([*lines, *end]) + "\n"


def epoch_lines(
    columns: Columns, row: int, losses: list[str], planned: int, style: str, *, share: int = 100
) -> list[str]:
    """Return the lines of an epoch; without its metrics unless the bar is full."""
    old = style == "yolov5"
    head = "".join(f"{n:>11}" for n in ("Epoch", "GPU_mem", *losses, "Instances", "Size"))
    number = f"{row}/{planned - 1}" if old else f"{row + 1}/{planned}"
    values = [columns[f"train/{name}"][row] for name in losses]
    text = f"{number:>11}{'2.1G':>11}" + "".join(f"{v:>11.4g}" for v in [*values, 12, 640])
    frames = []
    for percent in (0, 50, share) if share > 50 else (0, share):
        done = 16 * percent // 100
        bar = f"{percent}% {'━' * 12} {done}/16 3.1it/s 2.1s"
        if style != "8.4":
            bar = f"{percent:3d}%|{'█' * 10}| {done}/16 [00:05<00:00,  3.1it/s]"
        frames.append(f"\r\x1b[K{text}: {bar}" if style == "8.4" else f"\r{text}: {bar}")
    lines = ["", head, "".join(frames)]
    metrics = [name for name in columns if name.startswith("metrics/")]
    if share < 100 or not metrics:
        return lines
    kinds = "".join(
        f"{kind}(P          R      mAP50  mAP50-95)    "
        for kind, mark in (("Box", "(B)"), ("Mask", "(M)"), ("Pose", "(P)"))
        if any(mark in name for name in metrics)
    )
    names = "Class     Images  Instances      "
    names += kinds or "P          R      mAP50   mAP50-95"
    cells = []
    for mark in ("(B)", "(M)", "(P)") if kinds else ("",):
        found = [columns[n][row] for n in metrics if n.endswith(mark)]
        cells += [0.5, 0.5, *found] if found else []
    if "metrics/accuracy_top1" in columns:
        names = "classes   top1_acc   top5_acc"
        cells = [columns["metrics/accuracy_top1"][row], 1.0]
    counts = "" if "metrics/accuracy_top1" in columns else f"{128:>11}{929:>11}"
    values_text = "".join(f"{v:>11.3g}" for v in cells)
    return [
        *lines,
        f"\r\x1b[K{names:>30}: 100% ━━━━ 4/4 2it/s 1s",
        f"{'all':>22}{counts}{values_text}",
    ]


def traceback_of(error: str, script: str = "/code/train.py", line: int = 31) -> list[str]:
    """Return the lines of a traceback through a script and Ultralytics."""
    installed = "/env/lib/python3.11/site-packages/ultralytics/engine"
    return [
        "Traceback (most recent call last):",
        f'  File "{script}", line {line}, in <module>',
        "    model.train(data='parts.yaml')",
        f'  File "{installed}/model.py", line 898, in train',
        "    self.trainer.train()",
        f'  File "{installed}/trainer.py", line 561, in _do_train',
        "    self.scaler.scale(self.loss).backward()",
        "    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^",
        error,
    ]
