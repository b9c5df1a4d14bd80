"""`executor=ray`: Ray Core, on this machine or, with `address=auto`, on a cluster.

On every node this package must be installed, and the benchmark's folder and the datasets must have
the same paths.
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
    """Runs subprocesses, each supervised by a Ray task with one CPU; at most `jobs` in parallel."""

    def run(
        self, specs: Sequence[RunSpec], out: Path, on_start: Callable[[RunSpec], None]
    ) -> Iterator[tuple[RunSpec, RunOutcome]]:
        """Run all specifications and yield outcomes as runs end."""
        ray = _connected(self.jobs, self.address)
        task = ray.remote(num_cpus=1, max_retries=0)(_supervise)
        waiting = list(specs)
        active: dict[Any, RunSpec] = {}
        try:
            while waiting or active:
                while waiting and len(active) < self.jobs:
                    spec = waiting.pop(0)
                    on_start(spec)
                    active[task.remote(spec.to_json(), str(out.resolve()))] = spec
                done, _ = ray.wait(list(active), num_returns=1)
                for reference in done:
                    spec = active.pop(reference)
                    yield spec, _outcome(ray, reference, spec)
        finally:
            for reference in active:
                ray.cancel(reference, force=True)
            ray.shutdown()


def _connected(jobs: int, address: str | None) -> Any:
    """Return the Ray module, started locally or connected to a cluster."""
    try:
        import ray
    except ImportError:
        raise ConfigError(
            "executor=ray requires Ray: pip install 'yolo-stability[ray]', or omit executor to run "
            "locally."
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
        text = f"Ray cannot be reached at address={address}: {error}. Omit executor to run locally."
        raise StabilityError(text) from None
    return ray


def _supervise(spec: dict[str, Any], out: str) -> RunOutcome:
    """Run one specification; executed by Ray on a node."""
    return supervise(RunSpec(**spec), Path(out))


def _outcome(ray: Any, reference: Any, spec: RunSpec) -> RunOutcome:
    """Return the outcome of a task, `killed` if its node died."""
    try:
        outcome: RunOutcome = ray.get(reference)
    except ray.exceptions.RayError as error:
        return RunOutcome(
            digest=spec.digest, outcome="killed", error=f"Ray: {' '.join(str(error).split())[:200]}"
        )
    return outcome
