"""From an exception to an exit code and the one sentence that goes with it."""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass
from pathlib import Path

from yolo_stability.core.errors import StabilityError, printable

__all__ = ["BUG", "DONE", "INCONCLUSIVE", "INTERRUPTED", "UNSTABLE", "Failure", "judge"]

DONE, BUG, USER, UNSTABLE, INCONCLUSIVE, INTERRUPTED = 0, 1, 2, 3, 4, 130
_MACHINE_WORDS = r"^\[Errno \d+\] |^\[enforce fail at [^\]]*\] [^.]*\. "
ISSUES = "please report it with the command you ran and, if you can, the output under YOLO_STABILITY_DEBUG=1"

_SPACE = "Free some space, or choose another disk: project=, or out= where a verb takes that."
_SMALLER = "Lower batch= or imgsz=."
_ELSEWHERE = (
    "If the folder of the run is meant, choose one that can be written: project=, or out= where a "
    "verb takes that."
)

USERS_FAULT: tuple[tuple[str, str, bool, str], ...] = (
    # (name of the exception's class or of a base, pattern in its text, only when Ultralytics raised it, advice)
    ("RuntimeError", r"^Dataset '.*' error", False, ""),
    (
        "ValueError",
        r"No labels found",
        True,
        "'yolo-stability data check' with the same data= names what is missing.",
    ),
    (
        "OSError",
        r"^\[Errno \d+\] (No such file|Not a directory|File exists|Is a directory)",
        True,
        _ELSEWHERE,
    ),
    ("FileNotFoundError", r"", True, ""),
    ("PermissionError", r"", False, _ELSEWHERE),
    ("OSError", r"Read-only file system|File name too long", False, _ELSEWHERE),
    ("OSError", r"Disk quota exceeded", False, _SPACE),
    ("AssertionError", r"nothing to resume", True, ""),
    ("ConnectionError", r"", False, "Give a local file, or go online."),
    ("URLError", r"", False, "Give a local file, or go online."),
    ("OutOfMemoryError", r"", False, _SMALLER),
    ("MemoryError", r"", False, _SMALLER),
    ("RuntimeError", r"DefaultCPUAllocator: (can't allocate|not enough) memory", False, _SMALLER),
    # OpenCV's class has that name
    (
        "error",
        r"Insufficient memory|Failed to allocate",
        False,
        _SMALLER,
    ),
    ("OSError", r"Cannot allocate memory", False, _SMALLER),
    ("OSError", r"No space left on device", False, _SPACE),
    ("ValueError", r"is an invalid value", True, ""),
    ("ValueError", r"device", True, "device= takes cpu, mps, 0 or 0,1."),
    ("NotImplementedError", r"^Optimizer ", True, ""),
    ("RuntimeError", r"froze the entire model", True, ""),
    ("ValueError", r"^final batch=1 training", True, ""),
    ("TypeError", r"not a loadable checkpoint", True, ""),
)
"""What is raised for the user's data, files and hardware; anything else is unexpected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How a command ends after an exception.

    Attributes:
        code: Exit code.
        text: What the user reads.
    """

    code: int
    text: str


def judge(error: BaseException) -> Failure:
    """Decide what an exception means for the user.

    Args:
        error: What a command raised.

    Returns:
        Exit code 2 for the user's own input, 3 for a run that diverged, 130 for an interrupt, and 1 for
        everything else, with a request to report it.
    """
    if isinstance(error, KeyboardInterrupt | BrokenPipeError):
        return Failure(code=INTERRUPTED, text="Interrupted.")
    if isinstance(error, StabilityError):
        return Failure(code=USER, text=_one_line(error))
    if isinstance(error, RuntimeError) and "NaN persisted" in str(error):
        return Failure(
            code=UNSTABLE,
            text=f"The run diverged: {_one_line(error)} guard=skip keeps such runs alive.",
        )
    advice = _users_fault(error)
    if advice is not None:
        text = _one_line(error)
        return Failure(
            code=USER, text=f"{text.split('. ')[0].rstrip('.')}. {advice}" if advice else text
        )
    return Failure(
        code=BUG, text=f"Unexpected {type(error).__name__}: {_one_line(error)} - {ISSUES}."
    )


def _users_fault(error: BaseException) -> str | None:
    """Return the advice for an error that the user's input caused, or None when it is nobody's but ours."""
    names = {base.__name__ for base in type(error).__mro__}
    for name, pattern, from_ultralytics, advice in USERS_FAULT:
        if (
            name in names
            and re.search(pattern, str(error))
            and (_is_theirs(error) or not from_ultralytics)
        ):
            return advice
    return None


def _is_theirs(error: BaseException) -> bool:
    """Tell whether Ultralytics stands nearer to the place of an exception than this package."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(Path(__file__).parents[1]):
            return False
        if "ultralytics" in path.parts:
            return True
    return False


def _one_line(error: BaseException) -> str:
    """Return the text of an error on one line, without the number of the system's or the place in torch's source."""
    plain = re.sub(r"\x1b\[[\d;]*m", "", str(error))  # Ultralytics colours the names of splits
    text = printable(" ".join(re.sub(_MACHINE_WORDS, "", plain).split())) or type(error).__name__
    return text if text.endswith((".", "!", "?")) else f"{text}."
