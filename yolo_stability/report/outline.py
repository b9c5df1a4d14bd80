"""What a report says, in the order in which it says it; HTML, Markdown and pictures are drawn from this."""

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
"""How many runs a page shows in detail; how many of one arm at most, and at least, however many arms there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmCell:
    """What became of one arm on one task and model.

    Attributes:
        verdict: The worst one among its runs; empty without any run.
        runs: `2 of 2 runs`, which had that verdict.
        onset: `first sign at step 5: NaN or Inf`; empty without any.
        block: Block concerned; empty if none stands out.
        cause: `likely cause: learning rate`; empty if none is known.
        sure: How sure that is.
        link: Id of the section that shows it; empty if there is none.
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
    """One arm beside the control, on one task and model.

    Attributes:
        id: Unique in the page, the same for the same plan.
        arm: The arm.
        task: Task.
        model: Model.
        runs: Its runs with their series, by seed; those that are shown.
        control: The control's runs with their series; those that are shown.
        left_out: How many runs of the arm there is no room for; the comparison and the cell count them, too.
        comparison: What the statistics say; None without a control.
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
    left_out: int = 0

    @property
    def note(self) -> str:
        """Which of its runs are shown, in words; empty where all are."""
        if not self.left_out:
            return ""
        shown = f"Shown are {len(self.runs)} of {len(self.runs) + self.left_out} runs"
        return (
            f"{shown}: of each verdict the one whose trouble began first, then those of the first seeds."
            " Verdict, sentence and statistics count every run, and the list of all runs names them."
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
    """Everything in its order.

    Attributes:
        result: What it is about.
        control: Name of the control; None if there is none.
        groups: Tasks and models in the order of the plan.
        matrix: For each arm a cell for each group.
        anecdotal: No arm has more than one seed.
    """

    result: BenchmarkResult
    control: str | None
    groups: tuple[TaskGroup, ...]
    matrix: tuple[tuple[Arm, tuple[ArmCell, ...]], ...]
    anecdotal: bool


def build_outline(result: BenchmarkResult, series: Mapping[Key, BinnedRun]) -> Outline:
    """Arrange a result and its series for a reader."""
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
    if arm.is_control:  # every comparison on this task tells the control's own rate
        rate = next(
            (c.control_rate for c in result.comparisons if (c.task, c.model) == place), None
        )
    runs = runs_of(arm.name)
    shown = _telling(runs, room)
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
        left_out=len(runs) - len(shown),
    )


def _telling(runs: list[RunResultRow], room: int) -> list[RunResultRow]:
    """Return the runs to show: of each verdict the one whose trouble began first, then the first ones."""
    if len(runs) <= room:
        return runs
    by_verdict = ([run for run in runs if run.verdict == verdict] for verdict in VERDICTS)
    telling = [min(alike, key=_began) for alike in by_verdict if alike]
    seeds = list(dict.fromkeys(run.seed for run in (*telling, *runs)))[:room]
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
        sign = SIGNS.get(first.onset_sign or "", clean(first.onset_sign or "trouble"))
        median = comparison.onset.value if comparison else None
        onset = f"first sign at step {amount(median if median is not None else first.onset_step)}: {sign}"
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
    """Say how far a rate from so few runs can be trusted."""
    if runs == 1:
        return "one seed: anecdotal"
    told = range_percent(rate) if rate is not None else ""
    return f"{told} of such runs would fail (95% interval)" if told else count(runs, "seed")


def benchmark_headline(outline: Outline) -> list[str]:
    """Say in a few sentences which arms broke, which wavered, which did neither, and how the control did."""
    arms = [(arm, cells) for arm, cells in outline.matrix if not arm.is_control]
    worst = {
        arm.name: next((v for v in VERDICTS if any(c.verdict == v for c in cells)), "")
        for arm, cells in arms
    }
    words = {
        "failed": "failed",
        "unstable": "became unstable",
        "inconclusive": "cannot be judged",
        "stable": "gave no sign of trouble",
    }
    said = []
    for verdict in VERDICTS:
        named = [
            _named(arm, cells, verdict, outline)
            for arm, cells in arms
            if worst[arm.name] == verdict
        ]
        if named:
            said.append(
                f"{len(named)} of {count(len(arms), 'arm')} {words[verdict]}: {listing(named)}."
            )
    controls = [run for run in outline.result.runs if run.arm == outline.control]
    if controls:
        good = sum(run.verdict == "stable" for run in controls)
        name = clean(outline.control)
        called = "" if name == "control" else f", {name},"
        said.append(f"The control{called} was stable in {good} of {count(len(controls), 'run')}.")
    elif outline.result.runs:
        said.append(
            "There is no control: the arms are shown side by side and judged by themselves."
        )
    if outline.anecdotal and outline.result.runs:
        said.append("Every arm ran with one seed only: what follows is anecdotal.")
    return said


def _named(arm: Arm, cells: tuple[ArmCell, ...], verdict: str, outline: Outline) -> str:
    """Name an arm, and where it happened unless it did everywhere."""
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
