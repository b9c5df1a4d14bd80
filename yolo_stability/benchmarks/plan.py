"""Plan of a benchmark: one specification per run, fixed in advance; standard library only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from yolo_stability.core.errors import ConfigError
from yolo_stability.core.files import replace_file
from yolo_stability.trace.layout import SCHEMA_VERSION

__all__ = ["OUTCOME", "PLAN", "PLAN_VERSION", "RunOutcome", "RunSpec", "run_digest"]

PLAN, OUTCOME = "plan.json", "run.json"
PLAN_VERSION = 1
_SEPARATORS = frozenset("/\\\0")

# Final outcomes. A run killed from outside is no result of its arm and is repeated.
FINISHED = ("finished", "stopped", "crashed", "timeout", "memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """Complete specification of one run.

    Attributes:
        arm: Name of the arm.
        task: detect or pose.
        model: Model, such as `yolo26n.yaml`.
        seed: Random seed.
        settings: Ultralytics arguments and yolo_stability options, including `model`, `data` and
            `seed`.
        minutes: Time limit in minutes of wall time.
        gigabytes: Limit of resident memory in GB.
        zero_loss_steps: Consecutive batches with a loss of exactly 0 after which the run stops at
            the end of the epoch.
        digest: Hash of everything that determines the result.
        trace: Version of the trace that is recorded; plans of before do not name it.
    """

    arm: str
    task: str
    model: str
    seed: int
    settings: Mapping[str, Any]
    minutes: float
    gigabytes: float
    zero_loss_steps: int
    digest: str
    trace: int = 1

    def __post_init__(self) -> None:
        """Reject names that lead out of the benchmark's folder.

        A plan may come from an untrusted source, and a run deletes its folder before it starts.

        Raises:
            ConfigError: A field has the wrong type, or a part of the folder is not a valid name.
        """
        texts = all(
            isinstance(text, str) for text in (self.arm, self.task, self.model, self.digest)
        )
        if not (texts and isinstance(self.seed, int) and isinstance(self.settings, Mapping)):
            raise ConfigError(
                "The plan contains a run whose arm, task, model, seed, settings or digest has the "
                "wrong type."
            )
        if self.trace not in range(1, SCHEMA_VERSION + 1):
            raise ConfigError(
                f"The plan contains a run with a trace of version {str(self.trace)[:20]}; this "
                f"version of the package records versions 1 to {SCHEMA_VERSION}."
            )
        arm = self.arm.split("/")  # in a frontier: the setting, then the value on the axis
        for part in (*arm, self.task, Path(self.model).stem):
            if part in {"", ".", ".."} or _SEPARATORS & set(part) or not part.isprintable():
                raise ConfigError(
                    f"The plan contains a run named {str(part)[:80]!r}, "
                    "which is not a valid folder name."
                )

    @property
    def folder(self) -> Path:
        """Run folder, relative to the benchmark's folder."""
        return Path("runs") / self.arm / self.task / Path(self.model).stem / str(self.seed)

    @property
    def place(self) -> str:
        """Run folder as stored in files, with forward slashes on every system."""
        return self.folder.as_posix()

    @property
    def title(self) -> str:
        """Display name of the run."""
        return f"{self.arm}, {self.task}, seed {self.seed}"

    def to_json(self) -> dict[str, Any]:
        """Return the specification as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """Outcome of a run, as recorded by its supervisor.

    Attributes:
        digest: Digest of the run's specification.
        outcome: finished, stopped, crashed, timeout, memory or killed.
        stopped: Reason why a rule of the suite, the guard, `fail_on` or a rescue ended the run;
            None otherwise.
        error: Last line of output of a run that died.
        metrics: Final metrics by name.
        seconds: Durations `startup`, `steps` and `total`, in seconds.
        planned_steps: Planned number of optimizer steps, if known.
        gigabytes: Peak resident memory in GB.
    """

    digest: str
    outcome: str
    stopped: str | None = None
    error: str | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    planned_steps: int | None = None
    gigabytes: float | None = None

    @property
    def is_final(self) -> bool:
        """Whether the outcome is a result; that of a killed run is not."""
        return self.outcome in FINISHED

    def write(self, folder: Path) -> None:
        """Write the outcome to its run folder, atomically."""
        text = json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"
        replace_file(folder / OUTCOME, text.encode())

    @classmethod
    def read(cls, folder: Path) -> RunOutcome | None:
        """Return the outcome stored in a run folder; None if it is missing or invalid."""
        try:
            found = cls(**json.loads((folder / OUTCOME).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        return found if found._has_valid_types() else None

    def _has_valid_types(self) -> bool:
        """Return whether all fields have valid types; the file may be from an untrusted source."""
        texts = (self.digest, self.outcome, self.stopped or "", self.error or "")
        tables = [table for table in (self.metrics, self.seconds) if isinstance(table, dict)]
        numbers = [
            self.planned_steps,
            self.gigabytes,
            *(n for table in tables for n in table.values()),
        ]
        return (
            len(tables) == 2
            and all(isinstance(text, str) for text in texts)
            and all(n is None or isinstance(n, int | float) for n in numbers)
        )


def run_digest(
    settings: Mapping[str, Any], limits: Mapping[str, Any], versions: Mapping[str, str]
) -> str:
    """Return the hash of everything that determines the result of a run.

    Args:
        settings: All settings of the run.
        limits: Resource limits and stopping rules.
        versions: Versions of the libraries that influence the computation.
    """
    text = json.dumps([settings, limits, versions], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
