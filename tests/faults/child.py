"""The command line in a separate process, with an independent log and a moment to die at.

Imported once by a process that forks the children. The log receives one line per optimizer step
(from torch's own hook), and one when a phase begins and ends. The moment is `never`, or
`PHASE:N:DELAY`: SIGKILL to this very process DELAY seconds after PHASE began for the Nth time, or
when the command ends if that is earlier. An optimizer step is a phase, too: `step`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch._inductor.standalone_compile
import torch.distributed.fsdp  # noqa: F401
import torchvision  # noqa: F401 - these imports, once for all children, save half of a training
import ultralytics.models.yolo  # noqa: F401
from torch.optim.optimizer import register_optimizer_step_post_hook

import yolo_stability.api
import yolo_stability.diagnosis.rules  # noqa: F401
from yolo_stability.cli.main import main
from yolo_stability.guard import checkpoints
from yolo_stability.trace.compaction import Compactor
from yolo_stability.trace.writer import TraceWriter
from yolo_stability.trainer import base_monitor as monitor
from yolo_stability.trainer import mixin as seam


class Moment:
    """When this process dies: set before anything runs."""

    log = -1
    phase, nth, delay = "never", 0, 0.0
    begun: ClassVar[Counter[str]] = Counter()
    over = threading.Event()
    killer: threading.Thread | None = None


def log(*words: object) -> None:
    os.write(Moment.log, f"{' '.join(map(str, words))} {time.time():.6f}\n".encode())


def die() -> None:
    Moment.over.wait(Moment.delay)
    log("kill")
    os.kill(os.getpid(), signal.SIGKILL)


def begin(name: str) -> None:
    """Count a phase that begins, and start the killer if it is the one to die in."""
    Moment.begun[name] += 1
    if (name, Moment.begun[name]) == (Moment.phase, Moment.nth):
        Moment.killer = threading.Thread(target=die, daemon=True)
        Moment.killer.start()


@contextlib.contextmanager
def phase(name: str) -> Iterator[None]:
    log("begin", name)
    begin(name)
    yield
    log("end", name)


def within(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with phase(name):
            return function(*args, **kwargs)

    return wrapped


def watch_phases() -> None:
    """Log the phases of the package; torch tells the steps."""
    steps = iter(range(10**9))

    def step(*_: object) -> None:
        log("step", next(steps))
        begin("step")

    register_optimizer_step_post_hook(step)
    stock = seam.atomic_checkpoints

    @contextlib.contextmanager
    def atomic(trainer: Any, *, copy: bool = False) -> Iterator[None]:
        with phase("final" if copy else "checkpoint"), stock(trainer, copy=copy):
            yield

    seam.atomic_checkpoints = atomic  # type: ignore[assignment]
    checkpoints._copy = within("healthy", checkpoints._copy)
    TraceWriter._write = within("flush", TraceWriter._write)  # type: ignore[method-assign]
    TraceWriter.write_header = within("header", TraceWriter.write_header)  # type: ignore[method-assign]
    TraceWriter.close = within("close", TraceWriter.close)  # type: ignore[method-assign]
    Compactor.merge = within("merge", Compactor.merge)  # type: ignore[method-assign]
    stock_start = monitor.Monitor._start

    def start(self: Any, trainer: Any) -> None:
        stock_start(self, trainer)
        with phase("training"):
            pass

    monitor.Monitor._start = start  # type: ignore[method-assign]


def run(log: str, said: str, folder: str, moment: str, words: list[str]) -> None:
    """Be the command line from here on.

    Args:
        log, said: Paths of the log and of what is printed.
        folder: Where to work.
        moment: `never`, or when to die.
        words: The command line.
    """
    out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(out, descriptor)
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    Moment.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    phase, nth, delay = [*moment.split(":"), "0", "0"][:3]
    Moment.phase, Moment.nth, Moment.delay = phase, int(nth), float(delay)
    watch_phases()
    sys.argv = ["yolo-stability", *words]
    code = main()
    if Moment.killer is not None:
        Moment.over.set()
        Moment.killer.join()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the command has ended; a late signal is not for it
    sys.exit(code)
