"""Computes the metrics of each detector from scored runs: rates with intervals, and latencies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from yolo_stability.benchmarks.rows import Interval
from yolo_stability.benchmarks.statistics import wilson

__all__ = [
    "ANY",
    "OURS",
    "CauseScore",
    "DetectorScore",
    "HalfScore",
    "KindScore",
    "Rate",
    "ScoredRun",
    "score_half",
]

OURS = "yolo_stability"
ANY = "yolo_stability, warnings too"
LEAD = 3  # an early alarm precedes the first non-finite step by at least this many steps


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredRun:
    """A labeled run with the alarms of all detectors; steps are optimizer steps, None if missing.

    Attributes:
        arm: Name of its scenario.
        task: detect or pose.
        model: Its model.
        seed: Its seed.
        healthy: Whether the run has no fault.
        label: Name of the true cause.
        also: Causes that the recipe combines with it; each of them counts as correct.
        gradual: Whether the fault develops gradually rather than at one step.
        named_step: Step of a sudden fault according to the label.
        steps: Number of recorded steps.
        fitness: Final fitness.
        effective: Whether the fault had an effect.
        harmed: Whether the run learned far less than healthy ones.
        onset: First step at which the fault is visible.
        first_bad: First step with a non-finite value.
        alarms: First alarm of each detector.
        verdict: Verdict of the diagnosis.
        critical: Rules with a critical finding at the end of the run.
        masked: Causes diagnosed from the trace alone, most likely first.
        informed: Causes diagnosed from trace and settings, most likely first.
        noticed: Whether the diagnosis reports trouble: by its verdict, or by a warning or critical
            finding that nothing resolved.
        learning: Whether the model learned, according to the diagnosis.
    """

    arm: str
    task: str
    model: str
    seed: int
    healthy: bool
    label: str | None
    gradual: bool
    named_step: int | None
    steps: int
    fitness: float | None
    effective: bool
    harmed: bool
    onset: int | None
    first_bad: int | None
    alarms: Mapping[str, int | None]
    verdict: str
    critical: Sequence[str]
    masked: Sequence[str]
    informed: Sequence[str]
    also: Sequence[str] = ()
    noticed: bool = False
    learning: str = "unknown"

    def named(self, causes: Sequence[str]) -> bool:
        """Return whether the true cause, or one that the recipe combines with it, is in a list."""
        return not {self.label, *self.also}.isdisjoint(causes)

    def detected(self, detector: str) -> bool:
        """Return whether a detector found the fault; alarms before a sudden fault do not count."""
        alarm = self.alarms.get(detector)
        return alarm is not None and not (self.named_step is not None and alarm < self.named_step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share of runs.

    Attributes:
        hits: Runs that meet the condition.
        runs: All runs.
        share: Their share, with the 95 % Wilson interval.
    """

    hits: int
    runs: int
    share: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorScore:
    """The accuracy and latency of one detector.

    Attributes:
        name: Name of the detector.
        recall: Detected runs among the faulty runs with an effect.
        precision: Alarms caused by a fault, among all alarms.
        false_alarms: Healthy runs with an alarm.
        balanced: Balanced accuracy: mean of recall and the share of healthy runs without alarm.
        latency_median: Median steps from onset to first alarm of detected faults; negative if
            before.
        latency_90: 90th percentile of the same.
        early: Gradual faults that became non-finite at step 3 or later, with an alarm at least 3
            steps before.
    """

    name: str
    recall: Rate
    precision: Rate
    false_alarms: Rate
    balanced: float | None
    latency_median: float | None
    latency_90: float | None
    early: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseScore:
    """The accuracy of the diagnosed cause, over all faulty runs with an effect.

    Attributes:
        first: Runs whose true cause is the first one diagnosed.
        second: Runs whose true cause is among the first two.
    """

    first: Rate
    second: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class KindScore:
    """The scores of one kind of fault, over all tasks and seeds.

    Attributes:
        arm: Name of the scenario.
        label: The true cause.
        gradual: Whether the fault develops gradually.
        runs: All runs.
        effective: Runs with an effect.
        seen: Runs with an effect that the diagnosis detected.
        masked: Runs with an effect whose first diagnosed cause is correct, from the trace alone.
        informed: The same with the settings.
        onset_median: Median step of the onset.
        alarm_median: Median step of the first critical finding.
        told: First causes diagnosed from the trace alone, with counts, most frequent first.
    """

    arm: str
    label: str
    gradual: bool
    runs: int
    effective: int
    seen: int
    masked: int
    informed: int
    onset_median: float | None
    alarm_median: float | None
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfScore:
    """All scores of one half of the runs.

    Attributes:
        title: Name of the half.
        models: Its models.
        faulty: Number of faulty runs.
        healthy: Number of healthy runs.
        without_effect: Faulty runs without an effect, which are excluded from all rates.
        shown: Faulty runs with an effect on loss, norm or finiteness; hits have a critical finding.
        silent: Faulty runs that only learned far less; hits have a critical finding.
        noticed: Faulty runs with an effect; hits are noticed, by verdict or by an unresolved
            warning or critical finding.
        false_notices: Healthy runs; hits are noticed.
        failed_verdicts: Faulty runs with an effect; hits have the verdict failed or unstable.
        false_verdicts: Healthy runs; hits have the verdict failed or unstable.
        inconclusive: All runs; hits have the verdict inconclusive.
        detectors: Scores per detector, that of this package first.
        masked: Accuracy of the cause from the trace alone.
        informed: Accuracy of the cause from trace and settings.
        kinds: Scores per kind of fault.
        false_criticals: Healthy runs with a critical finding, with the rules concerned.
    """

    title: str
    models: Sequence[str]
    faulty: int
    healthy: int
    without_effect: int
    shown: Rate
    silent: Rate
    noticed: Rate
    false_notices: Rate
    failed_verdicts: Rate
    false_verdicts: Rate
    inconclusive: Rate
    detectors: Sequence[DetectorScore]
    masked: CauseScore
    informed: CauseScore
    kinds: Sequence[KindScore]
    false_criticals: Sequence[str]


