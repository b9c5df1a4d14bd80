"""Run-folder lock: a file that a second run checks and that a killed run cannot leave behind.

Not an OS file lock: data loader workers would inherit it, outlive a killed run and block its
resume.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

from yolo_stability.core.errors import StabilityError

__all__ = ["LOCK_FILE", "is_locked", "lock_folder", "unlock_folder"]

LOCK_FILE = "running.json"
_PROC = Path("/proc")
_WRITING_SECONDS = 0.05


def lock_folder(folder: Path, shown: Path | None = None, option: str = "name") -> str | None:
    """Mark a folder as in use by this process; repeated calls of one process have no effect.

    Args:
        folder: Folder of the lock file: a `stability/` folder, or a folder of many runs; created if
            possible.
        shown: Folder named in messages; by default the parent, the run folder that holds
            `stability/`.
        option: Option with which the user chooses another folder.

    Returns:
        A warning when a run on another machine may be using the folder, which cannot be checked;
        else None. Where nothing can be written, there is no lock: telemetry never stops a training.

    Raises:
        StabilityError: Another live process of this machine is training in the folder.
    """
    path, mine, note, shown = folder / LOCK_FILE, _identity(), None, shown or folder.parent
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        for _ in range(3):
            with contextlib.suppress(FileExistsError), path.open("x", encoding="utf-8") as file:
                json.dump(mine, file)
                atexit.register(unlock_folder, folder)
                return note
            other = _read(path)
            if _same(other, mine):
                return None
            if _alive(other):
                raise StabilityError(
                    f"Another run (process {other['pid']}, since {other.get('since')}) is training "
                    f"in '{shown}': wait until it ends, or choose another {option}=."
                )
            if other.get("host") not in {None, mine["host"]}:
                note = (
                    f"'{shown}' was last used by process {other.get('pid')} on {other['host']}: "
                    "if that process is still training there, the runs will overwrite each other"
                )
            path.unlink(missing_ok=True)
    return note


def is_locked(folder: Path) -> bool:
    """Return whether a live process of this machine is using a folder.

    Args:
        folder: Folder of the lock file, as for `lock_folder`.
    """
    return (folder / LOCK_FILE).is_file() and _alive(_read(folder / LOCK_FILE))


def unlock_folder(folder: Path) -> None:
    """Remove the lock file if this process created it."""
    path = folder / LOCK_FILE
    with contextlib.suppress(OSError):
        if _same(_read(path), _identity()):
            path.unlink(missing_ok=True)


def _identity() -> dict[str, Any]:
    """Return what identifies this process, even against a later one with the same number."""
    boot = ""
    with contextlib.suppress(OSError):
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    pid = os.getpid()
    born = (_state(pid) or ("", ""))[1]
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return {"host": platform.node(), "boot": boot, "pid": pid, "born": born, "since": since}


def _read(path: Path) -> dict[str, Any]:
    """Return the content of a lock file; an empty mapping if it is truncated."""
    for _ in range(2):
        with contextlib.suppress(OSError, ValueError, RecursionError):
            note = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(note, dict):
                return note
        time.sleep(_WRITING_SECONDS)  # another process may be writing it
    return {}


def _same(other: dict[str, Any], mine: dict[str, Any]) -> bool:
    return all(other.get(key) == mine[key] for key in ("host", "boot", "pid", "born"))


def _alive(other: dict[str, Any]) -> bool:
    """Return whether the process of a lock file runs on this machine; a zombie does not count."""
    pid, mine = other.get("pid"), _identity()
    here = other.get("host") == mine["host"] and other.get("boot") == mine["boot"]
    if not here or not isinstance(pid, int) or isinstance(pid, bool) or pid <= 0:
        return False
    state = _state(pid)
    return state is not None and state[0] not in {"Z", "X"} and state[1] == other.get("born")


def _state(pid: int) -> tuple[str, str] | None:
    """Return state and start time of a process; None if it does not exist.

    With /proc the time is in ticks since boot; without it (macOS, Windows) in seconds since 1970.
    """
    if not (_PROC / "self").exists():
        return _state_from_psutil(pid)
    try:
        fields = (
            (_PROC / str(pid) / "stat")
            .read_text(encoding="utf-8", errors="replace")
            .rpartition(")")[2]
            .split()
        )
        return fields[0], fields[19]
    except (OSError, IndexError):
        return None


def _state_from_psutil(pid: int) -> tuple[str, str] | None:
    """Return the same as `_state`, on systems without /proc."""
    import psutil  # type: ignore[import-untyped]  # imported here: Linux does not need it

    try:
        process = psutil.Process(pid)
        state = "Z" if process.status() == psutil.STATUS_ZOMBIE else "S"
        return state, f"{process.create_time():.2f}"
    except (psutil.Error, OverflowError):
        return None
