"""The content of a report in reading order; HTML, Markdown and plots are rendered from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from yolo_stability.benchmarks.results import BenchmarkResult
from yolo_stability.benchmarks.rows import Arm, Comparison, Interval, RunResultRow
from yolo_stability.core.text import clean, count, listing
from yolo_stability.report.findings import cause_of
from yolo_stability.report.phrases import SIGNS, amount, range_percent, task_name
from yolo_stability.report.run_bins import BinnedRun, Key

__all__ = ["ArmCell", "Outline", "Section", "TaskGroup", "benchmark_headline", "build_outline"]

VERDICTS = ("failed", "unstable", "inconclusive", "stable")
_MOST_RUNS, _MOST_SEEDS, _LEAST_SEEDS = 240, 10, 3
"""Runs that a page shows in detail, in all; maximum and minimum per arm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmCell:
    """The outcome of one arm on one task and model.

    Attributes:
        verdict: The worst verdict of its runs; empty without runs.
        runs: Runs with that verdict, such as `2 of 2 runs`.
        onset: Such as `first sign at step 5: NaN or Inf`; empty without one.
        block: The block concerned; empty if none stands out.
        cause: Such as `likely cause: learning rate`; empty if unknown.
        sure: Confidence in the verdict.
        link: Id of the section with the details; empty if there is none.
    """

    verdict: str
    runs: str
    onset: str = ""
    block: str = ""
    cause: str = ""
    sure: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """An arm and its control on one task and model.

    Attributes:
        id: Unique id on the page, the same for the same plan.
        arm: The arm.
        task: Task.
        model: Model.
        runs: The runs shown in detail, with their series, by seed.
        control: The control runs shown in detail, with their series.
        omitted: Runs of the arm that are not shown; comparison and cell include them.
        comparison: Statistics against the control; None without a control.
        cell: Its cell in the matrix.
    """

    id: str
    arm: Arm
    task: str
    model: str
    runs: tuple[tuple[RunResultRow, BinnedRun | None], ...]
    control: tuple[tuple[RunResultRow, BinnedRun | None], ...]
    comparison: Comparison | None
    cell: ArmCell
    omitted: int = 0

    @property
    def note(self) -> str:
        """The sentence about runs that are not shown; empty if all are."""
        if not self.omitted:
            return ""
        shown = f"{len(self.runs)} of {len(self.runs) + self.omitted} runs are shown"
        return (
            f"{shown}: for each verdict the run with the earliest onset, then the first seeds. "
            "Verdict, summary and statistics include every run, and the table of all runs lists "
            "them."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskGroup:
    """All arms on one task and model; `title` names both."""

    id: str
    task: str
    model: str
    title: str
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """The content of a report.

    Attributes:
        result: The benchmark result.
        control: Name of the control; None if there is none.
        groups: Tasks and models in the order of the plan.
        matrix: One row per arm, with one cell per group.
        anecdotal: Whether no arm has more than one seed.
    """

    result: BenchmarkResult
    control: str | None
    groups: tuple[TaskGroup, ...]
    matrix: tuple[tuple[Arm, tuple[ArmCell, ...]], ...]
    anecdotal: bool


def build_outline(result: BenchmarkResult, series: Mapping[Key, BinnedRun]) -> Outline:
    """Arrange a benchmark result and its series in reading order."""
    control = next((arm.name for arm in result.arms if arm.is_control), None)
    places = list(dict.fromkeys((run.task, run.model) for run in result.runs))
    models = {task: len({m for t, m in places if t == task}) for task, _ in places}
    seeds = Counter((run.arm, run.task, run.model) for run in result.runs)
    room = max(_LEAST_SEEDS, min(_MOST_SEEDS, _MOST_RUNS // max(1, len(seeds))))
    groups = []
    for g, (task, model) in enumerate(places, 1):
        sections = tuple(
            _section(f"g{g}-a{a}", arm, (task, model), result, series, room)
            for a, arm in enumerate(result.arms, 1)
        )
        title = (
            f"{task_name(clean(task))}, {clean(model)}"
            if models[task] > 1
            else task_name(clean(task))
        )
        groups.append(TaskGroup(id=f"g{g}", task=task, model=model, title=title, sections=sections))
    matrix = tuple(
        (arm, tuple(group.sections[a].cell for group in groups))
        for a, arm in enumerate(result.arms)
    )
    return Outline(
        result=result,
        control=control,
        groups=tuple(groups),
        matrix=matrix,
        anecdotal=max(seeds.values(), default=0) <= 1,
    )


def _section(
    name: str,
    arm: Arm,
    place: tuple[str, str],
    result: BenchmarkResult,
    series: Mapping[Key, BinnedRun],
    room: int,
) -> Section:
    def runs_of(wanted: str | None) -> list[RunResultRow]:
        return [run for run in result.runs if run.arm == wanted and (run.task, run.model) == place]

    def with_series(rows: list[RunResultRow]) -> tuple[tuple[RunResultRow, BinnedRun | None], ...]:
        return tuple((run, series.get((run.arm, run.task, run.model, run.seed))) for run in rows)

    task, model = place
    found = [c for c in result.comparisons if (c.arm, c.task, c.model) == (arm.name, task, model)]
    comparison = found[0] if found else None
    rate = comparison.rate if comparison else None
    if arm.is_control:  # every comparison on this task has the rate of the control
        rate = next(
            (c.control_rate for c in result.comparisons if (c.task, c.model) == place), None
        )
    runs = runs_of(arm.name)
    shown = _runs_to_show(runs, room)
    control = (
        [] if arm.is_control else runs_of(next((a.name for a in result.arms if a.is_control), None))
    )
    same = [run for run in control if run.seed in {run.seed for run in shown}]
    return Section(
        id=name,
        arm=arm,
        task=task,
        model=model,
        runs=with_series(shown),
        control=with_series(control if len(control) <= room else same or control[:room]),
        comparison=comparison,
        cell=_cell(runs, comparison, rate, name),
        omitted=len(runs) - len(shown),
    )


def _runs_to_show(runs: list[RunResultRow], room: int) -> list[RunResultRow]:
    """Return the runs to show: for each verdict the one with the earliest onset, then the first."""
    if len(runs) <= room:
        return runs
    by_verdict = ([run for run in runs if run.verdict == verdict] for verdict in VERDICTS)
    earliest = [min(alike, key=_began) for alike in by_verdict if alike]
    seeds = list(dict.fromkeys(run.seed for run in (*earliest, *runs)))[:room]
    return [run for run in runs if run.seed in seeds]


def _began(run: RunResultRow) -> float:
    return float("inf") if run.onset_step is None else run.onset_step


def _cell(
    runs: list[RunResultRow], comparison: Comparison | None, rate: Interval | None, link: str
) -> ArmCell:
    if not runs:
        return ArmCell(verdict="", runs="not run")
    verdict = next(
        (v for v in VERDICTS if any(run.verdict == v for run in runs)), clean(runs[0].verdict)
    )
    concerned = [run for run in runs if run.verdict == verdict]
    first = min((run for run in concerned if run.onset_step is not None), key=_onset, default=None)
    onset = block = ""
    if first is not None:
        sign = SIGNS.get(first.onset_sign or "", clean(first.onset_sign or "instability"))
        median = comparison.onset.value if comparison else None
        onset = (
            f"first sign at step {amount(median if median is not None else first.onset_step)}: "
            f"{sign}"
        )
        block = (comparison and comparison.worst_block) or first.onset_block or ""
        block = f"in {clean(block)}" if block else ""
    return ArmCell(
        verdict=verdict,
        runs=f"{len(concerned)} of {count(len(runs), 'run')}",
        onset=onset,
        block=block,
        cause=cause_of(concerned),
        sure=_sure(len(runs), rate),
        link=link,
    )


def _onset(run: RunResultRow) -> int:
    return run.onset_step or 0


def _sure(runs: int, rate: Interval | None) -> str:
    """Return the confidence text for a failure rate."""
    if runs == 1:
        return "one seed: anecdotal"
    text = range_percent(rate) if rate is not None else ""
    return f"{text} of such runs would fail (95% interval)" if text else count(runs, "seed")


def benchmark_headline(outline: Outline) -> list[str]:
    """Return sentences that summarize the verdicts of the arms and of the control."""
    arms = [(arm, cells) for arm, cells in outline.matrix if not arm.is_control]
    worst = {
        arm.name: next((v for v in VERDICTS if any(c.verdict == v for c in cells)), "")
        for arm, cells in arms
    }
    words = {
        "failed": "failed",
        "unstable": "became unstable",
        "inconclusive": "are inconclusive",
        "stable": "remained stable",
    }
    sentences = []
    for verdict in VERDICTS:
        named = [
            _named(arm, cells, verdict, outline)
            for arm, cells in arms
            if worst[arm.name] == verdict
        ]
        if named:
            sentences.append(
                f"{len(named)} of {count(len(arms), 'arm')} {words[verdict]}: {listing(named)}."
            )
    controls = [run for run in outline.result.runs if run.arm == outline.control]
    if controls:
        good = sum(run.verdict == "stable" for run in controls)
        name = clean(outline.control)
        called = "" if name == "control" else f", {name},"
        sentences.append(
            f"The control{called} was stable in {good} of {count(len(controls), 'run')}."
        )
    elif outline.result.runs:
        sentences.append("There is no control: each arm is assessed on its own.")
    if outline.anecdotal and outline.result.runs:
        sentences.append("Every arm ran with a single seed: the results are anecdotal.")
    return sentences


def _named(arm: Arm, cells: tuple[ArmCell, ...], verdict: str, outline: Outline) -> str:
    """Return the name of an arm, with the tasks concerned unless these are all."""
    where = [
        group.title
        for group, cell in zip(outline.groups, cells, strict=True)
        if cell.verdict == verdict
    ]
    everywhere = len(where) == sum(bool(cell.verdict) for cell in cells)
    return (
        clean(arm.name)
        if everywhere
        else f"{clean(arm.name)} ({listing(w.lower() for w in where)})"
    )
