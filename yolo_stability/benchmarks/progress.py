"""Progress display of a benchmark on the terminal, with the current step of every active run."""

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

_POLL_SECONDS = 0.5


class SuiteProgress:
    """Shows a progress bar for the suite and one per active run.

    If the output is not a terminal, it prints one line per run instead.

    Args:
        out: Folder of the benchmark.
        progress_file: Name of the file in which a run reports its step.
        console: Console to print to; standard error by default.
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
        self._active: dict[Any, TaskID] = {}
        self._lock, self._over = threading.Lock(), threading.Event()
        self._watcher = threading.Thread(target=self._poll, daemon=True)

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
        note = f", {done} already done" if done else ""
        self._console.print(f"{count(len(specs), 'run')}{note}")

    def started(self, spec: Any) -> None:
        """Add a bar for a run that starts."""
        with self._lock:
            self._active[spec.folder] = self._bars.add_task(spec.title, total=None)

    def ended(self, spec: Any, outcome: Any) -> None:
        """Print the outcome of a run."""
        with self._lock:
            bar = self._active.pop(spec.folder, None)
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

    def _poll(self) -> None:
        """Update the bars from the progress files until the end."""
        while not self._over.wait(_POLL_SECONDS):
            with self._lock:
                active = dict(self._active)
            for folder, bar in active.items():
                status = _read(self._out / folder / self._file)
                if not status:
                    continue
                completed, total = status.get("step", 0), status.get("planned")
                with contextlib.suppress(KeyError):  # the run has ended and its bar was removed
                    self._bars.update(bar, completed=completed, total=total)


def _read(file: Path) -> dict[str, Any]:
    """Return the content of a progress file; empty until the run has written it."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
