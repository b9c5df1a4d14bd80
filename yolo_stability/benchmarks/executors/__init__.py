"""Executors: where the runs of a benchmark happen. Each is one file and yields outcomes in any order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from yolo_stability.benchmarks.plan import RunOutcome, RunSpec
from yolo_stability.core.registry import Registry

__all__ = ["EXECUTORS", "Executor"]


class Executor(ABC):
    """Runs specifications, each in a process of its own; one that dies never takes another with it.

    Args:
        jobs: Runs at once.
        address: Cluster, for executors that know one.
    """

    def __init__(self, *, jobs: int, address: str | None = None) -> None:
        self.jobs, self.address = jobs, address

    @abstractmethod
    def run(
        self, specs: Sequence[RunSpec], out: Path, on_start: Callable[[RunSpec], None]
    ) -> Iterator[tuple[RunSpec, RunOutcome]]:
        """Run all of them and yield each outcome as it comes; closing the iterator ends what still runs.

        Args:
            specs: What to run.
            out: Folder of the benchmark.
            on_start: Called when a run starts.
        """


EXECUTORS: Registry[Executor] = Registry(
    "executor", "yolo_stability.benchmarks.executors", f"{__name__}.Executor"
)
