"""The exception that ended a run, and the user's own line nearest to it."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path, PurePath
from types import CodeType, FrameType, TracebackType

from yolo_stability.core.findings import RunException

__all__ = ["failure_of", "users_line"]

_INSTALLED = {"site-packages", "dist-packages"}
_FRAMEWORKS = ("torch", "torchvision", "ultralytics", "yolo_stability")
_LONGEST = 2000


def failure_of(error: BaseException) -> RunException:
    """Return type, message and place of an exception that is being handled.

    Example:
        >>> try:
        ...     int("many")
        ... except ValueError as error:
        ...     failure_of(error).type
        'ValueError'
    """
    return RunException(
        type=type(error).__name__, message=str(error)[:_LONGEST], where=users_line(error)
    )


def users_line(error: BaseException) -> str | None:
    """Return the line of the user's own code nearest to the place where an exception was raised.

    It is searched from there outwards: through the frames that the exception has left, then
    through those still on the stack, where a training script waits for `model.train`.

    Args:
        error: The exception.

    Returns:
        File name and line, such as `train.py:31`; None if only libraries took part.
    """
    for code, line in _outwards(error.__traceback__):
        if _is_users(code):
            return f"{PurePath(code.co_filename).name}:{line}"
    return None


def _outwards(trace: TracebackType | None) -> Iterator[tuple[CodeType, int]]:
    """Yield code and line of each frame, that of the exception first."""
    left: list[tuple[CodeType, int]] = []
    outer: FrameType | None = trace.tb_frame.f_back if trace is not None else None
    while trace is not None:
        left.append((trace.tb_frame.f_code, trace.tb_lineno))
        trace = trace.tb_next
    yield from reversed(left)
    while outer is not None:
        yield outer.f_code, outer.f_lineno
        outer = outer.f_back


def _is_users(code: CodeType) -> bool:
    """Return whether code belongs to the user: to no installed package, framework or command."""
    if code.co_filename.startswith("<"):  # generated code; the cell of a notebook has a file name
        return code.co_filename in {"<stdin>", "<string>"} and code.co_name == "<module>"
    path = Path(code.co_filename).resolve()
    return not (_INSTALLED & set(path.parts) or any(path.is_relative_to(f) for f in _folders()))


def _folders() -> Iterator[Path]:
    """Yield the folders whose code is not the user's: frameworks may be installed in place."""
    for name in ("stdlib", "platstdlib", "scripts"):
        yield Path(sysconfig.get_path(name)).resolve()
    for name in _FRAMEWORKS:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is not None:
            yield Path(file).resolve().parent
