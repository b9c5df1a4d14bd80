"""The end of a run and its findings as a console log shows them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

from yolo_stability.core.findings import End, Finding
from yolo_stability.core.text import count, listing
from yolo_stability.core.types import EndReason, Severity
from yolo_stability.diagnosis.base import USUAL_RATE
from yolo_stability.diagnosis.console_run import GAVE_UP, ConsoleRun, RestartedEpoch

__all__ = ["end_of_log", "end_text", "log_findings"]

_INTERRUPT = "KeyboardInterrupt"
_DEVICE = re.compile(
    r"(?:CUDA|HIP) (?:out of memory|error: out of memory)|CUBLAS_STATUS_ALLOC|MPS b"
)
_HOST = re.compile(
    r"can't allocate memory|[Cc]annot allocate memory|[Uu]nable to allocate|shared memory"
    r"|is killed by signal: (?:Killed|Bus error)"
)
_LONGEST = 160
_FEWER = "a smaller batch= or imgsz=; batch=-1 lets Ultralytics choose one that fits"
_HOST_REMEDY = "fewer workers=, cache=False, or a smaller batch="


def end_of_log(run: ConsoleRun, done: int, planned: int | None) -> End | None:
    """Return how a run ended; None where its log does not show it.

    Args:
        run: The run in the log.
        done: Epochs completed.
        planned: Epochs planned; None where that is unknown.
    """
    raised, end = run.exception, End(state="finished", epochs_done=done, epochs_planned=planned)
    if raised is not None and raised.type != _INTERRUPT:
        return replace(end, state="exception", exception=raised)
    if raised is not None or run.interrupted:
        return replace(end, state="interrupted", exception=raised)
    if run.killed is not None:
        return replace(end, state="killed")
    if run.completed is None:
        return None
    reason = _reason(run, short=planned is not None and done < planned)
    return end if reason is None else replace(end, state="stopped", reason=reason)


def _reason(run: ConsoleRun, *, short: bool) -> EndReason | None:
    """Return why a run stopped that ended in order; None for its planned end."""
    if run.patience is not None:
        return "patience"
    if run.settings.get("time"):
        return "time"
    return "user" if short else None


def end_text(run: ConsoleRun, end: End) -> str:
    """Return how a run ended, for a sentence; empty for its planned end.

    Args:
        run: The run in the log.
        end: How it ended.
    """
    planned = "" if end.epochs_planned is None else f" of {end.epochs_planned:,}"
    after = f"after {end.epochs_done:,}{planned} epochs"
    during = f" in epoch {run.epoch:,}" if run.epoch and run.epoch > end.epochs_done else ""
    memory = _memory(run)
    if end.state == "killed":
        by = "the system, which was out of memory," if memory else run.killed
        return f"killed by {by}{during} {after}" if during else f"killed by {by} {after}"
    if memory:
        return f"the {memory} ran out of memory{during}, {after}"
    if end.state == "interrupted" and (run.interrupted or end.exception is not None):
        return f"interrupted by Ctrl-C{during}, {after}"
    if end.state == "exception" and end.exception is not None:
        message = " ".join(end.exception.message.split())
        text = f"{end.exception.type}: {message}" if message else end.exception.type
        text = f"{text[:_LONGEST]}..." if len(text) > _LONGEST else text
        where = f", in {end.exception.where}" if end.exception.where else ""
        return f"ended by an exception{during} {after} ({text}{where})"
    if end.state == "interrupted":
        return f"the log ends{during} without a reason, {after}: a kill, or a log without stderr"
    return ""


def _memory(run: ConsoleRun) -> str:
    """Return whose memory was exhausted at the end: device or host; empty if none was."""
    if run.killed == "memory":
        return "host"
    if run.exception is None:
        return ""
    text = f"{run.exception.type}: {run.exception.message}"
    if run.exception.type == "MemoryError" or _HOST.search(text):
        return "host"
    return "device" if "OutOfMemory" in text or _DEVICE.search(text) else ""


def log_findings(run: ConsoleRun) -> Iterator[Finding]:
    """Yield what a log shows beyond the table of epochs, most severe first.

    Args:
        run: The run in the log.
    """
    for epoch, group in groupby(run.recoveries, key=lambda r: r.epoch):
        recoveries = tuple(group)
        if recoveries[-1].reason == GAVE_UP:
            yield _given_up(run, epoch, recoveries)
    for epoch, group in groupby(run.recoveries, key=lambda r: r.epoch):
        recoveries = tuple(group)
        if recoveries[-1].reason != GAVE_UP:
            yield _recovered(epoch, recoveries)
    if run.unrecovered is not None:
        yield _finding(
            "warning",
            f"NaN or Inf in epoch {run.unrecovered:,}, when there was no checkpoint yet to restart "
            "it from",
            run.unrecovered,
            remedy=f"{USUAL_RATE}, or amp=False",
        )
    memory = _memory(run)
    if memory:
        yield Finding(
            rule="out_of_memory",
            severity="warning",
            message=f"the {memory} ran out of memory",
            first_epoch=run.epoch,
            last_epoch=run.epoch,
            remedy=_FEWER if memory == "device" else _HOST_REMEDY,
        )
    if run.batches:
        yield Finding(
            rule="out_of_memory",
            severity="info",
            message=f"batch={run.batches[0]} did not fit in memory: Ultralytics trained with "
            f"batch={run.batches[-1]}",
            remedy=f"batch={run.batches[-1]}, so that the next run is the same",
        )


def _given_up(
    run: ConsoleRun, epoch: int | None, recoveries: tuple[RestartedEpoch, ...]
) -> Finding:
    """Return the finding on an epoch that Ultralytics could not train."""
    tries = len(recoveries) - 1
    how = f"restarted it from last.pt {count(tries, 'time')} and gave up" if tries else "gave up"
    message = run.exception.message if run.exception is not None else ""
    if "corrupted" in message:
        how = "gave up, since last.pt itself holds NaN or Inf"
    elif "no valid last.pt" in message:
        how = "gave up, since there was no last.pt to restart from"
    return _finding(
        "critical",
        f"{_what(recoveries)} in {_epoch(epoch)}; Ultralytics {how}",
        epoch,
        column=next((c for r in recoveries for c in r.columns), None),
        remedy=f"{USUAL_RATE}, or amp=False; 'guard=skip' of yolo-stability skips the bad step",
    )


def _recovered(epoch: int | None, recoveries: tuple[RestartedEpoch, ...]) -> Finding:
    """Return the finding on an epoch that succeeded after a restart."""
    times = count(len(recoveries), "time")
    return _finding(
        "warning",
        f"{_what(recoveries)} in {_epoch(epoch)}; Ultralytics restarted it from last.pt {times}",
        epoch,
        column=next((c for r in recoveries for c in r.columns), None),
        rule="recoveries",
        remedy="guard=skip skips a bad step instead",
    )


def _what(recoveries: tuple[RestartedEpoch, ...]) -> str:
    """Return what was wrong in an epoch."""
    columns = next((r.columns for r in recoveries if r.columns), ())
    if columns:
        return f"{listing(columns)} {'was' if len(columns) == 1 else 'were'} not finite"
    reason = recoveries[0].reason
    return "a loss was not finite" if reason == GAVE_UP else f"{reason} was detected"


def _epoch(epoch: int | None) -> str:
    return "an epoch" if epoch is None else f"epoch {epoch:,}"


def _finding(
    severity: Severity,
    message: str,
    epoch: int | None,
    *,
    remedy: str,
    column: str | None = None,
    rule: str = "non_finite",
) -> Finding:
    return Finding(
        rule=rule,
        severity=severity,
        message=message,
        column=column,
        first_epoch=epoch,
        last_epoch=epoch,
        remedy=remedy,
    )
