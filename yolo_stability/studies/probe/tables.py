"""Formats probes as tables for the terminal, settings side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from yolo_stability.core.text import number, short_name
from yolo_stability.studies.probe.result import blocks_by_group

if TYPE_CHECKING:
    from rich.table import Table

    from yolo_stability.studies.probe.result import ProbeResult

__all__ = ["probe_lines", "probe_table"]


_SIDE_BY_SIDE = 4
_NAME_WIDTH, _VALUES_WIDTH = 21, 48
_STYLES = {"healthy": "green", "vanishing": "yellow", "exploding": "red"}


def probe_table(results: Sequence[ProbeResult]) -> Table:
    """Return a table of probes, at most 80 columns wide.

    Args:
        results: Probes of the same model, dataset and seed. Rows are blocks for up to four
            settings, else settings.

    Returns:
        A table for `rich.console.Console.print`.
    """
    if len(results) == 1:
        return _one_setting(results[0])
    widths = [max(len("1.00e-10"), *map(len, result.label.split())) + 1 for result in results]
    fit = len(results) <= _SIDE_BY_SIDE and sum(widths) <= _VALUES_WIDTH
    return _blocks_as_rows(results) if fit else _settings_as_rows(results)


def probe_lines(results: Sequence[ProbeResult]) -> list[str]:
    """Return a line per setting with verdict and main reason; for a single setting, all reasons."""
    lines: list[str] = []
    for result in results:
        why = result.reasons if len(results) == 1 else result.reasons[:1]
        if len(results) <= _SIDE_BY_SIDE or result.verdict != "healthy":
            lines.append(" ".join([f"{result.label}: {result.verdict}.", *why]))
    notes = dict.fromkeys(text for result in results for text in result.warnings)
    return [*lines, *(f"note: {text}" for text in notes)]


def _new_table() -> Table:
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)


def _one_setting(result: ProbeResult) -> Table:
    """Return the table of all measurements of one setting."""
    table, stock = _new_table(), {block.name: block for block in result.reference.blocks}
    compared = bool(result.settings)
    table.add_column("\n".join(textwrap.wrap(result.label, _NAME_WIDTH)))
    weights = ["weight\ngradient", *(["stock's"] if compared else [])]
    for name in (*weights, "output\ngradient", "growth", "output\nRMS", "output\nstd"):
        table.add_column(name, justify="right", no_wrap=True)
    for group, blocks in blocks_by_group(result.blocks):
        table.add_row(f"[bold]{group}[/]")
        for block in blocks:
            there = stock.get(block.name)
            cells = [number(block.grad_norm)]
            if compared:
                cells.append(number(there.grad_norm if there else None))
            cells += [number(block.output_grad_norm), number(block.growth)]
            cells += [number(block.activation_rms), number(block.activation_std)]
            table.add_row(f" {short_name(block.name, _NAME_WIDTH - 1)}", *cells)
        table.add_section()
    table.add_row(
        "total", number(result.total), *([number(result.reference.total)] if compared else [])
    )
    table.add_row(
        "loss", number(result.loss), *([number(result.reference.loss)] if compared else [])
    )
    return table


def _blocks_as_rows(results: Sequence[ProbeResult]) -> Table:
    """Return the table of weight gradients of two to four settings and stock."""
    table, reference = _new_table(), results[0].reference
    stock = [reference] if all(result.settings for result in results) else []
    profiles = [*stock, *results]
    table.add_column("weight gradient of")
    for label in ("stock", *(result.label for result in results))[1 - len(stock) :]:
        table.add_column(label.replace(" ", "\n"), justify="right", overflow="fold")
    norms = [{block.name: block.grad_norm for block in profile.blocks} for profile in profiles]
    for group, blocks in blocks_by_group(reference.blocks):
        table.add_row(f"[bold]{group}[/]")
        for block in blocks:
            cells = (number(column.get(block.name)) for column in norms)
            table.add_row(f" {short_name(block.name, _NAME_WIDTH - 1)}", *cells)
        table.add_section()
    table.add_row("total", *(number(profile.total) for profile in profiles))
    table.add_row("loss", *(number(profile.loss) for profile in profiles))
    gains = [
        *(results[0].measures.stock_gain for _ in stock),
        *(result.measures.gain for result in results),
    ]
    table.add_row("gain, head to first", *map(number, gains))
    table.add_row("verdict", *("" for _ in stock), *map(_verdict, results))
    return table


def _settings_as_rows(results: Sequence[ProbeResult]) -> Table:
    """Return the table of measures, one row per setting."""
    table = _new_table()
    table.add_column("setting", overflow="fold")
    for name in (
        "total\ngradient",
        "first block\nover head",
        "gain\nvs stock",
        "signal\nvs stock",
        "loss",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for result in results:
        measures = result.measures
        table.add_row(
            result.label,
            number(result.total),
            number(measures.first_over_head),
            number(measures.relative_gain),
            number(measures.signal),
            number(result.loss),
            _verdict(result),
        )
    return table


def _verdict(result: ProbeResult) -> str:
    return f"[{_STYLES[result.verdict]}]{result.verdict}[/]"
