"""Trace writer: accepts a record in microseconds, writes it to disk within a second.

A failure of the writer never affects the training.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from yolo_stability.core.files import replace_file
from yolo_stability.core.types import EpochRecord, Event, RunHeader, StepRecord
from yolo_stability.trace.compaction import Compactor
from yolo_stability.trace.epochs import epoch_line
from yolo_stability.trace.layout import EPOCHS, EVENTS, HEADER, remove_stale_temps
from yolo_stability.trace.schema import warm_up
from yolo_stability.trace.serialize import event_line, header_to_json

__all__ = ["TraceWriter"]

# records in memory before the caller has to write: memory stays bounded at any speed
_MAX_PENDING = 1024
_JOIN_SECONDS = 5.0
# seconds to wait for an unresponsive disk, which would otherwise block the training
_PATIENCE = 30.0
_BREATH = 0.05  # minimum seconds between two flushes


class TraceWriter:
    """Writer of the telemetry of one run from one process.

    No method raises: when the disk is full or the folder is gone, telemetry stops and `error` gives
    the reason, while the data on disk stays readable. In a forked child every method does nothing.

    Args:
        folder: `<save_dir>/stability/`; created on the first write.
        block_names: Names of the blocks in the order of the header.
        flush_seconds: Interval between flushes; data must reach the disk within a second.
    """

    def __init__(
        self, folder: Path, block_names: Sequence[str], *, flush_seconds: float = 0.5
    ) -> None:
        import polars  # noqa: F401 - in the main thread, before any fork, not in the flush thread

        self._folder = Path(folder)
        self._flush_seconds = flush_seconds
        self._steps = Compactor(self._folder, "steps", tuple(block_names))
        self._blocks = Compactor(self._folder, "blocks", tuple(block_names))
        self._pending: list[StepRecord] = []
        self._last_step = -1
        # Reentrant: a signal handler may close the writer while the same thread is inside it.
        self._memory = threading.RLock()
        self._disk = threading.RLock()
        self._lines = threading.RLock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._opened = self._stopped = self._closed = self._compact_asked = False
        self._pid = os.getpid()
        self._error: str | None = None

    @property
    def error(self) -> str | None:
        """Reason why telemetry stopped or skipped a row, in one sentence; None without an error."""
        return self._error

    @property
    def folder(self) -> Path:
        """The `stability/` folder."""
        return self._folder

    def write_header(self, header: RunHeader) -> None:
        """Write or replace `header.json`, before the first record.

        The header decides on the version of the trace: that of a resumed one stays.
        """
        self._steps.version = self._blocks.version = header.schema_version
        self._guarded(
            lambda: replace_file(self._folder / HEADER, header_to_json(header), sync=True)
        )
        self._guarded(warm_up)

    def append(self, record: StepRecord) -> None:
        """Add one optimizer step; a row whose `step` does not increase is skipped."""
        if self._idle():
            return
        with self._memory:
            if self._thread is None:
                self._start()
            if record.step <= self._last_step:
                self._error = self._error or (
                    f"Telemetry skipped step {record.step}: it came after step {self._last_step}, "
                    "and steps never repeat."
                )
                return
            self._last_step = record.step
            self._pending.append(record)
            full = len(self._pending) >= _MAX_PENDING
        if full:
            self._flush()

    def event(self, event: Event) -> None:
        """Write one event as a line of `events.jsonl`, immediately."""
        if not self._idle():
            self._guarded(lambda: self._append_line(EVENTS, event_line(event)))

    def epoch(self, record: EpochRecord) -> None:
        """Write one epoch as a line of `epochs.jsonl`, immediately; version 1 has no epochs."""
        if not self._idle() and self._steps.version > 1:
            self._guarded(lambda: self._append_line(EPOCHS, epoch_line(record)))

    def compact(self, *, wait: bool = False) -> None:
        """Write buffered records and merge small parts; call it at the end of an epoch.

        Args:
            wait: Return only when done; by default the flush thread works in the background.
        """
        if self._idle() or self._thread is None:
            return
        self._compact_asked = True
        if wait:
            self._flush()
        else:
            self._wake.set()

    def close(self) -> None:
        """Write and merge everything, and end the flush thread; further calls do nothing."""
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        atexit.unregister(self.close)
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_JOIN_SECONDS)
        self._flush()
        if self._opened:
            self._guarded(lambda: self._merge(everything=True))

    def _idle(self) -> bool:
        return self._closed or self._stopped or os.getpid() != self._pid

    def _start(self) -> None:
        """Take over the folder and start the flush thread; an unused writer never does."""
        self._guarded(self._open)
        self._thread = threading.Thread(target=self._run, name="yolo-stability-trace", daemon=True)
        self._thread.start()
        # A daemon thread in native code must not outlive the interpreter; this also keeps the last
        # second of records.
        atexit.register(self.close)

    def _open(self) -> None:
        remove_stale_temps(self._folder)
        self._steps.open()
        self._blocks.open(upto=self._steps.last)
        self._last_step = self._steps.last
        self._opened = True

    def _run(self) -> None:
        """Flush periodically; the interval is measured between flush starts, not their ends."""
        due = time.monotonic() + self._flush_seconds
        while not self._closed and not self._stopped:
            self._wake.wait(max(_BREATH, due - time.monotonic()))
            self._wake.clear()
            due = time.monotonic() + self._flush_seconds
            if not self._closed:
                self._flush()

    def _flush(self) -> None:
        """Write buffered records; blocks before steps, so that a step on disk has its blocks."""
        if not self._disk.acquire(timeout=_PATIENCE):
            self._stop(f"the disk has not responded for {_PATIENCE:g} s")
            return
        try:
            with self._memory:
                records, self._pending = self._pending, []
            if records:
                try:
                    self._guarded(lambda: self._write(records))
                except BaseException:
                    # an interrupt in the caller's thread; close() writes them
                    with self._memory:
                        self._pending[:0] = records
                    raise
            if self._compact_asked or self._steps.crowded or self._blocks.crowded:
                self._compact_asked = False
                self._guarded(self._merge)
        finally:
            self._disk.release()

    def _write(self, records: Sequence[StepRecord]) -> None:
        self._blocks.write(records)
        self._steps.write(records)

    def _merge(self, *, everything: bool = False) -> None:
        with self._disk:
            self._blocks.merge(everything=everything)
            self._steps.merge(everything=everything)

    def _append_line(self, name: str, line: bytes) -> None:
        """Append a line to a file; an incomplete line left by a kill is terminated first."""
        path = self._folder / name
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._lines, path.open("ab+") as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                line = line if file.read(1) == b"\n" else b"\n" + line
            file.write(line)

    def _guarded(self, work: Callable[[], object]) -> None:
        """Run disk work; an exception ends the telemetry, never the training."""
        if self._stopped:
            return
        try:
            work()
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as e:
            # includes bugs of this package and panics of polars, which are no Exception
            self._stop(_reason(e))

    def _stop(self, reason: str) -> None:
        """End the telemetry."""
        self._stopped = True
        with self._memory:
            self._pending = []
        after = f" after step {self._steps.last}" if self._steps.last >= 0 else ""
        self._error = f"Telemetry stopped{after}: {reason}; the training continues."


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})" if error.filename else error.strerror
    return f"{type(error).__name__}: {error}".splitlines()[0]
