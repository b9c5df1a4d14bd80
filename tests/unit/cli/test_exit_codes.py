"""Which exception is the user's, which is ours, and what is said about it."""

from __future__ import annotations

import errno

import pytest

from yolo_stability.cli.exit_codes import classify_exception
from yolo_stability.core.errors import ConfigError, DataError, TraceError


def caught(error: BaseException, filename: str) -> BaseException:
    """Return the exception as raised by code of the given file."""
    code = compile("def f(error):\n    raise error\n", filename, "exec")
    scope: dict[str, object] = {}
    exec(code, scope)
    try:
        scope["f"](error)  # type: ignore[operator]
    except BaseException as raised:
        return raised
    raise AssertionError


class OutOfMemoryError(RuntimeError):
    """The name torch gives it."""


NO_ROOM = (
    "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate "
    "8 bytes. Error code 12 (Cannot allocate memory)"
)
THEIRS = "site-packages/ultralytics/engine/trainer.py"


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ConfigError("No such key"), 2, "No such key."),
        (DataError("Two\nlines."), 2, "Two lines."),
        (TraceError("Empty!"), 2, "Empty!"),
        (
            RuntimeError("Dataset 'x.yaml' error \N{CROSS MARK} images\nnot found"),
            2,
            "Dataset 'x.yaml' error",
        ),
        (
            ValueError("\x1b[34mtrain: \x1b[0mNo labels found in a. See"),
            2,
            "train: No labels found in a. Run 'yolo-stability",
        ),
        (FileNotFoundError("'x.pt' does not exist"), 2, "'x.pt' does not exist."),
        (PermissionError(errno.EACCES, "Permission denied", "runs"), 2, "Permission denied"),
        (
            PermissionError(errno.EACCES, "Permission denied", "runs"),
            2,
            "choose a writable one with project= (or out=",
        ),
        (
            NotADirectoryError(errno.ENOTDIR, "Not a directory", "a/run"),
            2,
            "Not a directory: 'a/run'. If this is the run folder",
        ),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "/proc/x"),
            2,
            "choose a writable one with project= (or out=",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "/x"),
            2,
            "Read-only file system: '/x'. If this is the run folder",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "Free some space"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/x"), 2, "Free some space"),
        (OSError(errno.EIO, "Input/output error"), 1, "Unexpected OSError: Input/output error."),
        (
            AssertionError("x.pt training to 9 epochs is finished, nothing to resume.\nStart"),
            2,
            "nothing to resume.",
        ),
        (ConnectionError("Download failure"), 2, "connect to the internet"),
        (OutOfMemoryError("CUDA out of memory"), 2, "Lower batch="),
        (MemoryError(), 2, "MemoryError. Lower batch= or imgsz=."),
        (
            RuntimeError(NO_ROOM),
            2,
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes. Lower",
        ),
        (
            OSError(errno.ENOMEM, "Cannot allocate memory"),
            2,
            "Cannot allocate memory. Lower batch= or imgsz=.",
        ),
        (
            ValueError("'lr0=nan' is an invalid value. Valid ones are"),
            2,
            "'lr0=nan' is an invalid value.",
        ),
        (
            ValueError("Bad 'device=7'. Use\nanother."),
            2,
            "Bad 'device=7'. device= takes cpu, mps, 0 or 0,1.",
        ),
        (NotImplementedError("Optimizer 'x' not found"), 2, "Optimizer 'x'"),
        (RuntimeError("Training failed: NaN persisted for 4 epochs"), 3, "The run diverged"),
        (
            RuntimeError("something else"),
            1,
            "Unexpected RuntimeError: something else. Please report this",
        ),
        (ValueError("too many values to unpack"), 1, "Unexpected ValueError"),
        (KeyError("x"), 1, "Unexpected KeyError: 'x'."),
        (AssertionError(), 1, "Unexpected AssertionError: AssertionError."),
        (KeyboardInterrupt(), 130, "Interrupted."),
        (BrokenPipeError(), 130, "Interrupted."),
    ],
)
def test_an_exception_becomes_a_code_and_one_line(
    error: BaseException, code: int, text: str
) -> None:
    failure = classify_exception(caught(error, THEIRS))
    assert failure.code == code
    assert text in failure.text
    assert "\n" not in failure.text


@pytest.mark.parametrize(
    "error", [FileNotFoundError("x"), ValueError("device"), NotImplementedError("Optimizer x")]
)
def test_the_same_from_our_code_is_ours(error: Exception) -> None:
    import yolo_stability.cli.exit_codes as here

    assert classify_exception(caught(error, here.__file__)).code == 1
    assert classify_exception(caught(error, "somewhere/else.py")).code == 1
