"""`verify`: run some or all of a benchmark again and say whether the same comes out, and if not, what is different."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolo_stability.benchmarks.plan import PLAN, RunSpec
from yolo_stability.benchmarks.process.fork_server import ForkServer
from yolo_stability.benchmarks.process.supervisor import shared_imports, supervise
from yolo_stability.benchmarks.results import read_results
from yolo_stability.benchmarks.rows import RunResultRow
from yolo_stability.core.errors import ConfigError, TraceError
from yolo_stability.core.provenance import package_versions
from yolo_stability.core.types import Trace
from yolo_stability.trace import load_trace
from yolo_stability.trace.digest import trace_digest

__all__ = ["Check", "Verification", "verify_benchmark"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One run, once more.

    Attributes:
        run: Arm, task and seed in words.
        identical: Its trace has the same digest.
        text: What was found, in one sentence.
    """

    run: str
    identical: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What `verify` found.

    Attributes:
        checks: One for each run that was run again.
        environment: What differs between then and now, one sentence each.
    """

    checks: tuple[Check, ...]
    environment: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """Whether every run came out the same."""
        return all(check.identical for check in self.checks)

    def lines(self) -> list[str]:
        """Return what a terminal shows of it."""
        same = sum(check.identical for check in self.checks)
        head = f"{same} of {len(self.checks)} runs came out identical, step by step and block by block."
        told = [f"- {check.run}: {check.text}" for check in self.checks]
        why = [] if self.identical else [f"- different now: {text}" for text in self.environment]
        if not self.identical and not why:
            why = [
                "- versions, platform and settings are the same: the difference comes from the machine or the data."
            ]
        return [head, *told, *why]


def verify_benchmark(
    folder: Path, *, sample: int | None = None, on_check: Callable[[Check], None] | None = None
) -> Verification:
    """Run a benchmark, or a sample of it, again in a folder of its own.

    Args:
        folder: Of the benchmark.
        sample: How many runs, spread over the plan; None for all.
        on_check: Called with each run as it is checked.

    Raises:
        ConfigError: The sample is impossible.
        TraceError: The folder is not that of a finished benchmark.
    """
    result = read_results(folder)
    specs = _specs(folder)
    known = {run.folder: run for run in result.runs if run.trace_digest}
    chosen = [spec for spec in specs if spec.place in known]
    if sample is not None:
        if sample < 1:
            raise ConfigError(
                f"sample={sample} is not possible: sample is a whole number, 1 or more."
            )
        count = min(sample, len(chosen))
        chosen = [chosen[i * len(chosen) // count] for i in range(count)]
    if not chosen:
        raise TraceError(f"{folder} holds no run with a trace that could be run again.")
    checks = []
    with (
        tempfile.TemporaryDirectory(prefix="yolo-stability-verify-") as place,
        shared_imports() as fork_server,
    ):
        for spec in chosen:
            checks.append(_check(spec, known[spec.place], folder, Path(place), fork_server))
            if on_check is not None:
                on_check(checks[-1])
    return Verification(checks=tuple(checks), environment=tuple(_differences(result.manifest)))


def _specs(folder: Path) -> list[RunSpec]:
    """Return the runs of the plan."""
    try:
        content = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        return [RunSpec(**spec) for spec in content["runs"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise TraceError(
            f"{folder / PLAN} cannot be read ({error}); run the benchmark again to write it anew."
        ) from None


def _check(
    spec: RunSpec, before: RunResultRow, folder: Path, place: Path, fork_server: ForkServer
) -> Check:
    """Run one again and compare."""
    outcome = supervise(spec, place, fork_server=fork_server)
    try:
        again = load_trace(place / spec.folder)
    except TraceError:
        return Check(
            run=spec.title, identical=False, text=f"it left no trace this time: {outcome.error}"
        )
    if trace_digest(again) == before.trace_digest:
        return Check(run=spec.title, identical=True, text=f"identical ({again.steps.height} steps)")
    try:
        earlier = load_trace(folder / spec.folder)
    except TraceError as error:
        return Check(
            run=spec.title, identical=False, text=f"different, and what it was is lost: {error}"
        )
    return Check(run=spec.title, identical=False, text=_difference(earlier, again))


def _difference(before: Trace, again: Trace) -> str:
    """Say from which step on, and in what, two traces of one run differ."""
    parts = []
    if before.header.dataset_digest != again.header.dataset_digest:
        parts.append("the dataset is another one")
    for key in sorted({*before.header.effective, *again.header.effective}):
        old, new = before.header.effective.get(key), again.header.effective.get(key)
        if old != new:
            parts.append(f"{key} was {_cut_to_60(old)} and is {_cut_to_60(new)}")
    if before.steps.height != again.steps.height:
        parts.append(f"{before.steps.height} steps then, {again.steps.height} now")
    for name in ("loss", "grad_norm"):
        pairs = zip(before.steps[name].to_list(), again.steps[name].to_list(), strict=False)
        first = next(
            (i for i, (a, b) in enumerate(pairs) if a != b and not (_nan(a) and _nan(b))), None
        )
        if first is not None:
            a, b = before.steps[name][first], again.steps[name][first]
            parts.append(
                f"{name} differs from step {before.steps['step'][first]} on ({a:.6g} then, {b:.6g} now)"
            )
            break
    return "different: " + ("; ".join(parts) or "only in blocks or counts")


def _differences(manifest: Mapping[str, Any]) -> list[str]:
    """Return what the environment was and is, where that differs."""
    then: Mapping[str, str] = manifest.get("versions", {})
    now = package_versions()
    return [
        f"{name} was {then.get(name, 'absent')} and is {now.get(name, 'absent')}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]


def _cut_to_60(value: Any) -> str:
    """Return a value in at most 60 characters."""
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _nan(value: float | None) -> bool:
    """Return whether a value is NaN."""
    return value is not None and value != value  # noqa: PLR0124
