"""The tables and lists of a report as text, shared by HTML and Markdown."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolo_stability.benchmarks.rows import Comparison
from yolo_stability.core.text import clean, count, listing, number, percent
from yolo_stability.report.differences import differences
from yolo_stability.report.moments import Pair, moments
from yolo_stability.report.outline import VERDICTS, ArmCell, Outline, Section
from yolo_stability.report.phrases import amount, estimate_text, range_percent, task_name

__all__ = [
    "GLOSSARY",
    "Table",
    "block_table",
    "command_of",
    "comparison_sentences",
    "lost_runs",
    "number_table",
    "run_table",
    "setting_table",
]

GLOSSARY = (
    (
        "arm",
        "One setting of the suite. The control is the stock recipe with which all arms are "
        "compared.",
    ),
    (
        "seed",
        "One repetition with its own random numbers. Control and arm are compared seed by seed. "
        "A result from a single seed is anecdotal: it may not recur.",
    ),
    (
        "verdict",
        "failed: the model did not learn, or training broke down. unstable: it was disturbed, or "
        "lost much of what it had learned. stable: nothing critical. inconclusive: too short, "
        "broken off, or too few data for a verdict. Warnings alone change no verdict.",
    ),
    (
        "learning",
        "Whether the model that the run ended with has learned, from its validations: learned, "
        "declined, not learned, too early to know (such a run counts in rates), or unknown where "
        "nothing was validated.",
    ),
    (
        "first sign",
        "The earliest step at which a rule found a problem: NaN or Inf, a loss of zero, an update "
        "as large as the weights, a norm or loss far from the history of the run or from the "
        "control, and others.",
    ),
    (
        "diagnosis",
        "The findings of the rules in the trace of a run, in order of time, and the causes that "
        "the findings and the settings support. The share of the evidence ranks causes; it is not "
        "a probability.",
    ),
    ("block", "One module of the network, such as model.0 Conv; the head is split by branch."),
    ("gradient norm", "L2 norm of the gradient of a block or of the whole model, before clipping."),
    ("skipped", "A step that the guard skipped: the weights did not change."),
    (
        "95% interval",
        "The range that contains the true value in 95 of 100 such benchmarks. "
        "With few seeds it is wide.",
    ),
)
_LOST = {
    "crashed": "crashed",
    "killed": "was killed",
    "timeout": "hit its time limit",
    "memory": "ran out of memory",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of text cells.

    Attributes:
        caption: Caption of the table.
        columns: Name and style of each column: `n` for numbers, `w` for wide text, else empty.
        rows: Cells; the first cell of a row is its heading.
        style: CSS class of the table.
    """

    caption: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, ...], ...]
    style: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """The result of the comparison of one arm on one task: `lead`, which is a link, and `rest`."""

    cell: ArmCell
    lead: str
    rest: str


def comparison_sentences(outline: Outline) -> tuple[Sentence, ...]:
    """Return the sentences of all comparisons, worst verdicts first."""
    order = {verdict: i for i, verdict in enumerate(VERDICTS)}
    found = [
        _sentence(section, group.title)
        for group in outline.groups
        for section in group.sections
        if section.comparison is not None and section.runs
    ]
    return tuple(sorted(found, key=lambda item: order.get(item.cell.verdict, len(order))))


def _sentence(section: Section, place: str) -> Sentence:
    """Split the sentence after the name of the arm, which is prepended if missing."""
    arm = clean(section.arm.name)
    text = clean(section.comparison.sentence) if section.comparison else ""
    if text.startswith(arm):
        return Sentence(cell=section.cell, lead=arm, rest=text.removeprefix(arm))
    return Sentence(cell=section.cell, lead=f"{arm}, {place.lower()}", rest=f": {text}")


def lost_runs(outline: Outline) -> str:
    """Return a sentence about crashed and killed runs; empty if there are none."""
    lost = [run for run in outline.result.runs if run.outcome in _LOST]
    if not lost:
        return ""
    named = [
        f"{clean(run.arm)} on {task_name(clean(run.task)).lower()}, seed {run.seed}, "
        f"{_LOST[run.outcome]}"
        for run in lost
    ]
    rest = f" and {len(named) - 6} more" if len(named) > 6 else ""
    return (
        f"{count(len(lost), 'run')} did not complete: {listing(named[:6])}{rest}. "
        "The other runs are not affected."
    )


def number_table(outline: Outline) -> Table:
    """Return the table of statistics, one row per arm and task."""
    names = (
        *("failed runs", "too early", "rate, 95%", "control's rate, 95%", "p", "first sign, step"),
        *(
            "peak norm, x control",
            "median norm, x control",
            "final fitness, difference",
            "clipped steps",
        ),
    )
    rows = [
        (
            f"{clean(section.arm.name)}, {group.title}",
            *_numbers(section.comparison, _decided(outline, section)),
        )
        for group in outline.groups
        for section in group.sections
        if section.comparison is not None
    ]
    columns = (("Arm", ""), *((name, "n") for name in names))
    return Table(caption="Statistics by arm and task", columns=columns, rows=tuple(rows))


