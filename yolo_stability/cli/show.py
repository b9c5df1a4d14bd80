"""Prints results with rich formatting: tables of `probe` and `mechanics`, and diagnoses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yolo_stability.diagnosis.targets import Examination
    from yolo_stability.studies.mechanics.result import MechanicsResult
    from yolo_stability.studies.probe.result import ProbeResult

__all__ = ["show_examined", "show_mechanics", "show_probes"]


def show_probes(results: Sequence[ProbeResult], picture: Path | None = None) -> None:
    """Print probes side by side, with their verdicts and reasons.

    Args:
        results: From `api.probe_grid`, or `[probe(...)]`.
        picture: Path of the plot, if there is one.
    """
    from rich.console import Console

    from yolo_stability.studies.probe.tables import probe_lines, probe_table

    console = Console(highlight=False)
    console.print()
    console.print(probe_table(results))
    for line in probe_lines(results):
        console.print(line, markup=False)
    if picture:
        console.print(f"picture: {picture}", soft_wrap=True)


def show_examined(examined: Examination, width: int = 80) -> None:
    """Print a diagnosis.

    Args:
        examined: From `api.examine`.
        width: Maximum line width, in columns.
    """
    from rich.console import Console

    from yolo_stability.diagnosis.rules import RULES
    from yolo_stability.display.diagnosis_text import colored

    console = Console(highlight=False)
    for line in colored(examined.lines(width)):
        console.print(line, soft_wrap=True)
    names = [f.rule for f in examined.diagnosis.findings if f.rule in RULES.names]
    if names:
        console.print(f"more: yolo-stability explain {names[0]}", soft_wrap=True)


def show_mechanics(result: MechanicsResult) -> None:
    """Print the table, the conclusions and the path of the plot of each study.

    Args:
        result: From `api.mechanics`.
    """
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    for study in result.studies:
        console.print()
        console.print(study.table())
        console.print()
        for text in study.verdicts:
            console.print(f"- {text}")
        console.print(f"picture: {study.picture}", soft_wrap=True)
    console.print(f"\nfigures: {result.out / 'mechanics.json'}", soft_wrap=True)
