"""The command line in a process of its own, with a log that knows nothing of the trace, and a moment to die at.

    python child.py LOG MOMENT train data=... model=...

LOG receives one line per optimizer step (from torch's own hook), and one when a phase begins and ends. MOMENT is
`never`, or `PHASE:N:DELAY`: SIGKILL to this very process DELAY seconds after PHASE began for the Nth time.
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
from typing import Any

LOG = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
PHASE, NTH, DELAY = [*sys.argv[2].split(":"), "0", "0"][:3]
BEGUN: Counter[str] = Counter()


def log(*words: object) -> None:
    os.write(LOG, f"{' '.join(map(str, words))} {time.time():.6f}\n".encode())


def die() -> None:
    time.sleep(float(DELAY))
    log("kill")
    os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def phase(name: str) -> Iterator[None]:
    log("begin", name)
    BEGUN[name] += 1
    if name == PHASE and BEGUN[name] == int(NTH):
        threading.Thread(target=die, daemon=True).start()
    yield
    log("end", name)


def within(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with phase(name):
            return function(*args, **kwargs)

    return wrapped


def watch_phases() -> None:
    """Log the phases of the package; torch tells the steps."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    from yolo_stability.guard import checkpoints
    from yolo_stability.trace.compaction import Compactor
    from yolo_stability.trace.writer import TraceWriter
    from yolo_stability.trainer import base_monitor as monitor
    from yolo_stability.trainer import mixin as seam

    steps = iter(range(10**9))
    register_optimizer_step_post_hook(lambda *_: log("step", next(steps)))
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
    begin = monitor.Monitor._start

    def start(self: Any, trainer: Any) -> None:
        begin(self, trainer)
        with phase("training"):
            pass

    monitor.Monitor._start = start  # type: ignore[method-assign]


if __name__ == "__main__":
    watch_phases()
    from yolo_stability.cli.main import main

    sys.argv = ["yolo-stability", *sys.argv[3:]]
    sys.exit(main())
