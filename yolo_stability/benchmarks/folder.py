"""The folder of a benchmark: made, continued, or refused where it holds other things."""

from __future__ import annotations

import json
from pathlib import Path

from yolo_stability.benchmarks.plan import PLAN
from yolo_stability.benchmarks.results import (
    SCHEMA_VERSION,
    SERIES_FILE,
)
from yolo_stability.core.errors import ConfigError, StabilityError
from yolo_stability.core.lock import LOCK_FILE

__all__ = ["prepare_folder"]


# of ours, too: a kill may leave them before the file by which a folder is known
_BEFORE_MARKER = (LOCK_FILE, SERIES_FILE)


def prepare_folder(out: Path, marker: str, what: str) -> None:
    """Make a folder for results; refuse one that holds something else.

    Args:
        out: The folder.
        marker: File by which a folder of this kind is known.
        what: What a person calls it.

    Raises:
        ConfigError: It is a file, or holds other things.
        StabilityError: It cannot be made.
    """
    if out.is_file():
        raise ConfigError(f"out={out} is a file; name a folder for the {what}.")
    names = [p.name for p in out.iterdir() if not p.name.startswith(".")] if out.is_dir() else []
    strangers = [name for name in names if name not in _BEFORE_MARKER]
    if strangers and not (out / marker).exists():
        raise ConfigError(
            f"out={out} holds other things ({strangers[0]}); name a new folder, or that of a {what}."
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StabilityError(
            f"out={out} cannot be made: {error.strerror}. Name another folder."
        ) from None


def _prepare(out: Path) -> None:
    """Make the folder of a benchmark; refuse one of another schema version."""
    prepare_folder(out, PLAN, "benchmark")
    version = _version(out / PLAN)
    if version not in {None, SCHEMA_VERSION}:
        text = f"out={out} holds a benchmark of schema version {version}; this version of the package goes on with"
        raise ConfigError(f"{text} {SCHEMA_VERSION}. Name a new folder.")


def _version(plan: Path) -> object:
    """Return the schema version of a plan; None where there is none, or it is half written: it is written anew."""
    try:
        return json.loads(plan.read_text(encoding="utf-8"))["schema_version"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
