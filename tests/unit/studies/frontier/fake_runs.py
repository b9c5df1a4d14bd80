"""An executor that trains nothing: whether a run is stable is a function of value, setting and
seed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from yolo_stability.benchmarks.executors import Executor
from yolo_stability.benchmarks.plan import RunOutcome, RunSpec
from yolo_stability.studies.frontier.bisection import Word
from yolo_stability.studies.frontier.request import Request, make_request
from yolo_stability.studies.frontier.result import FrontierResult
from yolo_stability.studies.frontier.search import find_edges
from yolo_stability.studies.frontier.stability import RunAssessment

Truth = Callable[[float, str, int], Word]


class Killed(Exception):
    """The machine went down."""


class FakeExecutor(Executor):
    """Writes `run.json` as a real run would, and counts.

    Attributes:
        ran: Value, clip and seed of each run.
        dies_after: Runs after which the machine goes down.
    """

    def __init__(self, *, jobs: int = 1, address: str | None = None) -> None:
        super().__init__(jobs=jobs, address=address)
        self.ran: list[tuple[float, str, int]] = []
        self.dies_after: int | None = None
        self.outcome = "finished"

    def run(
        self, specs: Sequence[RunSpec], out: Path, on_start: Callable[[RunSpec], None]
    ) -> Iterator[tuple[RunSpec, RunOutcome]]:
        for spec in specs:
            if self.dies_after is not None and len(self.ran) >= self.dies_after:
                raise Killed
            on_start(spec)
            self.ran.append(asked(spec))
            outcome = RunOutcome(digest=spec.digest, outcome=self.outcome, seconds={"total": 2.0})
            outcome.write(out / spec.folder)
            yield spec, outcome


def asked(spec: RunSpec) -> tuple[float, str, int]:
    return spec.settings["lr_mult"], spec.settings.get("clip", "norm:10"), spec.seed


class Silent:
    """A listener that does nothing."""

    def planned(self, specs: Sequence[RunSpec], done: int) -> None: ...

    def started(self, spec: RunSpec) -> None: ...

    def ended(self, spec: RunSpec, outcome: RunOutcome) -> None: ...


def find(
    out: Path, truth: Truth, executor: FakeExecutor | None = None, **keys: Any
) -> FrontierResult:
    """Search along lr_mult with runs that end as `truth` says."""
    request: Request = make_request("lr_mult", **{"start": 1.0, "end": 1000.0, **keys})

    def judged(spec: RunSpec, outcome: RunOutcome, folder: Path) -> RunAssessment:
        word = truth(*asked(spec))
        bad = word == "unstable"
        return RunAssessment(
            verdict=word,
            why="made up",
            onset_step=12 if bad else None,
            onset_sign="divergence" if bad else None,
            fitness=0.5 if word == "stable" else None,
        )

    place = executor or FakeExecutor()
    return find_edges(
        request,
        out,
        place,
        lambda: contextlib.nullcontext(Silent()),
        assess=judged,
        clock=lambda: 0.0,
    )


def below(threshold: float) -> Truth:
    """Stable below a threshold, whatever setting and seed."""
    return lambda value, clip, seed: "stable" if value < threshold else "unstable"
