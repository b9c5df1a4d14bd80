"""`executor=local`: parallel subprocesses on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Event

from yolo_stability.benchmarks.executors import Executor
from yolo_stability.benchmarks.plan import RunOutcome, RunSpec
from yolo_stability.benchmarks.process.supervisor import shared_imports, supervise

__all__ = ["LocalExecutor"]


class LocalExecutor(Executor):
    """Runs subprocesses, each supervised by a thread."""

    def run(
        self, specs: Sequence[RunSpec], out: Path, on_start: Callable[[RunSpec], None]
    ) -> Iterator[tuple[RunSpec, RunOutcome]]:
        """Run all specifications and yield outcomes as runs end."""
        stopping = Event()

        def one(spec: RunSpec) -> RunOutcome:
            if stopping.is_set():
                return RunOutcome(digest=spec.digest, outcome="killed")
            on_start(spec)
            return supervise(spec, out, stopping.is_set, fork_server)

        with shared_imports() as fork_server, ThreadPoolExecutor(self.jobs) as pool:
            futures: dict[Future[RunOutcome], RunSpec] = {
                pool.submit(one, spec): spec for spec in specs
            }
            try:
                waiting = set(futures)
                while waiting:
                    done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield futures[future], future.result()
            finally:
                stopping.set()  # after Ctrl-C, or when the iterator is closed
