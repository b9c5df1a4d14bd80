"""Writes `remedies.json`, `remedies.md` and `figures/remedies.png` of a benchmark folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from yolo_stability.benchmarks.arms import SIGN, overridden_keys
from yolo_stability.benchmarks.rows import RunResultRow
from yolo_stability.benchmarks.suite import Suite
from yolo_stability.config import is_default
from yolo_stability.core.errors import ConfigError
from yolo_stability.core.files import replace_file
from yolo_stability.core.provenance import package_versions
from yolo_stability.studies.remedy_matrix.matrix import (
    ENOUGH_SEEDS,
    LEARNED,
    MARGIN,
    BySeed,
    OutcomeCounts,
    cell_of,
    count_outcomes,
    price_of,
)
from yolo_stability.studies.remedy_matrix.result import CauseRow, MatrixResult, RemedyColumn
from yolo_stability.studies.remedy_matrix.runs import MatrixRuns, matrix_runs, suite_of

__all__ = ["REMEDIES_JSON", "score_matrix", "write_remedies"]

REMEDIES_JSON = "remedies.json"
SCHEMA_VERSION = 1


def score_matrix(folder: Path) -> MatrixResult | None:
    """Write the matrix of a benchmark folder if its suite has causes and remedies.

    Args:
        folder: Benchmark folder.

    Returns:
        The matrix; None, and nothing is written, if the suite has no causes and remedies.
    """
    return None if suite_of(folder) is None else write_remedies(folder)


def write_remedies(folder: str | Path, target: str | Path | None = None) -> MatrixResult:
    """Compute the matrix from all ended runs of a benchmark folder, and write it there.

    Args:
        folder: Benchmark folder; the benchmark may be interrupted or still running.
        target: File for a copy of `remedies.json`; diagnoses take their advice from
            `configs/remedies.json`.

    Returns:
        The matrix.

    Raises:
        ConfigError: The benchmark has no causes and remedies.
        TraceError: The folder contains no benchmark.
    """
    from yolo_stability.studies.remedy_matrix.report import remedies_markdown, remedies_picture

    folder = Path(folder)
    suite = suite_of(folder)
    if suite is None:
        raise ConfigError(
            f"The benchmark in {folder} has no causes and remedies. Choose a folder of "
            "suite=remedies."
        )
    result = matrix_of(matrix_runs(folder, suite))
    content = (
        json.dumps(
            _six_digits(asdict(result)), indent=1, ensure_ascii=False, allow_nan=False
        ).encode()
        + b"\n"
    )
    replace_file(folder / REMEDIES_JSON, content)
    replace_file(folder / "remedies.md", remedies_markdown(result).encode())
    replace_file(folder / "figures" / "remedies.png", remedies_picture(result))
    if target is not None:
        replace_file(Path(target), content)
    return result


def matrix_of(found: MatrixRuns) -> MatrixResult:
    """Compute the matrix from runs.

    Args:
        found: The runs.
    """
    suite, equivalent = found.suite, found.suite.equivalent_arms()
    by_arm: dict[tuple[str, str], dict[int, RunResultRow]] = {}
    for (arm, task, seed), run in found.runs.items():
        by_arm.setdefault((arm, task), {})[seed] = run
    controls: dict[str, BySeed] = {
        task: by_arm.get((suite.control, task), {}) for task in suite.tasks
    }

    def counted(arm: str, task: str) -> OutcomeCounts:
        return count_outcomes(by_arm.get((equivalent[arm], task), {}), controls[task])

    prices = [
        price_of(name, t, equivalent[name], counted(name, t))
        for t in suite.tasks
        for name in suite.remedies
    ]
    cells = [
        cell_of(
            cause,
            price,
            arm=equivalent[arm],
            void=equivalent[arm] == equivalent[cause],
            replaced=overridden_keys(
                suite.scenario(cause), suite.scenario(price.remedy), price.task
            ),
            own=counted(arm, price.task),
            alone=counted(cause, price.task),
        )
        for cause in suite.causes
        for price in prices
        for arm in (f"{cause}{SIGN}{price.remedy}",)
    ]
    settings = {task: suite.settings(suite.control, task, 0) for task in suite.tasks}
    return MatrixResult(
        schema_version=SCHEMA_VERSION,
        suite=suite.name,
        command=found.command,
        measured=found.newest,
        versions=package_versions(),
        models={task: (str(own["model"]), str(own["data"])) for task, own in settings.items()},
        epochs=int(settings[suite.tasks[0]]["epochs"]),
        learned=LEARNED,
        margin=MARGIN,
        enough_seeds=ENOUGH_SEEDS,
        planned_runs=len(suite.matrix_arms()) * len(suite.tasks) * suite.seeds,
        ended_runs=len(found.runs),
        stale_runs=found.stale,
        uncounted_runs=sum(
            len(runs) - len(count_outcomes(runs, controls[task]).seeds)
            for (_, task), runs in by_arm.items()
        ),
        crashes=_crashes(found.runs.values()),
        control={
            task: [run.fitness for _, run in sorted(runs.items())]
            for task, runs in controls.items()
        },
        rows=[
            _row(suite, name, {task: counted(name, task) for task in suite.tasks})
            for name in suite.causes
        ],
        columns=[_column(suite, name) for name in suite.remedies],
        prices=prices,
        cells=cells,
    )


def _row(suite: Suite, name: str, alone: Mapping[str, OutcomeCounts]) -> CauseRow:
    scenario = suite.scenario(name)
    return CauseRow(
        name=name,
        title=scenario.description,
        cause=scenario.label.cause if scenario.label else None,
        optimizer=str(suite.settings(name, suite.tasks[0], 0).get("optimizer", "")),
        settings=_written(scenario.overrides),
        alone=alone,
    )


def _column(suite: Suite, name: str) -> RemedyColumn:
    """Return a column; a learning rate becomes a factor, which is valid for any recipe."""
    scenario = suite.scenario(name)
    keys = dict(scenario.overrides)
    usual = suite.settings(suite.control, suite.tasks[0], 0).get("lr0")
    if "lr0" in keys and usual:
        keys = {
            ("lr_mult" if k == "lr0" else k): (v / usual if k == "lr0" else v)
            for k, v in keys.items()
        }
    changed = {k: v for k, v in keys.items() if not is_default(k, v)}
    keys = changed or keys  # defaults are omitted unless there is nothing else
    return RemedyColumn(name=name, title=scenario.description, settings=_written(keys))


def _written(keys: Mapping[str, Any]) -> str:
    """Format keys and values as typed."""

    def word(value: Any) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        return f"{value:g}" if isinstance(value, float) else str(value)

    return " ".join(f"{key}={word(value)}" for key, value in keys.items())


def _crashes(runs: Any) -> dict[str, int]:
    """Return the errors of crashed runs with counts."""
    errors = [run.error or "no message" for run in runs if run.outcome == "crashed"]
    return {error: errors.count(error) for error in dict.fromkeys(errors)}


def _six_digits(value: Any) -> Any:
    """Round numbers to six significant digits, so that files are readable and comparable."""
    if isinstance(value, Mapping):
        return {str(key): _six_digits(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_six_digits(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