def _decided(outline: Outline, section: Section) -> int:
    """Return the number of runs of a section that count in rates."""
    cell = section.arm.name, section.task, section.model
    return sum((r.arm, r.task, r.model) == cell and r.counts for r in outline.result.runs)


def _numbers(found: Comparison, decided: int) -> tuple[str, ...]:
    return (
        f"{found.failures} of {decided}" + (" (anecdotal)" if found.anecdotal else ""),
        str(found.too_early),
        range_percent(found.rate) or "-",
        range_percent(found.control_rate) or "-",
        "-" if found.p_value is None else f"{found.p_value:.3g}",
        estimate_text(found.onset),
        estimate_text(found.peak_ratio),
        estimate_text(found.median_ratio),
        estimate_text(found.fitness_difference),
        percent(found.clip_saturation),
    )


def setting_table(outline: Outline) -> Table:
    """Return the table of effective settings that differ between arms and control."""
    rows = tuple(
        (item.arm, item.key, item.control, item.value, item.where or "all tasks")
        for item in differences(outline)
    )
    columns = (("Arm", ""), ("Setting", ""), ("Control", ""), ("This arm", ""), ("Where", ""))
    return Table(caption="Effective settings that differ", columns=columns, rows=rows)


def run_table(outline: Outline) -> Table:
    """Return the table of all runs, in the order of the plan."""
    columns = (
        ("Run", ""),
        ("Outcome", ""),
        ("Verdict", ""),
        ("Learning", ""),
        ("Why", "w"),
        ("First sign", "n"),
        ("Steps", "n"),
        ("Skipped", "n"),
        ("Final mAP50", "n"),
        ("Peak norm", "n"),
        ("Seconds", "n"),
        ("Folder", ""),
    )
    rows = []
    for run in outline.result.runs:
        why = " ".join(clean(text) for text in (run.why, run.error) if text)
        planned = (
            f" of {run.planned_steps:,}"
            if run.planned_steps and run.planned_steps != run.steps
            else ""
        )
        rows.append(
            (
                f"{clean(run.arm)}, {clean(run.task)}, {clean(run.model)}, seed {run.seed}",
                clean(run.outcome),
                clean(run.verdict),
                clean(run.learning).replace("_", " "),
                why or "-",
                "-" if run.onset_step is None else f"{run.onset_step:,}",
                f"{run.steps:,}{planned}",
                str(run.skipped),
                number(run.fitness),
                number(run.peak_norm),
                number(run.seconds.get("total")),
                clean(run.folder) or "-",
            )
        )
    return Table(caption="All runs", columns=columns, rows=tuple(rows))


def block_table(pair: Pair, section: Section) -> Table:
    """Return the table of block norms of one seed and its control at start, onset and end."""
    columns: list[tuple[str, str]] = [("Block", "")]
    values: list[Any] = []
    for moment in moments(pair):
        if moment.control is not None:
            columns.append((f"{moment.name}: control", "n"))
            values.append([_cell(v, False) for v in moment.control])
        columns.append(
            (f"{moment.name}: this arm" if moment.control is not None else moment.name, "n")
        )
        values.append(
            [_cell(v, bad) for v, bad in zip(moment.norms, moment.nonfinite, strict=True)]
        )
    if section.comparison is not None:
        ratio = {item.block: estimate_text(item.ratio) for item in section.comparison.blocks}
        columns.append(("ratio to control, all seeds", "n"))
        values.append([ratio.get(block, "-") for block in pair.series.blocks])
    columns.append(("NaN or Inf from step", "n"))
    values.append([_first_bad(row, pair) for row in pair.series.block_nonfinite])
    rows = tuple(zip([clean(block) for block in pair.series.blocks], *values, strict=True))
    place = f"{task_name(clean(section.task)).lower()}, {clean(section.model)}"
    caption = f"block norms of {clean(section.arm.name)} on {place}, seed {pair.run.seed}"
    return Table(caption=caption, columns=tuple(columns), rows=rows)


def _cell(value: float, bad: bool) -> str:
    if np.isfinite(value):
        return number(float(value)) + (" (and NaN or Inf)" if bad else "")
    return "NaN or Inf" if bad else "-"


def _first_bad(row: Any, pair: Pair) -> str:
    found = np.flatnonzero(row > 0)
    return amount(int(pair.series.first[found[0]])) if len(found) else "-"


def command_of(outline: Outline) -> str:
    """Return the command recorded in the manifest; empty if there is none."""
    command = outline.result.manifest.get("command", "")
    if isinstance(command, list | tuple):
        return shlex.join(clean(part) for part in command)
    return clean(command) if command else ""
