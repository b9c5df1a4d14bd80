"""Executors run the specifications of a benchmark, locally or on a cluster; one module each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from yolo_stability.benchmarks.plan import RunOutcome, RunSpec
from yolo_stability.core.errors import ConfigError
from yolo_stability.core.registry import Registry

__all__ = ["EXECUTORS", "Executor", "make_executor"]


class Executor(ABC):
    """Base class of all executors; runs each specification in a separate process.

    A run that crashes must not affect other runs.

    Args:
        jobs: Number of runs in parallel.
        address: Address of a cluster, for executors that support one.

    Example:
        >>> class DryRun(Executor):
        ...     def run(self, specs, out, on_start):
        ...         for spec in specs:
        ...             on_start(spec)
        ...             yield spec, RunOutcome(digest=spec.digest, outcome="finished")
        >>> spec = RunSpec(
        ...     arm="control", task="detect", model="yolo26n.yaml", seed=0, settings={},
        ...     minutes=1.0, gigabytes=1.0, zero_loss_steps=16, digest="0",
        ... )
        >>> runs = DryRun(jobs=1).run([spec], Path("out"), lambda spec: print(spec.title))
        >>> [outcome.outcome for _, outcome in runs]
        control, detect, seed 0
        ['finished']
    """

    def __init__(self, *, jobs: int, address: str | None = None) -> None:
        self.jobs, self.address = jobs, address

    @abstractmethod
    def run(
        self, specs: Sequence[RunSpec], out: Path, on_start: Callable[[RunSpec], None]
    ) -> Iterator[tuple[RunSpec, RunOutcome]]:
        """Run all specifications and yield outcomes as runs end, in any order.

        Closing the iterator ends the runs that are still active.

        Args:
            specs: Specifications to run.
            out: Folder of the benchmark.
            on_start: Called when a run starts.
        """


EXECUTORS: Registry[Executor] = Registry(
    "executor", "yolo_stability.benchmarks.executors", f"{__name__}.Executor"
)


def make_executor(name: str, *, jobs: int = 1, address: str | None = None) -> Executor:
    """Return an executor by name.

    Args:
        name: Name of the executor.
        jobs: Number of runs in parallel.
        address: Address of a cluster, for executors that support one.

    Raises:
        ConfigError: The executor does not exist, or does not support the arguments.
    """
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise ConfigError(f"Invalid value jobs={jobs}: expected a whole number, 1 or more.")
    EXECUTORS.check(str(name), f"executor={name}")
    if address is not None and name == "local":
        raise ConfigError(
            f"address={address} requires a cluster executor: add executor=ray or omit address."
        )
    return EXECUTORS[name](jobs=jobs, address=address)
