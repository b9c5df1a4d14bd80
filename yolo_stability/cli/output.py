"""Keeping stdout clean: of what a library prints to it, and of what would command the terminal."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from yolo_stability.core.errors import printable

__all__ = ["descriptor_to_stderr", "stdout_to_stderr", "tell", "tell_result"]


class _Result(Protocol):
    """What most functions of the API return."""

    def to_json(self) -> dict[str, Any]: ...

    def lines(self) -> Iterable[str]: ...


def tell(lines: Iterable[str]) -> None:
    """Print lines that may hold names from files of others."""
    print("\n".join(printable(line) for line in lines))


def tell_result(result: _Result, *, as_json: bool) -> None:
    """Print what a command found, as JSON or in lines."""
    tell([json.dumps(result.to_json())] if as_json else result.lines())


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send to stderr what is printed to stdout: by Python, by Ultralytics' logger, by C code and by child processes."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(descriptor_to_stderr())
        stack.enter_context(_logger_to_stderr("ultralytics"))
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


@contextlib.contextmanager
def descriptor_to_stderr() -> Iterator[None]:
    """Point file descriptor 1 at stderr, where there are descriptors."""
    try:
        out, err = sys.stdout.fileno(), sys.stderr.fileno()
    except (OSError, ValueError, AttributeError):
        # replaced by an object without a descriptor, as in notebooks
        yield
        return
    sys.stdout.flush()
    kept = os.dup(out)
    os.dup2(err, out)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, out)
        os.close(kept)


@contextlib.contextmanager
def _logger_to_stderr(name: str) -> Iterator[None]:
    """Point the handlers of a logger that write to stdout at stderr."""
    stdout = sys.stdout
    moved = [
        handler
        for handler in logging.getLogger(name).handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is stdout
    ]
    for handler in moved:
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler in moved:
            handler.setStream(stdout)
