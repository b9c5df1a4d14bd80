"""Location of a run's trace, the error when there is none, and removal of an old one."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from yolo_stability.core.errors import TraceError
from yolo_stability.core.suggestions import nearest
from yolo_stability.trace.layout import EPOCHS, EVENTS, FOLDER, HEADER, PARTS, list_parts

__all__ = ["clear_trace", "error_line", "find_trace"]

_OURS = (
    HEADER,
    EVENTS,
    EPOCHS,
    "diagnosis.json",
    "healthy.pt",
    ".healthy-candidate.pt",
    "gradient_norms.png",
    "report.html",
)
_INCIDENT = re.compile(r"\.?step-\d+(-rank\d+)?(\.tmp)?")


def find_trace(path: str | Path) -> Path:
    """Return the `stability/` folder that belongs to `path`.

    Args:
        path: A run folder or its `stability/` folder.

    Raises:
        TraceError: There is no trace; the message names nearby runs that have one.
    """
    try:
        return _find(Path(path).expanduser())
    except (OSError, RuntimeError, ValueError) as e:
        # an overlong name, `~nobody`, a folder without read permission
        raise TraceError(f"'{path}' cannot be accessed: {error_line(e)}.") from e


def _find(path: Path) -> Path:
    """Return the folder with a header; raise an error that describes what is there instead."""
    for folder in (path / FOLDER, path):
        if (folder / HEADER).is_file():
            return folder
    for folder in (path / FOLDER, path):
        if (
            (folder / PARTS).is_dir()
            or (folder / EVENTS).is_file()
            or (folder.is_dir() and folder.name == FOLDER)
        ):
            raise TraceError(
                f"'{folder}' has no {HEADER}: the run was killed during startup, or the file was "
                f"removed.{_neighbors(path)} Start the run again."
            )
    what = "is not a run with a trace" if path.exists() else "does not exist"
    neighbors = _neighbors(path)
    advice = "" if neighbors else f" `yolo-stability train` writes one to <run folder>/{FOLDER}/."
    raise TraceError(f"'{path}' {what} (looked for {FOLDER}/{HEADER}).{neighbors}{advice}")


def clear_trace(folder: str | Path, option: str = "name") -> None:
    """Remove an old trace from a `stability/` folder: only files of this package, header first.

    Args:
        folder: The `stability/` folder.
        option: Option with which the user chooses another folder.

    Raises:
        TraceError: A file cannot be removed.
    """
    folder = Path(folder)
    try:
        for file in _our_files(folder):
            # on a read-only disk, removing a missing file is an error too
            if os.path.lexists(file):
                file.unlink(missing_ok=True)
        for incident in _entries(folder / "incidents"):
            if (
                _INCIDENT.fullmatch(incident.name)
                and incident.is_dir()
                and not incident.is_symlink()
            ):
                shutil.rmtree(incident)
        for directory in (folder / "incidents", folder / PARTS, folder):
            with suppress(OSError):  # holds other files, or does not exist
                directory.rmdir()
    except OSError as e:
        raise TraceError(
            f"The old trace in '{folder}' cannot be removed ({e.strerror}): choose another "
            f"`{option}=`, or remove it."
        ) from e


def _our_files(folder: Path) -> Iterator[Path]:
    yield from (folder / name for name in _OURS)
    for table in ("steps", "blocks"):
        yield from (part.path for part in list_parts(folder, table))
    for directory in (folder, folder / PARTS):
        yield from (
            f for f in _entries(directory) if f.name.startswith(".") and f.name.endswith(".tmp")
        )


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _neighbors(path: Path) -> str:
    """Return a hint with runs that have a trace inside, beside or above `path`."""
    found: dict[str, None] = {}
    for place in (path, path.parent, path.parent.parent):
        with suppress(OSError):
            candidates = [place, *sorted(place.iterdir())] if place.is_dir() else []
            for run in candidates:
                if (run / FOLDER / HEADER).is_file():
                    found[str(run)] = None
    if not found:
        return ""
    hint = nearest(str(path), found)
    more = ", ".join(f"'{run}'" for run in list(found)[:3])
    return hint or f" Runs with a trace nearby: {more}."


def error_line(error: BaseException) -> str:
    """Return the first line of an error without its full stop, for use inside a sentence."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
