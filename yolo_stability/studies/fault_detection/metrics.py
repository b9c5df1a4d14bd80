"""Judged runs to rates with intervals: how often each detector is right, when, and about what."""

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
LEAD = 3  # steps before the first non-finite one that an early alarm must come


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredRun:
    """A labelled run with what every detector made of it; steps are optimizer steps, None where there is none.

    Attributes:
        arm: Name of its scenario.
        task: detect or pose.
        model: Its model.
        seed: Its seed.
        healthy: Nothing is wrong with it.
        label: Name of the true cause.
        also: Causes that the recipe combines with it; naming one of them is right, too.
        gradual: The fault creeps in; False where it strikes.
        named_step: Step at which the label says that it strikes.
        steps: Steps that were recorded.
        fitness: Final fitness.
        effective: The fault had an effect.
        harmed: The run learned far less than healthy ones.
        onset: Step since which the fault shows.
        first_bad: First step with a value that is not finite.
        alarms: First alarm of each detector.
        verdict: What the diagnosis said.
        critical: Rules with a critical finding at the end of the run.
        masked: Causes that it named from the trace alone, most likely first.
        informed: The same with the settings.
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

    def named(self, told: Sequence[str]) -> bool:
        """Whether the true cause, or one that the recipe combines with it, is among those told."""
        return not {self.label, *self.also}.isdisjoint(told)

    def detected(self, detector: str) -> bool:
        """Whether a detector saw the fault; what it said before the moment of the fault was about something else."""
        alarm = self.alarms.get(detector)
        return alarm is not None and not (self.named_step is not None and alarm < self.named_step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share of runs.

    Attributes:
        hits: Runs that did it.
        runs: Runs in all.
        share: Their share, with Wilson's 95 % interval.
    """

    hits: int
    runs: int
    share: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorScore:
    """How well a detector told faulty runs from healthy ones.

    Attributes:
        name: Which detector.
        recall: Faulty runs with an effect that it saw.
        precision: Its alarms that were about a fault.
        false_alarms: Healthy runs on which it raised one.
        balanced: Mean of recall and the share of healthy runs on which it was silent.
        latency_median: Steps from the onset to the first alarm among the faults it saw; below 0 came before.
        latency_90: Their 90th percentile.
        early: Gradual faults that ended non-finite with an alarm at least 3 steps before; where that was at step 0 to
            2, there is no such step.
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
    """How often the true cause was named, among all faulty runs with an effect.

    Attributes:
        first: It was the first.
        second: It was among the first two.
    """

    first: Rate
    second: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class KindScore:
    """One kind of fault, all tasks and seeds.

    Attributes:
        arm: Name of the scenario.
        label: The true cause.
        gradual: It creeps in.
        runs: Runs in all.
        effective: Those with an effect.
        seen: Of these, those that the diagnosis saw.
        masked: Of these, those whose cause it named first, from the trace alone.
        informed: The same with the settings.
        onset_median: Median step of the onset.
        alarm_median: Median step of the first critical finding.
        told: What it named first from the trace alone, with counts, most frequent first.
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
    """Everything about the runs of one half.

    Attributes:
        title: Which half.
        models: Its models.
        faulty: Faulty runs.
        healthy: Healthy runs.
        without_effect: Faulty runs without any effect, which count in no rate.
        shown: Of the faulty runs whose effect loss, norm or finiteness show, those with a critical finding.
        silent: Of those that merely learned far less, those with a critical finding.
        failed_verdicts: Faulty runs with an effect whose verdict is failed or unstable.
        false_verdicts: Healthy runs whose verdict is.
        detectors: Ours first.
        masked: Causes from the trace alone.
        informed: Causes with the settings.
        kinds: One entry per kind of fault.
        false_criticals: Healthy runs with a critical finding, and of which rules.
    """

    title: str
    models: Sequence[str]
    faulty: int
    healthy: int
    without_effect: int
    shown: Rate
    silent: Rate
    failed_verdicts: Rate
    false_verdicts: Rate
    detectors: Sequence[DetectorScore]
    masked: CauseScore
    informed: CauseScore
    kinds: Sequence[KindScore]
    false_criticals: Sequence[str]


def score_half(title: str, runs: Sequence[ScoredRun]) -> HalfScore:
    """Return all scores of some runs.

    Args:
        title: What they are.
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
        failed_verdicts=_rate(counted, _troubled),
        false_verdicts=_rate(healthy, _troubled),
        detectors=[_detector(name, counted, healthy) for name in names],
        masked=_causes(counted, lambda r: r.masked),
        informed=_causes(counted, lambda r: r.informed),
        kinds=[
            _kind(arm, [r for r in faulty if r.arm == arm])
            for arm in dict.fromkeys(r.arm for r in faulty)
        ],
        false_criticals=[
            f"{r.arm}, {r.task}, {r.model}, seed {r.seed}: {', '.join(r.critical) or 'withdrawn later'} at step {alarm}"
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
    """Return the score of one detector; an alarm before the moment of a fault is a false one."""
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


def _causes(counted: Sequence[ScoredRun], told: Callable[[ScoredRun], Sequence[str]]) -> CauseScore:
    return CauseScore(
        first=_rate(counted, lambda r: r.named(told(r)[:1])),
        second=_rate(counted, lambda r: r.named(told(r)[:2])),
    )


def _kind(arm: str, runs: Sequence[ScoredRun]) -> KindScore:
    """Return how the diagnosis did on one kind of fault."""
    counted = [r for r in runs if r.effective]
    first = [r.masked[0] if r.masked else "none" for r in counted]
    told = sorted(dict.fromkeys(first), key=lambda name: (-first.count(name), name))
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
        told=", ".join(f"{name} {first.count(name)}" for name in told),
    )


def _quantile(values: Iterable[float | None], share: float) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.quantile(known, share)) if known else None
