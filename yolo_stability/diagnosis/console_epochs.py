"""Reads the progress bars and the metrics of a console log as rows of `results.csv`."""

from __future__ import annotations

import re

from yolo_stability.diagnosis.console_run import ConsoleRun
from yolo_stability.diagnosis.results_table import holds_number

__all__ = ["EpochReader"]

_FRAME = re.compile(
    r"(?<!\S)(\d{1,6})/(\d{1,6})\s+\d[\d.]{0,10}(?:e[+-]?\d{1,3})?[GM]\s+([^:%/]{1,400})"
    r"(?::\s*(\d{1,3})%(?:[^\d/]{0,200}(\d{1,9})/(\d{1,9}))?)?"
)
"""Epoch, epochs, memory, losses and two more numbers; percent, batch and batches of the bar."""
_HEADER = re.compile(r"Epoch\s+gpu_mem\s+([\w\s]{1,400}?)\s+(?:Instances|labels)\s", re.IGNORECASE)
_CLASSES = re.compile(r"Class\s+Images\s+(?:Instances|Labels)\s+(.{1,200})")
_TOP = re.compile(r"classes\s+top1_acc\s+top5_acc")
_ALL = re.compile(r"^\s*all\s+([\d.einfa+\-\s]{1,200})$")
_KINDS = re.compile(r"\b(Box|Mask|Pose)\(P\s")
_METRICS = ("precision", "recall", "mAP50", "mAP50-95")
_OLD_METRICS = ("precision", "recall", "mAP_0.5", "mAP_0.5:0.95")
_OLD_NAMES = {"box": "box_loss", "obj": "obj_loss", "cls": "cls_loss"}
_USUAL: dict[int, tuple[str, ...]] = {1: ("loss",), 3: ("box_loss", "cls_loss", "dfl_loss")}
"""Losses by number, for a log that lacks the line of names."""
_MOST_NAMES = 20
_MOST_EPOCHS = 50_000


class EpochReader:
    """Reads lines one by one into the rows of a run.

    An epoch is complete once its metrics were printed, or the next one begins after its last batch.

    Attributes:
        epoch: The epoch in progress, counted from 1; None before the first.
        advanced: Whether the line read last shows that training continued.
    """

    def __init__(self, run: ConsoleRun) -> None:
        self.epoch, self.advanced = run.epoch, False
        self._run, self._full = run, False
        self._losses: tuple[str, ...] = ()
        self._metrics: tuple[str, ...] = ()

    def read(self, line: str) -> bool:
        """Read a line; return whether it is a header, a frame of a bar, or metrics."""
        self.advanced = False
        if "/" in line:
            frames = _FRAME.findall(line)
            if frames:  # without a terminal, bars are not redrawn but written one after the other
                for frame in frames:
                    self._frame(*frame)
                return True
        if "poch" in line and (found := _HEADER.search(line)):
            self._names(found[1].split())
            return True
        if "lass" in line and self._metric_names(line):
            return True
        if " all " in line and (found := _ALL.match(line)):
            self._values(found[1].split())
            return True
        return False

    def close(self) -> None:
        """End the epoch in progress; it counts if its last batch was trained."""
        if self._full and self.epoch is not None:
            self._keep()

    def _names(self, names: list[str]) -> None:
        """Read the line of names that precedes each epoch."""
        self._losses = tuple(_OLD_NAMES.get(name, name)[:40] for name in names[:_MOST_NAMES])
        if "obj_loss" in self._losses:
            self._run.yolov5 = True
        self.advanced = self._run.completed is None

    def _frame(self, *cells: str) -> None:
        number, of, text, percent, batch, batches = cells
        values = text.split()[:-2]
        losses = self._losses or _USUAL.get(len(values), ())
        if not values or not all(holds_number(value) for value in values):
            return
        run = self._run
        run.yolov5 |= number == "0"
        epoch, planned = int(number) + run.yolov5, int(of) + run.yolov5
        if epoch != self.epoch:
            self.close()
            self.epoch, self.advanced = epoch, True
        run.epoch, run.planned = epoch, planned
        whole = batch == batches if batches else percent in {"", "100"}
        self._full = whole
        if len(values) == len(losses):
            run.seen = {f"train/{n}": v for n, v in zip(losses, values, strict=True)}
        else:
            run.seen = {}

    def _metric_names(self, line: str) -> bool:
        """Read the names of metrics; return whether the line holds any."""
        if _TOP.search(line):
            self._metrics = ("accuracy_top1", "accuracy_top5")
            return True
        found = _CLASSES.search(line)
        if found is None:
            return False
        kinds = [kind[0] for kind in _KINDS.findall(found[1])]
        if not kinds:
            self._metrics = _OLD_METRICS
        else:
            self._metrics = tuple(f"{name}({kind})" for kind in kinds for name in _METRICS)
        return True

    def _values(self, values: list[str]) -> None:
        """Read the metrics of all classes; those of the final validation belong to no epoch."""
        names = self._metrics
        if self._run.completed is not None or not self._full or len(values) < len(names):
            return
        values = values[len(values) - len(names) :]
        if all(holds_number(value) for value in values):
            metrics = zip(names, values, strict=True)
            self._run.seen |= {f"metrics/{name}": value for name, value in metrics}
            self._keep()

    def _keep(self) -> None:
        """Keep the epoch in progress as a row."""
        self._full = False
        if self.epoch is None or len(self._run.rows) >= _MOST_EPOCHS:
            return
        if any(name.startswith("train/") for name in self._run.seen):
            self._run.rows[self.epoch] = dict(self._run.seen)
