"""Maps exceptions to exit codes and one-line messages."""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass
from pathlib import Path

from yolo_stability.core.errors import StabilityError, printable

__all__ = [
    "BUG",
    "DONE",
    "INCONCLUSIVE",
    "INTERRUPTED",
    "UNSTABLE",
    "Failure",
    "classify_exception",
]

DONE, BUG, USER, UNSTABLE, INCONCLUSIVE, INTERRUPTED = 0, 1, 2, 3, 4, 130
_NOISE = r"^\[Errno \d+\] |^\[enforce fail at [^\]]*\] [^.]*\. "
ISSUES = (
    "Please report this with the command you ran and, if possible, the output with "
    "YOLO_STABILITY_DEBUG=1"
)

_SPACE = "Free some space, or choose another disk with project= (or out=, if the verb takes it)."
_SMALLER = "Lower batch= or imgsz=."
_ELSEWHERE = (
    "If this is the run folder, choose a writable one with project= (or out=, if the verb "
    "takes it)."
)

USER_ERRORS: tuple[tuple[str, str, bool, str], ...] = (
    # (class of the exception or a base, pattern in its text, only from Ultralytics, advice)
    ("RuntimeError", r"^Dataset '.*' error", False, ""),
    (
        "ValueError",
        r"No labels found",
        True,
        "Run 'yolo-stability data check' with the same dataset to see what is missing.",
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
    ("ConnectionError", r"", False, "Use a local file, or connect to the internet."),
    ("URLError", r"", False, "Use a local file, or connect to the internet."),
    ("OutOfMemoryError", r"", False, _SMALLER),
    ("MemoryError", r"", False, _SMALLER),
    ("RuntimeError", r"DefaultCPUAllocator: (can't allocate|not enough) memory", False, _SMALLER),
    # the exception class of OpenCV is called `error`
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
"""Exceptions caused by the user's data, files or hardware; all others are unexpected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Exit code and message of a failed command.

    Attributes:
        code: Exit code.
        text: The message, one line.
    """

    code: int
    text: str


def classify_exception(error: BaseException) -> Failure:
    """Classify an exception for the user.

    Args:
        error: The exception that a command raised.

    Returns:
        Exit code 2 for invalid input, 3 for a diverged run, 130 for an interrupt, and 1 for
        everything else, with a request to report it.

    Examples:
        >>> classify_exception(KeyboardInterrupt())
        Failure(code=130, text='Interrupted.')
    """
    if isinstance(error, KeyboardInterrupt | BrokenPipeError):
        return Failure(code=INTERRUPTED, text="Interrupted.")
    if isinstance(error, StabilityError):
        return Failure(code=USER, text=_one_line(error))
    if isinstance(error, RuntimeError) and "NaN persisted" in str(error):
        return Failure(
            code=UNSTABLE,
            text=f"The run diverged: {_one_line(error)} Train with guard=skip to skip such steps.",
        )
    advice = _advice_for(error)
    if advice is not None:
        text = _one_line(error)
        return Failure(
            code=USER, text=f"{text.split('. ')[0].rstrip('.')}. {advice}" if advice else text
        )
    return Failure(
        code=BUG, text=f"Unexpected {type(error).__name__}: {_one_line(error)} {ISSUES}."
    )


def _advice_for(error: BaseException) -> str | None:
    """Return the advice for an error caused by the user's input; None for an unexpected one."""
    names = {base.__name__ for base in type(error).__mro__}
    for name, pattern, from_ultralytics, advice in USER_ERRORS:
        if (
            name in names
            and re.search(pattern, str(error))
            and (_from_ultralytics(error) or not from_ultralytics)
        ):
            return advice
    return None


def _from_ultralytics(error: BaseException) -> bool:
    """Return whether the innermost frame of either package belongs to Ultralytics."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(Path(__file__).parents[1]):
            return False
        if "ultralytics" in path.parts:
            return True
    return False


def _one_line(error: BaseException) -> str:
    """Return the text of an error on one line, without errno and source locations of torch."""
    plain = re.sub(r"\x1b\[[\d;]*m", "", str(error))  # Ultralytics colors the names of splits
    text = printable(" ".join(re.sub(_NOISE, "", plain).split())) or type(error).__name__
    return text if text.endswith((".", "!", "?")) else f"{text}."
