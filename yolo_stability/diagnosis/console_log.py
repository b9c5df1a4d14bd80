"""Reads the console log of an Ultralytics or YOLOv5 training: epochs, recoveries and its end.

The strings are those of Ultralytics 8.0 to 8.4 and YOLOv5. A log is data: nothing in it is
evaluated, and of a huge one only start and end are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from yolo_stability.core.errors import StabilityError, TraceError
from yolo_stability.core.strict_yaml import load_yaml
from yolo_stability.diagnosis.console_epochs import EpochReader
from yolo_stability.diagnosis.console_lines import console_lines
from yolo_stability.diagnosis.console_run import GAVE_UP, ConsoleRun
from yolo_stability.diagnosis.console_traceback import TracebackReader

__all__ = ["read_console_log"]

_MOST_RUNS, _MOST_STARTS = 16, 200
"""Runs of a log that are kept, and lines with settings or a resume that are read."""
_NOTABLE = re.compile(
    r"NaN/Inf|collapse|out of memory|backend memory|completed in|early as no|Starting training|"
    r"Resuming training|Logging results|trainer: |train: weights=|[Kk]illed|[Tt]erminated|SIG|"
    r"oom|OOM|CANCEL+ED|Segmentation fault|Bus error|core dumped|\^C"
)
"""What a line must contain to be looked at: most lines are frames of a progress bar."""
_KILLED = (
    (re.compile(r"^Killed$|: line \d+:\s+\d+ Killed\b|^zsh: killed|\d+ killed +\S"), "SIGKILL"),
    (re.compile(r"Out of memory: Kill|oom[-_]kill|OOM[ -]?[Kk]ill|memory cgroup out"), "memory"),
    (re.compile(r"CANCEL+ED AT .*DUE TO TIME LIMIT"), "its time limit"),
    (re.compile(r"CANCEL+ED AT .*|^Terminated$|: line \d+:\s+\d+ Terminated\b|SIGTERM"), "SIGTERM"),
    (re.compile(r"Segmentation fault|SIGSEGV"), "a segmentation fault"),
    (re.compile(r"^Bus error|SIGBUS|: line \d+:\s+\d+ Bus error"), "a bus error"),
    (re.compile(r"SIGKILL|[Ss]ignal 9\b|exit(?:ed with)? code:? -9\b"), "SIGKILL"),
    (re.compile(r"Aborted \(core dumped\)|SIGABRT"), "SIGABRT"),
)
_KEPT = frozenset(
    {
        *("task", "mode", "model", "data", "epochs", "time", "patience", "batch", "imgsz"),
        *("optimizer", "lr0", "momentum", "weight_decay", "warmup_epochs", "amp", "seed", "val"),
        *("box", "dfl", "pose", "kobj", "cls", "close_mosaic", "save_dir", "resume"),
        *("weights", "cfg", "batch_size"),
    }
)
"""Settings that are kept of the line in which they are logged."""
_SETTING = re.compile(r"(?:^|, )(\w{1,40})=([^,=]{0,400})(?=, \w+=|$)")


def read_console_log(file: Path) -> tuple[ConsoleRun, ...]:
    """Return the trainings in a log, the last one last; a resumed one continues the one before.

    Args:
        file: The log.

    Raises:
        TraceError: The file cannot be read, or holds no training.
    """
    reader = _LogReader()
    for line in console_lines(file):
        reader.read(line)
    runs = reader.finished()
    if not runs:
        raise TraceError(
            f"'{file}' is not a run folder, results.csv, console log, incident folder or "
            "checkpoint: as a log, it holds no output of an Ultralytics or YOLOv5 training."
        )
    return runs


class _LogReader:
    """Reads the lines of a log one by one."""

    def __init__(self) -> None:
        self._runs: list[ConsoleRun] = []
        self._run, self._starts = ConsoleRun(), 0
        self._epochs = EpochReader(self._run)
        self._failure = TracebackReader()

    def finished(self) -> tuple[ConsoleRun, ...]:
        """Return the trainings that were read."""
        self._close()
        return tuple(self._runs)

    def read(self, line: str) -> None:
        """Read a line."""
        if self._epochs.read(line):
            if self._epochs.advanced:  # training continued, so that nothing before was its end
                self._failure.clear()
                self._run.killed, self._run.interrupted = None, False
            return
        if self._failure.read(line) or _NOTABLE.search(line) is None:
            return
        for pattern, take in _TAKEN:
            found = pattern.search(line)
            if found is not None:
                take(self, found)
                return
        self._signal(line)

    def _signal(self, line: str) -> None:
        text = line.strip()
        cause = next((word for pattern, word in _KILLED if pattern.search(text)), None)
        if cause is not None and not (self._run.killed == "memory" and cause == "SIGKILL"):
            self._run.killed = cause
        elif text == "^C":
            self._run.interrupted = True

    def _close(self) -> None:
        """Keep the run that was read so far, and begin another."""
        run = self._run
        if run.settings.get("val") is False:  # else its metrics would have been printed
            self._epochs.close()
        run.exception = self._failure.exception
        if run.persisted:
            run.recover(GAVE_UP, run.epoch)
        if run.begun or run.settings:
            self._runs = [*self._runs, run][-_MOST_RUNS:]
        self._begin(ConsoleRun())

    def _begin(self, run: ConsoleRun) -> None:
        self._run, self._failure = run, TracebackReader()
        self._epochs = EpochReader(run)

    def _settings(self, found: re.Match[str]) -> None:
        """Read the settings, which each process of a run logs at its start."""
        if self._run.begun:
            self._close()
        self._starts += 1
        if self._starts > _MOST_STARTS:
            return
        given = {name: text for name, text in _SETTING.findall(found[1]) if name in _KEPT}
        for name, text in given.items():
            if text == "None":
                continue
            try:
                self._run.settings |= load_yaml(f"{name}: {text}", "log")
            except StabilityError:
                self._run.settings[name] = text

    def _started(self, found: re.Match[str]) -> None:
        if self._run.started:
            self._close()
        self._run.started = True
        if found[2] == "epochs":
            self._run.planned = int(found[1])

    def _resumed(self, found: re.Match[str]) -> None:
        """Continue the run before, if the log holds it."""
        first = int(found[1])
        self._starts += 1
        if self._runs and not self._run.begun and self._starts <= _MOST_STARTS:
            before = self._runs.pop()
            before.settings |= self._run.settings
            before.drop(first)
            before.resume()
            self._begin(before)
        self._run.resumed_at = first

    def _recovery(self, found: re.Match[str]) -> None:
        self._epochs.close()
        self._run.recover(found[1].strip(), self._epochs.epoch)

    def _unrecovered(self, found: re.Match[str]) -> None:
        self._run.unrecovered = self._epochs.epoch

    def _smaller_batch(self, found: re.Match[str]) -> None:
        first = self._run.batches[0] if self._run.batches else int(found[1])
        self._run.batches = (first, int(found[2]))

    def _completed(self, found: re.Match[str]) -> None:
        self._epochs.close()
        self._run.completed = int(found[1])

    def _stopped_early(self, found: re.Match[str]) -> None:
        self._run.patience, self._run.best_epoch = int(found[1]), int(found[2] or 0) or None

    def _folder(self, found: re.Match[str]) -> None:
        self._run.save_dir = found[1].strip()


_Take = Callable[[_LogReader, re.Match[str]], None]
_TAKEN: tuple[tuple[re.Pattern[str], _Take], ...] = (
    (
        re.compile(r"([\w/ ]{1,40}) detected \(attempt \d+/\d+\), recovering"),
        _LogReader._recovery,
    ),
    (re.compile(r"NaN/Inf detected but can ?not recover"), _LogReader._unrecovered),
    (
        re.compile(r"with batch=(\d{1,6})\. Reducing to batch=(\d{1,6}) and retrying"),
        _LogReader._smaller_batch,
    ),
    (re.compile(r"^\s*(\d{1,6}) epochs completed in [\d.]+ hours"), _LogReader._completed),
    (
        re.compile(
            r"(?:Training stopped|Stopping training) early as no improvement observed in last "
            r"(\d{1,6}) epochs\.(?: Best results observed at epoch (\d{1,6}))?"
        ),
        _LogReader._stopped_early,
    ),
    (re.compile(r"trainer: (.*)"), _LogReader._settings),
    (re.compile(r"train: (weights=.*)"), _LogReader._settings),
    (
        re.compile(r"Starting training for (\d{1,6}(?:\.\d+)?) (epochs|hours)"),
        _LogReader._started,
    ),
    (re.compile(r"Resuming training .*from epoch (\d{1,6}) to \d+ total"), _LogReader._resumed),
    (re.compile(r"Logging results to (.{1,1000})"), _LogReader._folder),
)
