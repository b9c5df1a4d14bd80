"""Orderly shutdown on Ctrl-C and SIGTERM, which a second signal does not cut short."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["PATIENCE", "orderly_interrupts", "shielded"]

PATIENCE = 10.0
"""Seconds after an interrupt in which a second one only prints a notice."""
_SIGNALS: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)
_WAIT = b"\nyolo-stability: stopping; recorded data is being written.\n"

Handler = Callable[[int, FrameType | None], Any] | int | None


@contextmanager
def orderly_interrupts(*, until_exit: bool = False) -> Iterator[None]:
    """Make SIGTERM raise KeyboardInterrupt as Ctrl-C does; for a process of our own.

    The shutdown after the first signal takes a moment. A second one (from an impatient user, or
    from a scheduler that signals the group and then the process) would cut it short, so within
    `PATIENCE` seconds it raises nothing.

    Args:
        until_exit: The process ends after this block: once interrupted, ignore later signals until
            exit, so that they cannot change the exit code while the interpreter shuts down.
    """
    if threading.current_thread() is not threading.main_thread():  # others cannot set handlers
        yield
        return
    owner, last = os.getpid(), -PATIENCE
    before: dict[int, Handler] = {}

    def interrupt(number: int, _: FrameType | None) -> None:
        nonlocal last
        if os.getpid() != owner:  # a forked data loader worker keeps the default behavior
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        now = time.monotonic()
        if now - last < PATIENCE:
            os.write(2, _WAIT)  # print() is not reentrant: the signal may have interrupted it
            return
        last = now
        raise KeyboardInterrupt

    for number in _SIGNALS:
        before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        ignore = until_exit and last > 0
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if ignore else _or_default(handler))


@contextmanager
def shielded() -> Iterator[None]:
    """Delay interrupts during a short write that must not be left half done.

    A signal without a Python handler keeps its effect: a library does not decide about SIGTERM.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[tuple[int, FrameType | None]] = []
    before: dict[int, Callable[[int, FrameType | None], Any]] = {}
    for number in _SIGNALS:
        handler = signal.getsignal(number)
        if callable(handler):
            before[number] = handler
            signal.signal(number, lambda n, frame: held.append((n, frame)))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number, frame in held[:1]:
            before[number](number, frame)


def _or_default(handler: Handler) -> Any:
    """Return a valid argument of `signal.signal`; a handler set by C code cannot be restored."""
    return signal.SIG_DFL if handler is None else handler
