"""Ctrl-C and SIGTERM: one orderly end, that a second signal does not cut short."""

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
"""Seconds after an interrupt in which a further one only says that writing goes on."""
_SIGNALS: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)
_WAIT = b"\nyolo-stability: stopping; what was recorded is being written.\n"

Handler = Callable[[int, FrameType | None], Any] | int | None


@contextmanager
def orderly_interrupts(*, until_exit: bool = False) -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt as Ctrl-C does; for a process that is ours alone.

    The end that the first signal sets off takes a moment. An impatient second one (a user's, or a scheduler's that
    signals the group and then the process) would cut it short, so within `PATIENCE` it raises nothing.

    Args:
        until_exit: The process ends after this: once interrupted, later signals are ignored to its very end, so
            that they do not change the exit code while the interpreter shuts down.
    """
    if threading.current_thread() is not threading.main_thread():  # only there can handlers be set
        yield
        return
    owner, last = os.getpid(), -PATIENCE
    before: dict[int, Handler] = {}

    def interrupt(number: int, _: FrameType | None) -> None:
        nonlocal last
        if os.getpid() != owner:  # a forked data loader worker: as if we had never been here
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        now = time.monotonic()
        if now - last < PATIENCE:
            os.write(2, _WAIT)  # print() could be inside the very call that the signal interrupted
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
    """Hold interrupts back while something short is written that must not be half there; they follow afterwards.

    A signal that has no Python handler keeps its effect: a library does not decide about SIGTERM.
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
    """Return what `signal.signal` takes; a handler that C code had set cannot be put back."""
    return signal.SIG_DFL if handler is None else handler
