"""A diagnosis on the console."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.text import Text

from yolo_stability.core.errors import printable
from yolo_stability.core.findings import Diagnosis

__all__ = ["colored", "verdict_lines"]

VERDICT_COLORS = {
    "failed": "bold red",
    "critical": "bold red",
    "unstable": "yellow",
    "warning": "yellow",
    "stable": "green",
    "inconclusive": "cyan",
}


def colored(plain: Sequence[str]) -> list[Text]:
    """Return the lines of a diagnosis or audit, verdicts and severities in colour."""
    lines = []
    for line in plain:
        word = line.split(" ", 1)[0].rstrip(":")
        text = Text(line)
        if word in VERDICT_COLORS:
            text.stylize(VERDICT_COLORS[word], 0, len(word))
        lines.append(text)
    return lines


def verdict_lines(diagnosis: Diagnosis, place: object, width: int) -> list[Text]:
    """Return the verdict with its reason and cause, for the end of a run.

    Args:
        diagnosis: What was found.
        place: The run folder, to be diagnosed in full.
        width: Columns that a line may take; a path is never broken.
    """
    plain = textwrap.wrap(
        printable(f"{diagnosis.verdict}: {diagnosis.why}"), width, subsequent_indent="  "
    )
    if diagnosis.cause not in {None, "unknown"}:
        evidence = f"cause:   {diagnosis.cause}, since {diagnosis.causes[0].evidence}"
        plain += textwrap.wrap(printable(evidence), width, subsequent_indent=" " * 9)
    if diagnosis.verdict in {"failed", "unstable"}:
        plain.append(f"more:    yolo-stability diagnose {place}")
    return colored(plain)
