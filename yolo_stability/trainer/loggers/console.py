"""Console sink: one short line per epoch and per event, between Ultralytics' progress bars."""

from __future__ import annotations

import logging
import math
import re
import sys
import textwrap
from collections import Counter, defaultdict
from collections.abc import Callable

from yolo_stability.core.errors import printable
from yolo_stability.core.types import Event, RunHeader, StepRecord
from yolo_stability.trainer.loggers import Sink
from yolo_stability.trainer.loggers._opening import opening_lines

__all__ = ["ConsoleSink", "event_text"]

# Ultralytics' logger, so that `verbose=False` silences both.
_LOG = logging.getLogger("ultralytics")

_LINE, _LEAST = 160, 60  # columns of a finding's line, and minimum for its message


class ConsoleSink(Sink):
    """Writes to Ultralytics' log."""

    def __init__(self) -> None:
        self._epochs: int | None = None
        self._clear()

    def open(self, header: RunHeader) -> None:
        """Log how the run begins, and the effective switches."""
        self._epochs = header.effective.get("epochs")
        for line in opening_lines(header):
            _log_line(line)
        for key, text in header.effective.get("switches", {}).items():
            _log_line(f"{key}={header.requested.get(key)}: {text}")

    def write(self, record: StepRecord) -> None:
        """Add a step to the epoch's statistics."""
        self._steps += 1
        self._clipped += record.clip_coef is not None and record.clip_coef < 1
        if record.skipped:
            self._skips[record.skipped] += 1
        if record.grad_norm is not None and math.isfinite(record.grad_norm):
            self._norms.append(record.grad_norm)
            for stats in record.blocks:
                self._squares[stats.block] += (stats.grad_norm or 0.0) ** 2

    def event(self, event: Event) -> None:
        """Log an event."""
        text = event_text(event)
        if text:
            _log_line(f"step {event.step}: {text}", interrupts=True)

    def end_epoch(self, epoch: int) -> None:
        """Log a one-line summary of an epoch."""
        if not self._steps:
            return
        of = f"/{self._epochs}" if self._epochs else ""
        parts = [f"epoch {epoch + 1}{of}", f"{self._steps} step{'' if self._steps == 1 else 's'}"]
        if self._norms:
            median = sorted(self._norms)[len(self._norms) // 2]
            parts.append(f"grad norm {median:.3g} (max {max(self._norms):.3g})")
            parts.append(f"largest in {max(self._squares, key=self._squares.__getitem__)}")
        parts.append(f"{self._clipped} clipped")
        parts += [f"{n} skipped by {who}" for who, n in sorted(self._skips.items())]
        _log_line(", ".join(parts))
        self._clear()

    def close(self) -> None:
        """Do nothing, because nothing is open."""

    def _clear(self) -> None:
        """Reset the statistics for the next epoch."""
        self._steps = self._clipped = 0
        self._norms: list[float] = []
        self._skips: Counter[str] = Counter()
        self._squares: defaultdict[str, float] = defaultdict(float)


def event_text(event: Event) -> str | None:
    """Return an event as text for users; None for events that are not displayed."""
    if event.kind == "finding":
        return _finding(event)
    return printable(_TEXTS[event.kind](event)) if event.kind in _TEXTS else None


def _guard_skip(event: Event) -> str:
    """Return the line for a step that the guard skipped."""
    data = event.data
    where = event.block or (
        f"{data['blocks']} blocks" if data.get("blocks") else "the forward pass"
    )
    what = {"loss": "the loss", "gradient": "gradients", "buffer": "BatchNorm statistics"}[
        data["reason"]
    ]
    return f"update skipped, {what} not finite in {where} ({data['in_a_row']} in a row)"


def _rescue(event: Event) -> str:
    """Return the line for a remedy that was applied."""
    data = event.data
    back = (
        ""
        if data["restored_step"] is None
        else f"back to the state of step {data['restored_step']}, "
    )
    return f"rescue {data['number']} ({data['cause'].replace('_', ' ')}): {back}{data['done']}"


def _finding(event: Event) -> str:
    """Return the line for a finding, short enough for the console log and colored on a TTY."""
    severity = str(event.data["severity"])
    color = {"critical": "\033[1;31m", "warning": "\033[33m"}.get(severity, "")
    word = f"{color}{severity}\033[0m" if color and sys.stdout.isatty() else severity
    message, remedy = (
        printable(str(event.data["message"])),
        printable(str(event.data.get("remedy") or "")),
    )
    room = _LINE - len(f"stability: step {event.step}: {severity} {event.data['rule']}: ")
    if remedy:
        advice = f"; to try: {remedy[: _cut_at(remedy, room - len(message) - len('; to try: '))]}"
        return f"{word} {event.data['rule']}: {_cut(message, room - len(advice))}{advice}"
    return f"{word} {event.data['rule']}: {_cut(message, room)}"


def _cut_at(remedy: str, room: int) -> int:
    """Return the length to cut a remedy to: as many alternatives as fit, but at least the first.

    Parentheses are never split.

    Args:
        remedy: Text with alternatives, separated by commas, semicolons or "or".
        room: Number of available characters.
    """
    ends = [
        *(hit.start() for hit in re.finditer(r"(?:[,;] | or )(?![^(]*\))", remedy)),
        len(remedy),
    ]
    return max((end for end in ends if end <= room), default=ends[0])


def _cut(text: str, room: int) -> str:
    return textwrap.shorten(text, max(room, _LEAST), placeholder=" ...")


_TEXTS: dict[str, Callable[[Event], str]] = {
    "guard_skip": _guard_skip,
    "scaler_skip": lambda e: (
        f"AMP overflow at scale {e.data['scale']:g}, update skipped by the scaler"
    ),
    "fail_on": lambda e: f"run stopped: {e.data['text']}",
    "guard_stop": lambda e: f"run stopped: {e.data['text']}",
    "rescue": _rescue,
    "rescued": lambda e: f"rescued: healthy since {e.data['remedy']} at step {e.data['since']}",
    "rescue_stop": lambda e: f"run stopped: {e.data['text']}",
    "rollback": lambda e: (
        f"rolled back to the state of step {e.data['restored_step']}: {e.data['why']}"
    ),
    "nan_recovery": lambda e: "Ultralytics recovered from last.pt and replays the epoch",
    "oom_restart": lambda e: (
        f"out of memory, the epoch starts over with batch={e.data.get('batch')}"
    ),
    "resume": lambda e: f"resumed, attempt {e.attempt}",
    "notice": lambda e: str(e.data["text"]),
}


def _log_line(text: str, *, interrupts: bool = False) -> None:
    """Log one line.

    Args:
        text: Text of the line.
        interrupts: Whether the current line may contain a progress bar. It is erased on a terminal,
            where it redraws itself, and ended elsewhere.
    """
    start = "" if not interrupts else "\r\033[K" if sys.stdout.isatty() else "\n"
    _LOG.info(f"{start}stability: {text}")
