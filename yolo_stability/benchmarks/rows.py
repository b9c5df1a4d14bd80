"""Arms, runs and comparisons as stored in `results.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yolo_stability.benchmarks.plan import RunOutcome
from yolo_stability.core.findings import Cause, Finding
from yolo_stability.core.types import AS_READ

__all__ = ["Arm", "BlockRatio", "Comparison", "Interval", "RunResultRow", "unassessed_row"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with its 95 % confidence interval.

    Attributes:
        value: The estimate; None if it cannot be computed.
        low: Lower bound; None if there are too few runs for an interval.
        high: Upper bound; None if there are too few runs for an interval.
    """

    __pydantic_config__ = AS_READ
    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One setting of a suite.

    Attributes:
        name: Name of the arm, which is that of its scenario unless the suite renames it.
        is_control: Whether it is the stock recipe that all other arms are compared with.
        kind: cause, remedy, both (a cause with a remedy) or control.
        claim: Textbook claim that the arm tests, one sentence.
        expects: Expected result, one sentence.
        overrides: Settings that differ from the shared settings of the suite.
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
    """Result of one run.

    Attributes:
        arm: Name of the arm.
        task: detect or pose.
        model: Model file, such as `yolo26n.yaml`.
        seed: Random seed.
        outcome: finished, stopped (by a rule of the suite, the guard, `fail_on` or a rescue),
            crashed, killed, timeout or memory.
        verdict: stable, unstable, failed or inconclusive.
        cause: Most likely cause of instability; None for a healthy run.
        why: Reason for the verdict, one sentence with numbers.
        onset_step: Step of the first sign of instability; None if there is none.
        onset_sign: Rule that detected the first sign, such as `exploding`, or `crash`; None if
            there is none.
        onset_block: Block with the first sign, if it can be localized.
        steps: Number of recorded optimizer steps.
        planned_steps: Planned number of optimizer steps, if known.
        trace_digest: Hash of the trace; None if there is none.
        metrics: Final metrics by name, without non-finite ones.
        fitness: Final mAP50 of the task (box for detect, pose for pose); 0 for a run that died,
            None if unknown.
        peak_norm: Largest finite gradient norm.
        median_norm: Median gradient norm.
        clip_saturation: Fraction of clipped steps; None without clipping.
        skipped: Number of steps skipped by the guard.
        seconds: Durations `startup`, `steps` and `total`, in seconds.
        effective: Effective settings of the run, for the table of differences from the control.
        causes: Possible causes of instability, most likely first; the first one is `cause`.
        findings: Earliest and most severe findings of the rules, in chronological order.
        error: Last line of output of a run that died.
        folder: Run folder, relative to the benchmark's folder.
        learning: learned, declined, not_learned, too_early or unknown; see `Diagnosis`.
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
    learning: str = "unknown"

    @property
    def counts(self) -> bool:
        """Whether the run counts in rates: it has a verdict, or was merely too short for one."""
        return self.verdict != "inconclusive" or self.learning == "too_early"


def unassessed_row(
    arm: str, task: str, model: str, seed: int, outcome: RunOutcome, **known: Any
) -> RunResultRow:
    """Return the row of a run with the facts known before its trace is read.

    Args:
        arm: Name of the arm.
        task: detect or pose.
        model: Model file.
        seed: Random seed.
        outcome: Outcome of the run.
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
    """Gradient norm of a block relative to the same block of the control.

    Attributes:
        block: Name of the block.
        index: Position along the depth.
        ratio: Median norm divided by that of the control, over paired seeds.
        nonfinite_runs: Number of runs with a non-finite gradient in the block.
    """

    __pydantic_config__ = AS_READ
    block: str
    index: int
    ratio: Interval
    nonfinite_runs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Comparison of an arm with the control, on one task and model.

    Attributes:
        arm: Name of the arm.
        task: Task.
        model: Model.
        seeds: Seeds that arm and control have in common.
        failures: Number of runs with the verdict `failed`.
        unstable: Number of runs with the verdict `unstable`.
        rate: Fraction of failed runs, with Wilson score interval.
        control_rate: Fraction of failed runs of the control, with Wilson score interval.
        p_value: p-value of Boschloo's exact test of the two rates; None with fewer than two runs of
            either.
        onset: Median step of the first sign of instability, over runs that had one; bootstrap
            interval.
        peak_ratio: Peak norm divided by that of the control, median over pairs; bootstrap interval.
        median_ratio: Median norm divided by that of the control, median over pairs; bootstrap
            interval.
        fitness_difference: Final fitness minus that of the control, mean over pairs; bootstrap
            interval.
        clip_saturation: Mean fraction of clipped steps.
        blocks: Ratio per block, in the order of the network.
        worst_block: Most frequent onset block, or the block that differs most from the control.
        anecdotal: Whether fewer than two runs count.
        sentence: Summary in one sentence.
        too_early: Number of runs that were too short to know whether they learn; they count.
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
    too_early: int = 0
