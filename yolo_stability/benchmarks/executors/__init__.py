"""Executors: where the runs of a benchmark happen. Each is one file and yields outcomes in any order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from yolo_stability.benchmarks.plan import RunOutcome, RunSpec
from yolo_stability.core.errors import ConfigError
from yolo_stability.core.registry import Registry

__all__ = ["EXECUTORS", "Executor", "make_executor"]


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


def make_executor(name: str, *, jobs: int = 1, address: str | None = None) -> Executor:
    """Return the executor that a user has named.

    Args:
        name: Name of the executor.
        jobs: Runs at once.
        address: Cluster, for executors that know one.

    Raises:
        ConfigError: There is no such executor, or it cannot be asked for this.
    """
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise ConfigError(f"jobs={jobs} is not possible: jobs is a whole number, 1 or more.")
    EXECUTORS.check(str(name), f"executor={name}")
    if address is not None and name == "local":
        raise ConfigError(
            f"address={address} is for a cluster: write executor=ray with it, or leave it out."
        )
    return EXECUTORS[name](jobs=jobs, address=address)
