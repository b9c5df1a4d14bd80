"""What `results.json` holds of each arm, run and comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from yolo_stability.benchmarks.plan import RunOutcome
from yolo_stability.core.findings import Cause, Finding
from yolo_stability.core.types import AS_READ

if TYPE_CHECKING:
    pass

__all__ = ["Arm", "BlockRatio", "Comparison", "Interval", "RunResultRow", "unassessed_row"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with its 95 % interval; `low` and `high` are None where one seed alone says nothing about it.

    Attributes:
        value: The estimate.
        low: Lower bound.
        high: Upper bound.
    """

    __pydantic_config__ = AS_READ
    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One setting of a suite.

    Attributes:
        name: Its name, which is that of its scenario unless the suite renames it.
        is_control: It is the stock recipe that all others are measured against.
        kind: cause, remedy, both (a cause with a remedy) or control.
        claim: The textbook claim that it tests, in one sentence.
        expects: What is expected, in one sentence.
        overrides: Keys by which it differs from the suite's shared ones.
    """

    __pydantic_config__ = AS_READ
    name: str
    is_control: bool
    kind: str
    claim: str
    expects: str
    overrides: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResultRow:
    """How one run went.

    Attributes:
        arm: Name of its arm.
        task: detect or pose.
        model: Model file, such as `yolo26n.yaml`.
        seed: Its seed.
        outcome: finished, stopped (by a rule of the suite, the guard, `fail_on` or a rescue), crashed, killed, timeout
            or memory.
        verdict: stable, unstable, failed or inconclusive.
        cause: What most likely destabilised it; None for a run without trouble.
        why: What the verdict rests on, in one sentence with numbers.
        onset_step: Step of the first sign of trouble; None without any.
        onset_sign: Name of the rule that saw it, such as `exploding`, or `crash`; None without any.
        onset_block: Block concerned, if one stands out.
        steps: Optimizer steps recorded.
        planned_steps: Steps it would have had, if known.
        trace_digest: Hash of its trace; None when there is none.
        metrics: Final metrics by name; NaN-free (a metric that is not finite is left out).
        fitness: The task's own mAP50 at the end (box for detect, pose for pose); 0 for a run that died; None unknown.
        peak_norm: Largest finite gradient norm.
        median_norm: Median gradient norm.
        clip_saturation: Share of clipped steps; None where nothing clips.
        skipped: Steps that the guard left out.
        seconds: `startup`, `steps` and `total`.
        effective: Effective settings of the run, for the table of differences from control.
        causes: What may have destabilised it, most likely first; the first is `cause`.
        findings: What the rules saw, as it came in time: the first of all and the most severe.
        error: Last words of a run that died, in one line.
        folder: Run folder, relative to the benchmark's.
    """

    __pydantic_config__ = AS_READ
    arm: str
    task: str
    model: str
    seed: int
    outcome: str
    verdict: str
    cause: str | None = None
    why: str = ""
    onset_step: int | None = None
    onset_sign: str | None = None
    onset_block: str | None = None
    steps: int = 0
    planned_steps: int | None = None
    trace_digest: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    fitness: float | None = None
    peak_norm: float | None = None
    median_norm: float | None = None
    clip_saturation: float | None = None
    skipped: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    effective: Mapping[str, Any] = field(default_factory=dict)
    causes: tuple[Cause, ...] = ()
    findings: tuple[Finding, ...] = ()
    error: str | None = None
    folder: str = ""


def unassessed_row(
    arm: str, task: str, model: str, seed: int, outcome: RunOutcome, **known: Any
) -> RunResultRow:
    """Return what is known of a run before its trace is read.

    Args:
        arm: Name of the arm.
        task: detect or pose.
        model: The model.
        seed: Its seed.
        outcome: How the run ended.
        **known: Further fields of the row.
    """
    metrics = {name: value for name, value in outcome.metrics.items() if value is not None}
    return RunResultRow(
        arm=arm,
        task=task,
        model=model,
        seed=seed,
        outcome=outcome.outcome,
        verdict="inconclusive",
        metrics=metrics,
        **known,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRatio:
    """A block's gradient norm against the same block of the control.

    Attributes:
        block: Its name.
        index: Position along the depth.
        ratio: Median norm over that of the control, over paired seeds; with interval.
        nonfinite_runs: Runs in which its gradient was not finite.
    """

    __pydantic_config__ = AS_READ
    block: str
    index: int
    ratio: Interval
    nonfinite_runs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """An arm against the control, on one task and model.

    Attributes:
        arm: Name of the arm.
        task: Task.
        model: Model.
        seeds: Seeds that both arms have.
        failures: Runs with the verdict `failed`.
        unstable: Runs with the verdict `unstable`.
        rate: Share of failed runs, with Wilson's interval.
        control_rate: The same of the control.
        p_value: Boschloo's exact test of both rates; None below two seeds.
        onset: Median step of the first sign among runs that had one; bootstrap interval.
        peak_ratio: Peak norm over the control's, paired, median; bootstrap interval.
        median_ratio: Median norm over the control's, paired, median; bootstrap interval.
        fitness_difference: Final fitness minus the control's, paired, mean; bootstrap interval.
        clip_saturation: Mean share of clipped steps.
        blocks: Ratio per block, in the order of the network.
        worst_block: The block that is farthest from the control, or where it first broke.
        anecdotal: There was one seed only.
        sentence: All of it in one sentence for a reader who was not there.
    """

    __pydantic_config__ = AS_READ
    arm: str
    task: str
    model: str
    seeds: tuple[int, ...]
    failures: int
    unstable: int
    rate: Interval
    control_rate: Interval
    p_value: float | None
    onset: Interval
    peak_ratio: Interval
    median_ratio: Interval
    fitness_difference: Interval
    clip_saturation: float | None
    blocks: tuple[BlockRatio, ...]
    worst_block: str | None
    anecdotal: bool
    sentence: str
