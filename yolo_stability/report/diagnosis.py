"""A diagnosis on the console."""

from __future__ import annotations

from rich.text import Text

from yolo_stability.types import Diagnosis

__all__ = ["COLOURS", "coloured", "told_in_short"]

COLOURS = {
    "failed": "bold red",
    "critical": "bold red",
    "unstable": "yellow",
    "warning": "yellow",
    "stable": "green",
    "inconclusive": "cyan",
}


def coloured(diagnosis: Diagnosis, width: int) -> list[Text]:
    """Return the lines of a diagnosis, verdicts and severities in colour.

    Args:
        diagnosis: What was found.
        width: Columns that a line may take.
    """
    lines = []
    for line in diagnosis.lines(width):
        word = line.split(" ", 1)[0].rstrip(":")
        text = Text(line)
        if word in COLOURS:
            text.stylize(COLOURS[word], 0, len(word))
        lines.append(text)
    return lines


def told_in_short(diagnosis: Diagnosis) -> Text:
    """Return the verdict with its reason and cause, for the end of a run."""
    text = Text(f"{diagnosis.verdict}: {diagnosis.why}")
    text.stylize(COLOURS[diagnosis.verdict], 0, len(diagnosis.verdict))
    if diagnosis.cause not in {None, "unknown"}:
        text.append(f"; most likely cause: {diagnosis.cause}")
    if diagnosis.verdict in {"failed", "unstable"}:
        text.append("; 'yolo-stability diagnose' tells more")
    return text
