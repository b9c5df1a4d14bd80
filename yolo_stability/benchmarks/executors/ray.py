"""`executor=ray`: Ray Core, on this machine or, with `address=auto`, on a cluster whose nodes share the folder.

Every node must see the folder of the benchmark and the data under the same paths, and have this package installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from yolo_stability.benchmarks.executors import Executor
from yolo_stability.benchmarks.plan import RunOutcome, RunSpec
from yolo_stability.benchmarks.process.supervisor import supervise
from yolo_stability.core.errors import ConfigError, StabilityError

__all__ = ["RayExecutor"]


class RayExecutor(Executor):
    """A Ray task supervises each subprocess, one CPU each; so many tasks are in flight as `jobs` says."""

    def run(
        self, specs: Sequence[RunSpec], out: Path, on_start: Callable[[RunSpec], None]
    ) -> Iterator[tuple[RunSpec, RunOutcome]]:
        """Run all of them and yield each outcome as it comes."""
        ray = _connected(self.jobs, self.address)
        task = ray.remote(num_cpus=1, max_retries=0)(_supervise)
        waiting = list(specs)
        at_work: dict[Any, RunSpec] = {}
        try:
            while waiting or at_work:
                while waiting and len(at_work) < self.jobs:
                    spec = waiting.pop(0)
                    on_start(spec)
                    at_work[task.remote(spec.to_json(), str(out.resolve()))] = spec
                done, _ = ray.wait(list(at_work), num_returns=1)
                for reference in done:
                    spec = at_work.pop(reference)
                    yield spec, _outcome(ray, reference, spec)
        finally:
            for reference in at_work:
                ray.cancel(reference, force=True)
            ray.shutdown()


def _connected(jobs: int, address: str | None) -> Any:
    """Return Ray, started here or connected to a cluster."""
    try:
        import ray
    except ImportError:
        raise ConfigError(
            "executor=ray needs Ray: pip install 'yolo-stability[ray]', or leave executor out to run here."
        ) from None
    options: dict[str, Any] = {
        "include_dashboard": False,
        "logging_level": "ERROR",
        "log_to_driver": False,
    }
    try:
        if address is None:
            ray.init(num_cpus=jobs, **options)
        else:
            ray.init(address=address, logging_level="ERROR", log_to_driver=False)
    except (ConnectionError, RuntimeError) as error:
        text = (
            f"Ray cannot be reached at address={address}: {error}. Leave executor out to run here."
        )
        raise StabilityError(text) from None
    return ray


def _supervise(spec: dict[str, Any], out: str) -> RunOutcome:
    """Run one specification; this is what Ray sends to a node."""
    return supervise(RunSpec(**spec), Path(out))


def _outcome(ray: Any, reference: Any, spec: RunSpec) -> RunOutcome:
    """Return the outcome of a task, also of one whose node died."""
    try:
        outcome: RunOutcome = ray.get(reference)
    except ray.exceptions.RayError as error:
        return RunOutcome(
            digest=spec.digest, outcome="killed", error=f"Ray: {' '.join(str(error).split())[:200]}"
        )
    return outcome
