"""The plan of a benchmark: one specification a run, fixed before anything is run; standard library only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from yolo_stability.core.errors import ConfigError
from yolo_stability.core.files import replace_file

__all__ = ["OUTCOME", "PLAN", "RunOutcome", "RunSpec", "run_digest"]

PLAN, OUTCOME = "plan.json", "run.json"
_SEPARATORS = frozenset("/\\\0")

# How a run can end. What was killed from outside says nothing about its arm, and is run again.
FINISHED = ("finished", "stopped", "crashed", "timeout", "memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """Everything that one run is told.

    Attributes:
        arm: Name of its arm.
        task: detect or pose.
        model: Model, such as `yolo26n.yaml`.
        seed: Its seed.
        settings: Every key of Ultralytics and ours, `model`, `data` and `seed` among them.
        minutes: Wall time after which it is ended.
        gigabytes: Resident memory at which it is ended.
        zero_loss_steps: Batches with a loss of exactly 0 after which it stops at the end of the epoch.
        digest: Hash of what decides its result.
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

    def __post_init__(self) -> None:
        """Refuse what would lead out of the benchmark's folder: a plan may come from anybody, and a run clears its own.

        Raises:
            ConfigError: A part of its folder is no name.
        """
        texts = all(
            isinstance(text, str) for text in (self.arm, self.task, self.model, self.digest)
        )
        if not (texts and isinstance(self.seed, int) and isinstance(self.settings, Mapping)):
            raise ConfigError(
                "The plan has a run whose arm, task, model, seed, settings or digest is of another kind."
            )
        arm = self.arm.split("/")  # of a frontier: the setting, then the place on the axis
        for part in (*arm, self.task, Path(self.model).stem):
            if part in {"", ".", ".."} or _SEPARATORS & set(part) or not part.isprintable():
                raise ConfigError(
                    f"The plan has a run called {str(part)[:80]!r}, which is no name for a folder."
                )

    @property
    def folder(self) -> Path:
        """Its run folder, relative to the benchmark's."""
        return Path("runs") / self.arm / self.task / Path(self.model).stem / str(self.seed)

    @property
    def place(self) -> str:
        """Its run folder as files name it: with forward slashes on every system."""
        return self.folder.as_posix()

    @property
    def title(self) -> str:
        """What a person calls it."""
        return f"{self.arm}, {self.task}, seed {self.seed}"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """How a run ended, as the process that supervised it saw it.

    Attributes:
        digest: That of its specification.
        outcome: finished, stopped, crashed, timeout, memory or killed.
        stopped: Why a rule of the suite, the guard, `fail_on` or a rescue ended it; None when none did.
        error: Last words of a run that died, in one line.
        metrics: Final metrics by name.
        seconds: `startup`, `steps` and `total`.
        planned_steps: Optimizer steps it would have taken, if known.
        gigabytes: Largest resident memory seen.
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
        """Whether it is a result; a run that somebody killed is not."""
        return self.outcome in FINISHED

    def write(self, folder: Path) -> None:
        """Write it into its run folder, whole or not at all."""
        text = json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"
        replace_file(folder / OUTCOME, text.encode())

    @classmethod
    def read(cls, folder: Path) -> RunOutcome | None:
        """Return what a run folder says; None where it says nothing whole."""
        try:
            found = cls(**json.loads((folder / OUTCOME).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        return found if found._is_whole() else None

    def _is_whole(self) -> bool:
        """Return whether everything is of its kind: the file may have been written by anybody."""
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
    """Return the hash of everything that decides the result of a run.

    Args:
        settings: Every key of the run.
        limits: What it may use, and when it stops.
        versions: Versions of the libraries that compute.
    """
    text = json.dumps([settings, limits, versions], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
