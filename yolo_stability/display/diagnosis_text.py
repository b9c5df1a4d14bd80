"""Diagnosis output for the console."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.text import Text

from yolo_stability.core.errors import printable
from yolo_stability.core.findings import Diagnosis

__all__ = ["colored", "verdict_lines"]

_INDENT = " " * 9
VERDICT_COLORS = {
    "failed": "bold red",
    "critical": "bold red",
    "unstable": "yellow",
    "warning": "yellow",
    "stable": "green",
    "inconclusive": "cyan",
}


def colored(lines: Sequence[str]) -> list[Text]:
    """Return the lines of a diagnosis or audit with verdicts and severities in color."""
    texts = []
    for line in lines:
        word = line.split(" ", 1)[0].rstrip(":")
        text = Text(line)
        if word in VERDICT_COLORS:
            text.stylize(VERDICT_COLORS[word], 0, len(word))
        texts.append(text)
    return texts


def verdict_lines(diagnosis: Diagnosis, place: object, width: int) -> list[Text]:
    """Return the verdict with its reason and cause, for the end of a run.

    Args:
        diagnosis: The diagnosis of the run.
        place: Run folder for the command that prints the full diagnosis.
        width: Maximum number of columns; a path is never broken.
    """
    lines = diagnosis.headline(width)
    if diagnosis.cause not in {None, "unknown"}:
        evidence = f"cause:   {diagnosis.cause}, since {diagnosis.causes[0].evidence}"
        lines += textwrap.wrap(printable(evidence), width, subsequent_indent=_INDENT)
    for name, fact in diagnosis.facts():
        lines += textwrap.wrap(
            f"{name.strip()}:".ljust(9) + printable(fact), width, subsequent_indent=_INDENT
        )
    if diagnosis.verdict in {"failed", "unstable"}:
        lines.append(f"more:    yolo-stability diagnose {place}")
    return colored(lines)
