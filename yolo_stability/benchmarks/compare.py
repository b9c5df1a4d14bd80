"""`compare`: builds a benchmark report from existing runs, the first of them as the control.

A run recorded by this package has a trace. A stock run has the settings in `args.yaml` and the
columns of `results.csv`, without gradients: its verdict is that of `diagnose`.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolo_stability.benchmarks.assessment import assess
from yolo_stability.benchmarks.folder import prepare_folder
from yolo_stability.benchmarks.plan import PLAN, RunOutcome
from yolo_stability.benchmarks.results import (
    RESULTS_FILE,
    SCHEMA_VERSION,
    BenchmarkResult,
    read_results,
)
from yolo_stability.benchmarks.rows import Arm, RunResultRow
from yolo_stability.benchmarks.runner import write_results
from yolo_stability.core.command_line import typed_command
from yolo_stability.core.errors import ConfigError, TraceError
from yolo_stability.core.findings import Diagnosis
from yolo_stability.core.provenance import package_versions
from yolo_stability.core.strict_yaml import load_yaml
from yolo_stability.core.text import setting
from yolo_stability.core.types import Trace
from yolo_stability.diagnosis.results_csv import diagnose_results_csv
from yolo_stability.diagnosis.stock_end import stock_settings
from yolo_stability.trace import find_trace, load_trace

__all__ = ["compare_runs"]

_TABLE, _SETTINGS = "results.csv", "args.yaml"
_PLACES = frozenset(
    {"name", "project", "save_dir", "exist_ok", "resume", "device", "workers", "verbose", "plots"}
)
"""Settings that differ without an effect on what is learned."""


@dataclass(frozen=True, slots=True)
class _Run:
    """A run folder with its trace and settings; a stock run with its diagnosis."""

    folder: Path
    trace: Trace | None
    settings: dict[str, Any]
    diagnosis: Diagnosis | None = None


def compare_runs(paths: Sequence[str | Path], out: Path) -> BenchmarkResult:
    """Compare runs, or read the result of a benchmark.

    Args:
        paths: Run folders, the control first; or a single benchmark folder, whose result is
            returned unchanged.
        out: Folder for `results.json` and `series.parquet`.

    Returns:
        The comparison, or the stored result of the benchmark folder.

    Raises:
        ConfigError: There are too few runs, or `out` contains other files.
        StabilityError: `out` cannot be created.
        TraceError: A folder is not a run folder.
    """
    folders = [Path(path).expanduser() for path in paths]
    if len(folders) == 1 and any((folders[0] / name).is_file() for name in (RESULTS_FILE, PLAN)):
        return read_results(folders[0])
    if len(folders) < 2:
        raise ConfigError(
            "'compare' expects two or more runs, the control first, or one benchmark folder."
        )
    prepare_folder(out, RESULTS_FILE, "comparison")
    runs = [_read(folder) for folder in folders]
    names = _names(folders)
    arms = tuple(
        _arm(name, run, number == 0)
        for number, (name, run) in enumerate(zip(names, runs, strict=True))
    )
    rows = [_row(name, run) for name, run in zip(names, runs, strict=True)]
    traces = {row.folder: run.trace for row, run in zip(rows, runs, strict=True)}
    diagnosed = {str(run.folder): run.diagnosis for run in runs if run.diagnosis is not None}
    assessed = assess(arms, rows, lambda row: traces[row.folder], diagnosed)
    result = BenchmarkResult(
        schema_version=SCHEMA_VERSION,
        suite="comparison",
        description=f"{len(runs)} runs, with {names[0]} as the control.",
        manifest={
            "command": typed_command("compare"),
            "versions": package_versions(),
            "runs": [str(folder) for folder in folders],
            "differs": {
                name: _differing(runs[0].settings, run.settings)
                for name, run in zip(names[1:], runs[1:], strict=True)
            },
        },
        arms=arms,
        runs=assessed.runs,
        comparisons=assessed.comparisons,
        totals={"runs": len(runs)},
        folder=out,
    )
    write_results(out, result, assessed.series)
    return result


def _read(folder: Path) -> _Run:
    """Read a recorded run, or a plain Ultralytics run."""
    try:
        trace = load_trace(find_trace(folder))
    except TraceError:
        if not (folder / _TABLE).is_file():
            raise
        return _Run(folder, None, _settings(folder), _diagnosis(folder / _TABLE))
    return _Run(folder, trace, {**trace.header.requested, **trace.header.effective})


def _diagnosis(table: Path) -> Diagnosis | None:
    """Return the diagnosis of a stock run; None if its table cannot be read."""
    try:
        return diagnose_results_csv(table)
    except TraceError:
        return None


def _settings(folder: Path) -> dict[str, Any]:
    """Return the settings of a stock run; those of YOLOv5 without `args.yaml`."""
    file = folder / _SETTINGS
    if not file.is_file():
        return stock_settings(folder)
    try:
        return load_yaml(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(f"{file} cannot be read ({error}); exclude this run.") from None


def _differing(
    control: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, dict[str, str]]:
    """Return the settings that both runs have, with different values, as people type them."""
    return {
        key: {"control": setting(control[key]), "here": setting(settings[key])}
        for key in sorted(control.keys() & settings.keys() - _PLACES, key=str)
        if control[key] != settings[key]
    }


def _row(name: str, run: _Run) -> RunResultRow:
    """Return the row of a run with the facts known without its trace."""
    outcome = RunOutcome.read(run.folder)
    metrics = dict(outcome.metrics) if outcome else _last_metrics(run.folder / "results.csv")
    return RunResultRow(
        arm=name,
        task=str(run.settings.get("task") or "detect"),
        model=Path(str(run.settings.get("model") or run.settings.get("weights") or "unknown")).name,
        seed=0,  # existing runs are compared one to one, regardless of their seeds
        outcome=outcome.outcome if outcome else _outcome(run.diagnosis),
        verdict="inconclusive",
        metrics={k: float(v) for k, v in metrics.items() if v is not None and math.isfinite(v)},
        effective=dict(run.trace.header.effective) if run.trace else run.settings,
        seconds=outcome.seconds if outcome else {},
        folder=str(run.folder),
    )


def _outcome(found: Diagnosis | None) -> str:
    """Return how a stock run ended; one that broke off is `stopped`, for whatever reason."""
    broke_off = found is not None and found.end is not None and found.end.state != "finished"
    return "stopped" if broke_off else "finished"


def _arm(name: str, run: _Run, is_control: bool) -> Arm:
    """Return a run as an arm of the report."""
    kind = "control" if is_control else "both"
    origin = (
        "recorded by yolo-stability"
        if run.trace
        else "plain Ultralytics run without recorded gradients"
    )
    return Arm(
        name=name,
        is_control=is_control,
        kind=kind,
        claim=f"{run.folder} ({origin}).",
        expects="",
        overrides={},
    )


def _last_metrics(file: Path) -> dict[str, float]:
    """Return the metrics in the last row of `results.csv`; empty if there is no such row."""
    try:
        with file.open(encoding="utf-8", newline="") as text:
            rows = list(csv.DictReader(text))
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}
    found = {}
    for key, value in (rows[-1] if rows else {}).items():
        try:
            found[str(key).strip()] = float(value)
        except (TypeError, ValueError):
            continue
    return {key: value for key, value in found.items() if key.startswith("metrics/")}


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the shortest path suffixes that are unique for each run."""
    paths = [folder.resolve().parts for folder in folders]
    for depth in range(1, max(map(len, paths)) + 1):
        names = [Path(*parts[-depth:]).as_posix() for parts in paths]
        if max(Counter(names).values()) == 1:
            return names
    twice = next(
        folder for folder, parts in zip(folders, paths, strict=True) if paths.count(parts) > 1
    )
    raise ConfigError(f"'{twice}' is listed twice; name each run once.")
