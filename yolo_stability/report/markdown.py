"""The Markdown report (`report.md`), for terminals and pull requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from yolo_stability.core.text import clean, setting
from yolo_stability.report.differences import flatten
from yolo_stability.report.figures import Picture
from yolo_stability.report.findings import Diagnosed, diagnosed
from yolo_stability.report.moments import pairs, worst_pair
from yolo_stability.report.outline import ArmCell, Outline, Section, benchmark_headline
from yolo_stability.report.phrases import run_sentence
from yolo_stability.report.tables import (
    GLOSSARY,
    Table,
    block_table,
    command_of,
    comparison_sentences,
    lost_runs,
    number_table,
    run_table,
    setting_table,
)

__all__ = ["markdown"]

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~&!$@])")


def markdown(outline: Outline, pictures: Sequence[Picture], folder: str) -> str:
    """Return the report as Markdown.

    Args:
        outline: Content of the report.
        pictures: The plots.
        folder: Folder of the plots, relative to the report.
    """
    result = outline.result
    lines = [f"# Stability benchmark: {_text(result.suite)}", _text(result.description)]
    lines += [_text(line) for line in benchmark_headline(outline)]
    lines += [f"**{_text(lost)}**"] if (lost := lost_runs(outline)) else []
    lines.append(
        "\n".join(
            f"- **{_text(item.cell.verdict)}** "
            f"{_link(_text(item.lead), item.cell)}{_text(item.rest, strip=False)}"
            for item in comparison_sentences(outline)
        )
    )
    lines += ["## Verdicts by arm and task", _matrix(outline)]
    for group in outline.groups:
        lines += [_anchor(group.id), f"## {_text(group.title)}"]
        lines += [
            f"![{_text(p.alt)}]({folder}/{p.name})"
            for p in pictures
            if p.name.startswith(f"{group.id}-")
        ]
        for section in group.sections:
            lines += _section(section)
    lines += [
        "## Numbers against the control",
        _table(number_table(outline), "There is no control to compare with."),
    ]
    lines += [
        "## Settings that differ from the control",
        _table(setting_table(outline), "None, or none were recorded."),
    ]
    lines += ["## All runs", _table(run_table(outline), "None.")]
    lines += ["## Environment and command"]
    if command := command_of(outline):
        lines += ["This command reproduces the benchmark:", _code(command)]
    manifest = {key: value for key, value in result.manifest.items() if key != "command"}
    lines += [_pairs(flatten(manifest)), _pairs(flatten(result.totals))]
    lines += ["## How to read this", _pairs(GLOSSARY)]
    return "\n\n".join(line for line in lines if line) + "\n"


def _text(text: str, *, strip: bool = True) -> str:
    """Escape a text for Markdown, on one line."""
    escaped = _SPECIAL.sub(r"\\\1", clean(text))
    return escaped.strip() if strip else escaped


def _anchor(name: str) -> str:
    """Return a link target: the automatic targets of headings depend on the renderer."""
    return f'<a id="{name}"></a>'


def _link(text: str, cell: ArmCell) -> str:
    """Return a text as a link to the section of a cell, if there is one."""
    return f"[{text}](#{cell.link})" if cell.link else text


def _code(command: str) -> str:
    """Return a code block whose fence does not occur in the text."""
    longest = max((len(hit) for hit in re.findall(r"`+", command)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{command}\n{fence}"


def _pairs(items: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"- **{_text(name)}**: {_text(value)}" for name, value in items)


def _table(table: Table, otherwise: str) -> str:
    if not table.rows:
        return otherwise
    head = " | ".join(_text(name) for name, _ in table.columns)
    rule = " | ".join("---:" if kind == "n" else "---" for _, kind in table.columns)
    rows = (" | ".join(_text(cell) for cell in row) for row in table.rows)
    return "\n".join(f"| {line} |" for line in (head, rule, *rows))


def _matrix(outline: Outline) -> str:
    head = ["Arm", *(f"[{_text(group.title)}](#{group.id})" for group in outline.groups)]
    rows = [
        [
            _text(arm.name) + (" (control)" if arm.is_control else ""),
            *(_cell(cell) for cell in cells),
        ]
        for arm, cells in outline.matrix
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


def _cell(cell: ArmCell) -> str:
    if not cell.verdict:
        return "not run"
    parts = (
        f"{_link(f'**{_text(cell.verdict)}**', cell)} {_text(cell.runs)}",
        *map(_text, (cell.onset, cell.block, cell.cause, cell.sure)),
    )
    return "<br>".join(part for part in parts if part)


def _section(section: Section) -> list[str]:
    if not section.runs:
        return []
    arm = section.arm
    lines = [_anchor(section.id), f"### {_text(arm.name)}: {_text(section.cell.verdict)}"]
    lines += [_text(section.comparison.sentence)] if section.comparison else []
    lines += (
        [f"Claim tested: {_text(arm.claim)} Expected: {_text(arm.expects)}"] if arm.claim else []
    )
    if arm.overrides:
        changes = " ".join(f"{clean(key)}={setting(value)}" for key, value in arm.overrides.items())
        lines.append(f"Changed from the suite's settings: {_text(changes)}")
    lines += [_text(section.note)] if section.note else []
    for run in diagnosed([run for run, _ in section.runs]):
        lines += _diagnosis(run)
    lines.append(
        "\n".join(
            f"- seed {run.seed}: {_text(run_sentence(run, series))}" for run, series in section.runs
        )
    )
    if found := pairs(section):
        table = block_table(worst_pair(found), section)
        lines += [_text(f"{table.caption[0].upper()}{table.caption[1:]}:"), _table(table, "")]
    return lines


def _diagnosis(run: Diagnosed) -> list[str]:
    """Return the lines about the diagnosis of a run: causes, then findings in order of time."""
    causes = [
        f"**Diagnosis of seed {run.seed}, {_text(run.verdict)}.** Likely cause: {_text(run.cause)}."
    ]
    if run.others:
        causes.append(f"Less likely: {_text('; '.join(run.others))}.")
    seen = [
        f"{number}. {_text(item.severity)}: "
        f"{_text(', '.join(part for part in (item.what, item.where) if part))}: "
        f"{_text(item.message)}." + (f" To try: {_text(item.remedy)}." if item.remedy else "")
        for number, item in enumerate(run.seen, 1)
    ]
    return [" ".join(causes), "\n".join(seen)]
