"""The progress of a benchmark on the terminal: every run that is at work, down to its steps."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from yolo_stability.core.text import count

__all__ = ["SuiteProgress"]

_LOOK_SECONDS = 0.5


class SuiteProgress:
    """Shows a bar for the suite and one for each run at work; on anything but a terminal, a line a run.

    Args:
        out: Folder of the benchmark.
        progress_file: Name of the file in which a run tells its step.
        console: Where to print.
    """

    def __init__(self, out: Path, progress_file: str, console: Console | None = None) -> None:
        self._out, self._file = out, progress_file
        self._console = console or Console(stderr=True, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._whole: TaskID | None = None
        self._at_work: dict[Any, TaskID] = {}
        self._lock, self._over = threading.Lock(), threading.Event()
        self._watcher = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._bars.start()
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watcher.join()
        self._bars.stop()

    def planned(self, specs: Sequence[Any], done: int) -> None:
        """Show the size of the suite."""
        self._whole = self._bars.add_task("all runs", total=len(specs), completed=done)
        there = f", {done} of them there already" if done else ""
        self._console.print(f"{count(len(specs), 'run')}{there}")

    def started(self, spec: Any) -> None:
        """Show a run that starts."""
        with self._lock:
            self._at_work[spec.folder] = self._bars.add_task(spec.title, total=None)

    def ended(self, spec: Any, outcome: Any) -> None:
        """Print how a run ended."""
        with self._lock:
            bar = self._at_work.pop(spec.folder, None)
        if bar is not None:
            self._bars.remove_task(bar)
        if self._whole is not None:
            self._bars.advance(self._whole)
        why = outcome.stopped or outcome.error
        seconds = outcome.seconds.get("total", 0.0)
        text = f"{spec.title}: {outcome.outcome} after {seconds:.0f} s" + (
            f" - {why}" if why else ""
        )
        self._console.print(text, soft_wrap=True, markup=False)

    def _look(self) -> None:
        """Read how far each run is, until the end."""
        while not self._over.wait(_LOOK_SECONDS):
            with self._lock:
                at_work = dict(self._at_work)
            for folder, bar in at_work.items():
                told = _read(self._out / folder / self._file)
                if not told:
                    continue
                with contextlib.suppress(KeyError):  # the run has ended since, and its bar is gone
                    self._bars.update(bar, completed=told.get("step", 0), total=told.get("planned"))


def _read(file: Path) -> dict[str, Any]:
    """Return what a run tells; nothing while it starts."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
