"""Who trains in a run folder: a note that a second run reads, and that a killed run cannot leave in the way.

Not a file lock: data loader workers would inherit it, outlive a killed run and block its resume.
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

__all__ = ["LOCK_FILE", "lock_folder", "unlock_folder"]

LOCK_FILE = "running.json"
_PROC = Path("/proc")
_WRITING_SECONDS = 0.05


def lock_folder(folder: Path, shown: Path | None = None, option: str = "name") -> str | None:
    """Note that this process trains here; again in the same process does no harm.

    Args:
        folder: Where the note lies: a `stability/` folder, or that of many runs; created if it can be.
        shown: The folder as its user knows it; the one above by default, since `stability/` lies in the run folder.
        option: What the user chooses another folder with.

    Returns:
        A warning when a run on another machine may be training here, which cannot be known; else None. Where nothing
        can be written there is no note either: telemetry never stops a training.

    Raises:
        StabilityError: Another process of this machine trains here and is alive.
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
                    f"Another run (process {other['pid']}, since {other.get('since')}) is training in "
                    f"'{shown}': wait until it ends, or choose another {option}=."
                )
            if other.get("host") not in {None, mine["host"]}:
                note = (
                    f"'{shown}' was last in use by process {other.get('pid')} on {other['host']}: "
                    "if that one still trains there, the two will overwrite each other"
                )
            path.unlink(missing_ok=True)
    return note


def unlock_folder(folder: Path) -> None:
    """Take the note away, if it is this process'."""
    path = folder / LOCK_FILE
    with contextlib.suppress(OSError):
        if _same(_read(path), _identity()):
            path.unlink(missing_ok=True)


def _identity() -> dict[str, Any]:
    """Return what tells this process from all others, also from a later one with the same number."""
    boot = ""
    with contextlib.suppress(OSError):
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    pid = os.getpid()
    born = (_state(pid) or ("", ""))[1]
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return {"host": platform.node(), "boot": boot, "pid": pid, "born": born, "since": since}


def _read(path: Path) -> dict[str, Any]:
    """Return a note; an empty mapping for one that a kill cut short."""
    for _ in range(2):
        with contextlib.suppress(OSError, ValueError, RecursionError):
            note = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(note, dict):
                return note
        time.sleep(_WRITING_SECONDS)  # its writer may be at it
    return {}


def _same(other: dict[str, Any], mine: dict[str, Any]) -> bool:
    return all(other.get(key) == mine[key] for key in ("host", "boot", "pid", "born"))


def _alive(other: dict[str, Any]) -> bool:
    """Tell whether the process of a note runs on this machine; a zombie does not."""
    pid, mine = other.get("pid"), _identity()
    here = other.get("host") == mine["host"] and other.get("boot") == mine["boot"]
    if not here or not isinstance(pid, int) or isinstance(pid, bool) or pid <= 0:
        return False
    state = _state(pid)
    return state is not None and state[0] not in {"Z", "X"} and state[1] == other.get("born")


def _state(pid: int) -> tuple[str, str] | None:
    """Return state and start time of a process; None where there is none.

    From /proc the time is in ticks since boot; on macOS and Windows, which have none, it is a date in seconds.
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
    """Return the same as `_state`, where there is no /proc."""
    import psutil  # type: ignore[import-untyped]  # here, since Linux does without

    try:
        process = psutil.Process(pid)
        state = "Z" if process.status() == psutil.STATUS_ZOMBIE else "S"
        return state, f"{process.create_time():.2f}"
    except (psutil.Error, OverflowError):
        return None
