"""Creates, resumes or rejects the folder of a benchmark."""

from __future__ import annotations

import json
from pathlib import Path

from yolo_stability.benchmarks.plan import PLAN, PLAN_VERSION
from yolo_stability.benchmarks.results import SERIES_FILE
from yolo_stability.core.errors import ConfigError, StabilityError
from yolo_stability.core.lock import LOCK_FILE

__all__ = ["prepare_benchmark_folder", "prepare_folder"]


# Files of this package that a killed process may leave before it writes the marker.
_BEFORE_MARKER = (LOCK_FILE, SERIES_FILE)


def prepare_folder(out: Path, marker: str, what: str) -> None:
    """Create a folder for results; reject one that contains other files.

    Args:
        out: The folder.
        marker: File that identifies a folder of this kind.
        what: Kind of the folder, for messages.

    Raises:
        ConfigError: `out` is a file, or contains other files.
        StabilityError: `out` cannot be created.
    """
    if out.is_file():
        raise ConfigError(f"out={out} is a file; name a folder for the {what}.")
    names = [p.name for p in out.iterdir() if not p.name.startswith(".")] if out.is_dir() else []
    strangers = [name for name in names if name not in _BEFORE_MARKER]
    if strangers and not (out / marker).exists():
        raise ConfigError(
            f"out={out} contains other files ({strangers[0]}); "
            f"name a new folder or the folder of a {what}."
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StabilityError(
            f"out={out} cannot be created: {error.strerror}. Name another folder."
        ) from None


def prepare_benchmark_folder(out: Path) -> None:
    """Create the folder of a benchmark; reject one of another schema version.

    Args:
        out: The folder.

    Raises:
        ConfigError: `out` is a file, contains other files, or has another schema version.
        StabilityError: `out` cannot be created.
    """
    prepare_folder(out, PLAN, "benchmark")
    version = _version(out / PLAN)
    if version not in {None, PLAN_VERSION}:
        raise ConfigError(
            f"out={out} contains a benchmark of schema version {version}; this version of the "
            f"package can only resume version {PLAN_VERSION}. Name a new folder."
        )


def planned_trace_version(out: Path) -> int | None:
    """Return the trace version that a benchmark began with; None if it has not begun."""
    try:
        runs = json.loads((out / PLAN).read_text(encoding="utf-8"))["runs"]
        return min((int(run.get("trace", 1)) for run in runs), default=None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _version(plan: Path) -> object:
    """Return the schema version of a plan; None if it is missing or incomplete and is rewritten."""
    try:
        return json.loads(plan.read_text(encoding="utf-8"))["schema_version"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
