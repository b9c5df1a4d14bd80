"""Summary table and headline printed at the end of a run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from yolo_stability.core.text import count, number, percent, short_name
from yolo_stability.trace.summary import BlockSummary, RunSummary

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["run_headline", "summary_table"]

_NAME_WIDTH = 27


def summary_table(summary: RunSummary) -> Table:
    """Return a table of the blocks of a run by part of the network, at most 80 columns wide.

    Args:
        summary: Result of `summarize`.

    Returns:
        A table for `rich.console.Console.print`; norms are L2 before clipping, `share` is the
        block's fraction of the squared total norm, `update` the median of ||delta w|| / ||w|| where
        sampled.
    """
    from rich import box
    from rich.table import Table

    bad = any(b.nonfinite_steps for b in summary.blocks)
    updates = any(b.median_update is not None for b in summary.blocks)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("gradient norm of")  # the only column that may wrap
    for name in [
        "median",
        "max",
        "at step",
        "share",
        *(["update"] if updates else []),
        *(["bad"] if bad else []),
    ]:
        table.add_column(name, justify="right", no_wrap=True)
    width = len(table.columns) - 1
    for group, blocks in groupby(summary.blocks, key=lambda b: b.group):
        table.add_row(f"[bold]{group}[/]", *[""] * width)
        for block in blocks:
            table.add_row(*_cells(block, updates=updates, bad=bad), style=_style(block, summary))
        table.add_section()
    return table


def run_headline(summary: RunSummary) -> str:
    """Return a one-line summary of a run."""
    if not summary.steps:
        return "No optimizer step was recorded."
    parts = [count(summary.steps, "step")]
    if summary.guard_skips:
        parts.append(f"{summary.guard_skips} skipped by the guard")
    if summary.scaler_skips:
        parts.append(f"{summary.scaler_skips} skipped by the AMP scaler")
    if summary.clipped:
        parts.append(
            f"{summary.clipped} clipped"
            + (f" at {summary.clip_norm:g}" if summary.clip_norm else "")
        )
    if summary.attempts > 1:
        parts.append(f"{summary.attempts} attempts")
    sentences = [", ".join(parts)]
    if summary.peak is not None:
        sentences.append(f"largest norm {number(summary.peak.max_norm)} in {_at(summary.peak)}")
    if summary.nonfinite_steps:
        sentences.append(f"NaN or Inf in {count(summary.nonfinite_steps, 'step')}{_where(summary)}")
    return "; ".join(sentences)


def _cells(block: BlockSummary, *, updates: bool, bad: bool) -> Sequence[str]:
    cells = [
        " " + short_name(block.name, _NAME_WIDTH),
        number(block.median_norm),
        number(block.max_norm),
        "-" if block.max_step is None else str(block.max_step),
        percent(block.share),
    ]
    if updates:
        cells.append(number(block.median_update))
    if bad:
        cells.append(str(block.nonfinite_steps or ""))
    return cells


def _style(block: BlockSummary, summary: RunSummary) -> str:
    if (
        block.nonfinite_steps
        and summary.guard_skips + summary.scaler_skips < summary.nonfinite_steps
    ):
        return "red"
    return "yellow" if summary.worst is block else ""


def _where(summary: RunSummary) -> str:
    """Return the blocks that were non-finite, where that is informative."""
    hit = [b for b in summary.blocks if b.nonfinite_steps]
    if not hit or summary.worst is None:
        return ""
    if len(hit) == 1:
        return f", in {hit[0].name}"
    if sum(b.nonfinite_steps == summary.worst.nonfinite_steps for b in hit) == 1:
        return f", most often in {summary.worst.name}"
    return ", in every block" if len(hit) == len(summary.blocks) else f", in {len(hit)} blocks"


def _at(block: BlockSummary) -> str:
    return f"{block.name} at step {block.max_step}"
