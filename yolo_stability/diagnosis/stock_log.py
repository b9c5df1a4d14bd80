"""A run without a trace together with its console log: their match, and the diagnosis of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from yolo_stability.core.errors import TraceError
from yolo_stability.core.findings import Best, Cause, Diagnosis, End
from yolo_stability.diagnosis.console_run import ConsoleRun
from yolo_stability.diagnosis.log_evidence import end_of_log, end_text, log_findings
from yolo_stability.diagnosis.results_table import as_number, numbers_of, read_table
from yolo_stability.diagnosis.run_end import end_phrase
from yolo_stability.trace.arrays import EpochSeries

__all__ = [
    "UNKNOWN",
    "end_with_log",
    "no_epoch",
    "refuse_other_run",
    "run_of_folder",
    "table_of_log",
    "unseen_best",
    "with_log",
]

UNKNOWN = Cause(
    name="unknown",
    score=1.0,
    evidence="one loss per epoch does not distinguish causes; a trace of the gradients does",
)
_RESULTS = "results.csv"
_DIFFERENT = 0.01
"""Relative difference of a loss from which it is not the same number with fewer digits."""
_WEIGHT = {"critical": 0, "warning": 1, "info": 2}
Rows = Sequence[Mapping[str, str]]


def run_of_folder(runs: Sequence[ConsoleRun], folder: Path) -> ConsoleRun:
    """Return the run of a folder: the last one logged under its name, else the last one.

    Args:
        runs: Runs in a log; at least one.
        folder: The run folder.
    """
    name = folder.absolute().name
    return next((r for r in reversed(runs) if _name(r.save_dir) == name), runs[-1])


def _name(path: str | None) -> str:
    return (path or "").replace("\\", "/").rstrip("/").rpartition("/")[2]


def refuse_other_run(log: Path, run: ConsoleRun, table: Path, rows: Rows) -> None:
    """Raise an error if a log is not that of a table.

    Raises:
        TraceError: Most epochs that both hold have other training losses.
    """
    found = _difference(run, rows)
    if found is not None:
        epoch, column, logged, written = found
        raise TraceError(
            f"'{log}' is not the log of '{table}': {column} of epoch {epoch} is {logged} in one "
            f"and {written} in the other; give the log of that run, or diagnose the log alone."
        )


def _difference(run: ConsoleRun, rows: Rows) -> tuple[int, str, str, str] | None:
    """Return epoch, column and values of the first difference; None if most epochs agree."""
    agreed, different = 0, []
    for number, row in zip(numbers_of(rows), rows, strict=True):
        logged = run.rows.get(number + 1, {})
        shared = [name for name in logged if name.startswith("train/") and name in row]
        wrong = next((n for n in shared if not _same(logged[n], row[n])), None)
        if wrong is not None:
            different.append((number + 1, wrong, logged[wrong], row[wrong]))
        else:
            agreed += bool(shared)
    return different[0] if len(different) > agreed else None


def _same(one: str, other: str) -> bool:
    a, b = as_number(one), as_number(other)
    close = np.isclose(a, b, rtol=_DIFFERENT, atol=1e-4, equal_nan=True)
    return bool(close)


def table_of_log(log: Path, run: ConsoleRun) -> tuple[Path, list[dict[str, str]]] | None:
    """Return the table of a run, with its rows, if it is found and agrees with the log.

    It is searched beside the log, and in the folder that the log names if that is beneath the log's
    or the working folder: a log is from anyone.

    Args:
        log: The log.
        run: The run in it.
    """
    for folder in _places(log, run):
        try:
            rows = read_table(folder / _RESULTS)
        except TraceError:
            continue
        numbers = {number + 1 for number in numbers_of(rows)}
        if numbers & run.rows.keys() and _difference(run, rows) is None:
            return folder / _RESULTS, rows
    return None


def _places(log: Path, run: ConsoleRun) -> list[Path]:
    """Return existing folders that may be that of a logged run."""
    here, named = log.absolute().parent, (run.save_dir or "").strip()
    found = []
    try:
        roots = [here.resolve(), Path.cwd().resolve()]
        if named and not named.startswith(("\\\\", "//")):
            inside = [(root / named).resolve() for root in roots]
            found += [p for p in inside if any(p.is_relative_to(root) for root in roots)]
        found.append(here)
        return [path for path in found if (path / _RESULTS).is_file()]
    except (OSError, ValueError, RuntimeError):
        return []


def end_with_log(run: ConsoleRun, end: End | None, done: int) -> End:
    """Return how a run ended by its log, else by its files.

    Args:
        run: The run in the log.
        end: Its end by settings and checkpoints; None where they do not show it.
        done: Epochs completed.
    """
    planned = run.planned if end is None else end.epochs_planned
    if planned is None:
        logged = run.settings.get("epochs")
        planned = logged if isinstance(logged, int) and logged > 0 else run.planned
    logged_end = end_of_log(run, done, planned)
    if logged_end is not None:
        return logged_end
    return end or End(state="interrupted", epochs_done=done, epochs_planned=planned)


def no_epoch(name: str, end: End | None) -> Diagnosis:
    """Return the diagnosis of a run that did not complete an epoch.

    Args:
        name: Name of the run.
        end: How it ended.
    """
    phrase = end_phrase(end, stock=True)
    why = "; ".join(part for part in ("no epoch was completed", phrase) if part)
    return Diagnosis(run_id=name, verdict="inconclusive", why=why, end=end)


def with_log(found: Diagnosis, run: ConsoleRun) -> Diagnosis:
    """Return a diagnosis with what the log shows: how the run ended, and its findings.

    Args:
        found: Diagnosis of its epochs, with its end by the log.
        run: The run in the log.
    """
    assert found.end is not None
    text, phrase = end_text(run, found.end), end_phrase(found.end, stock=True)
    why = found.why
    if text and phrase and phrase in why:
        why = why.replace(phrase, text)
    elif text:
        why = f"{why}; {text}"
    extra = list(log_findings(run))
    findings = tuple(sorted([*extra, *found.findings], key=lambda f: _WEIGHT[f.severity]))
    found = replace(found, why=why, findings=findings)
    worst = next((f for f in extra if f.severity == "critical"), None)
    if worst is None or found.verdict == "failed":
        return found
    why = "; ".join(part for part in (worst.message, text) if part)
    return replace(found, verdict="failed", why=why, cause="unknown", causes=(UNKNOWN,))


def unseen_best(epochs: EpochSeries) -> Best | None:
    """Return the best checkpoint of a run of which only the log is known; None without metrics.

    Args:
        epochs: Its epochs.
    """
    fitness = np.where(np.isfinite(epochs.fitness), epochs.fitness, -np.inf)
    if not np.isfinite(fitness.max()):
        return None
    row = int(np.flatnonzero(fitness == fitness.max())[-1])
    return Best(
        epoch=int(epochs.epoch[row]) + 1,
        fitness=float(fitness[row]),
        file="weights/best.pt",
        audit="not examined",
    )