def score_half(title: str, runs: Sequence[ScoredRun]) -> HalfScore:
    """Return the scores of a group of runs.

    Args:
        title: Name of the group.
        runs: The runs, healthy and faulty.
    """
    faulty, healthy = [r for r in runs if not r.healthy], [r for r in runs if r.healthy]
    counted = [r for r in faulty if r.effective]
    names = [OURS, *(n for n in dict.fromkeys(n for r in runs for n in r.alarms) if n != OURS)]
    return HalfScore(
        title=title,
        models=sorted({r.model for r in runs}),
        faulty=len(faulty),
        healthy=len(healthy),
        without_effect=len(faulty) - len(counted),
        shown=_rate([r for r in counted if r.onset is not None], lambda r: r.detected(OURS)),
        silent=_rate([r for r in counted if r.onset is None], lambda r: r.detected(OURS)),
        noticed=_rate(counted, lambda r: r.noticed),
        false_notices=_rate(healthy, lambda r: r.noticed),
        failed_verdicts=_rate(counted, _troubled),
        false_verdicts=_rate(healthy, _troubled),
        inconclusive=_rate(runs, lambda r: r.verdict == "inconclusive"),
        detectors=[_detector(name, counted, healthy) for name in names],
        masked=_causes(counted, lambda r: r.masked),
        informed=_causes(counted, lambda r: r.informed),
        kinds=[
            _kind(arm, [r for r in faulty if r.arm == arm])
            for arm in dict.fromkeys(r.arm for r in faulty)
        ],
        false_criticals=[
            f"{r.arm}, {r.task}, {r.model}, seed {r.seed}: "
            f"{', '.join(r.critical) or 'withdrawn later'} at step {alarm}"
            for r in healthy
            if (alarm := r.alarms.get(OURS)) is not None
        ],
    )


def _rate(runs: Sequence[ScoredRun], hit: Callable[[ScoredRun], bool]) -> Rate:
    hits = sum(map(hit, runs))
    return Rate(hits=hits, runs=len(runs), share=wilson(hits, len(runs)))


def _troubled(run: ScoredRun) -> bool:
    return run.verdict in {"failed", "unstable"}


def _detector(
    name: str, counted: Sequence[ScoredRun], healthy: Sequence[ScoredRun]
) -> DetectorScore:
    """Return the scores of one detector; an alarm before a sudden fault is a false alarm."""
    recall = _rate(counted, lambda r: r.detected(name))
    false = _rate(healthy, lambda r: r.alarms.get(name) is not None)
    alarmed = [r for r in (*counted, *healthy) if r.alarms.get(name) is not None]
    lags = [_lag(r, name) for r in counted if r.detected(name) and r.onset is not None]
    ended = [r for r in counted if r.gradual and r.first_bad is not None and r.first_bad >= LEAD]
    known = recall.share.value is not None and false.share.value is not None
    return DetectorScore(
        name=name,
        recall=recall,
        precision=_rate(alarmed, lambda r: not r.healthy and r.detected(name)),
        false_alarms=false,
        balanced=(recall.share.value + 1 - false.share.value) / 2 if known else None,  # type: ignore[operator]
        latency_median=_quantile(lags, 0.5),
        latency_90=_quantile(lags, 0.9),
        early=_rate(ended, lambda r: _is_early(r, name)),
    )


def _lag(run: ScoredRun, name: str) -> int:
    alarm = run.alarms[name]
    assert alarm is not None
    assert run.onset is not None
    return alarm - run.onset


def _is_early(run: ScoredRun, name: str) -> bool:
    alarm = run.alarms.get(name)
    return alarm is not None and run.first_bad is not None and alarm <= run.first_bad - LEAD


def _causes(
    counted: Sequence[ScoredRun], causes: Callable[[ScoredRun], Sequence[str]]
) -> CauseScore:
    return CauseScore(
        first=_rate(counted, lambda r: r.named(causes(r)[:1])),
        second=_rate(counted, lambda r: r.named(causes(r)[:2])),
    )


def _kind(arm: str, runs: Sequence[ScoredRun]) -> KindScore:
    """Return the scores of one kind of fault."""
    counted = [r for r in runs if r.effective]
    first = [r.masked[0] if r.masked else "none" for r in counted]
    names = sorted(dict.fromkeys(first), key=lambda name: (-first.count(name), name))
    return KindScore(
        arm=arm,
        label=" or ".join((str(runs[0].label), *runs[0].also)),
        gradual=runs[0].gradual,
        runs=len(runs),
        effective=len(counted),
        seen=sum(r.detected(OURS) for r in counted),
        masked=sum(r.named(r.masked[:1]) for r in counted),
        informed=sum(r.named(r.informed[:1]) for r in counted),
        onset_median=_quantile([r.onset for r in counted], 0.5),
        alarm_median=_quantile([r.alarms.get(OURS) for r in counted], 0.5),
        told=", ".join(f"{name} {first.count(name)}" for name in names),
    )


def _quantile(values: Iterable[float | None], share: float) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.quantile(known, share)) if known else None
