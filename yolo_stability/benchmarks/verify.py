"""`verify`: repeats runs of a benchmark and reports whether the results are identical."""

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
    """Comparison of one run with its repetition.

    Attributes:
        run: Display name of the run: arm, task and seed.
        identical: Whether both traces have the same digest.
        text: Result, one sentence.
    """

    run: str
    identical: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Result of `verify`.

    Attributes:
        checks: One check per repeated run.
        environment: Differences between the original and the current environment, one sentence
            each.
    """

    checks: tuple[Check, ...]
    environment: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """Whether all repeated runs are identical."""
        return all(check.identical for check in self.checks)

    def lines(self) -> list[str]:
        """Return the terminal output."""
        same = sum(check.identical for check in self.checks)
        head = f"{same} of {len(self.checks)} runs are identical in every step and block."
        checks = [f"- {check.run}: {check.text}" for check in self.checks]
        why = [] if self.identical else [f"- changed: {text}" for text in self.environment]
        if not self.identical and not why:
            why = [
                "- versions and settings are unchanged: "
                "the difference is caused by the machine or the data."
            ]
        return [head, *checks, *why]


def verify_benchmark(
    folder: Path, *, sample: int | None = None, on_check: Callable[[Check], None] | None = None
) -> Verification:
    """Repeat a benchmark, or a sample of its runs, in a temporary folder.

    Args:
        folder: Folder of the benchmark.
        sample: Number of runs to repeat, spread over the plan; None for all.
        on_check: Called with each check as soon as it is available.

    Returns:
        The checks, and the differences between the environments.

    Raises:
        ConfigError: `sample` is less than 1.
        TraceError: The folder does not contain a complete benchmark.
    """
    result = read_results(folder)
    specs = _specs(folder)
    known = {run.folder: run for run in result.runs if run.trace_digest}
    chosen = [spec for spec in specs if spec.place in known]
    if sample is not None:
        if sample < 1:
            raise ConfigError(f"Invalid value sample={sample}: expected a whole number, 1 or more.")
        count = min(sample, len(chosen))
        chosen = [chosen[i * len(chosen) // count] for i in range(count)]
    if not chosen:
        raise TraceError(f"{folder} contains no run with a trace that can be repeated.")
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
    """Return the specifications in the plan."""
    try:
        content = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        return [RunSpec(**spec) for spec in content["runs"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise TraceError(
            f"{folder / PLAN} cannot be read ({error}); run the benchmark again to rewrite it."
        ) from None


def _check(
    spec: RunSpec, before: RunResultRow, folder: Path, place: Path, fork_server: ForkServer
) -> Check:
    """Repeat one run and compare the traces."""
    outcome = supervise(spec, place, fork_server=fork_server)
    try:
        again = load_trace(place / spec.folder)
    except TraceError:
        return Check(
            run=spec.title, identical=False, text=f"the repetition left no trace: {outcome.error}"
        )
    if trace_digest(again) == before.trace_digest:
        return Check(run=spec.title, identical=True, text=f"identical ({again.steps.height} steps)")
    try:
        earlier = load_trace(folder / spec.folder)
    except TraceError as error:
        return Check(
            run=spec.title, identical=False, text=f"different; the original trace is lost: {error}"
        )
    return Check(run=spec.title, identical=False, text=_difference(earlier, again))


def _difference(before: Trace, again: Trace) -> str:
    """Return how, and from which step on, two traces of one run differ."""
    parts = []
    if before.header.dataset_digest != again.header.dataset_digest:
        parts.append("the dataset has changed")
    for key in sorted({*before.header.effective, *again.header.effective}):
        old, new = before.header.effective.get(key), again.header.effective.get(key)
        if old != new:
            parts.append(f"{key} was {_cut_to_60(old)} and is now {_cut_to_60(new)}")
    if before.steps.height != again.steps.height:
        parts.append(f"{before.steps.height} steps before, {again.steps.height} now")
    for name in ("loss", "grad_norm"):
        pairs = zip(before.steps[name].to_list(), again.steps[name].to_list(), strict=False)
        first = next(
            (i for i, (a, b) in enumerate(pairs) if a != b and not (_nan(a) and _nan(b))), None
        )
        if first is not None:
            a, b = before.steps[name][first], again.steps[name][first]
            step = before.steps["step"][first]
            parts.append(f"{name} differs from step {step} on ({a:.6g} before, {b:.6g} now)")
            break
    return "different: " + ("; ".join(parts) or "only in block statistics or counts")


def _differences(manifest: Mapping[str, Any]) -> list[str]:
    """Return the package versions that differ between the manifest and now."""
    then: Mapping[str, str] = manifest.get("versions", {})
    now = package_versions()
    return [
        f"{name} was {then.get(name, 'absent')} and is now {now.get(name, 'absent')}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]


def _cut_to_60(value: Any) -> str:
    """Return a value as text of at most 60 characters."""
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _nan(value: float | None) -> bool:
    """Return whether a value is NaN."""
    return value is not None and value != value  # noqa: PLR0124
