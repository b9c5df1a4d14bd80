"""Keeps stdout free of library output and of terminal control characters."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from yolo_stability.core.errors import printable

__all__ = [
    "descriptor_to_stderr",
    "print_lines",
    "print_names",
    "print_result",
    "stdout_to_stderr",
]

_WIDTH = 80


class _Result(Protocol):
    """The common interface of the results of the API."""

    def to_json(self) -> dict[str, Any]: ...

    def lines(self) -> Iterable[str]: ...


def print_lines(lines: Iterable[str]) -> None:
    """Print lines that may contain names from untrusted files."""
    print("\n".join(printable(line) for line in lines))


def print_names(rows: Sequence[tuple[str, str]]) -> None:
    """Print names and their summaries, wrapped to 80 columns."""
    width = max([14, *(len(name) for name, _ in rows)])
    for name, summary in rows:
        first, *more = textwrap.wrap(summary, _WIDTH - width - 3, break_long_words=False) or [""]
        print(f"  {name:<{width}} {first}".rstrip())
        for line in more:
            print(f"{'':{width + 3}}{line}")


def print_result(result: _Result, *, as_json: bool) -> None:
    """Print the result of a command, as JSON or as text."""
    print_lines([json.dumps(result.to_json())] if as_json else result.lines())


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Redirect stdout to stderr, for Python, the Ultralytics logger, C code and child processes."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(descriptor_to_stderr())
        stack.enter_context(_logger_to_stderr("ultralytics"))
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


@contextlib.contextmanager
def descriptor_to_stderr() -> Iterator[None]:
    """Point file descriptor 1 at stderr, if there are descriptors."""
    try:
        out, err = sys.stdout.fileno(), sys.stderr.fileno()
    except (OSError, ValueError, AttributeError):
        # stdout has no descriptor, as in notebooks
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
    """Redirect the stdout handlers of a logger to stderr."""
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
