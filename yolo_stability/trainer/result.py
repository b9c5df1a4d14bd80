"""What `train` returns, and how it shows itself in a terminal and in a notebook."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from yolo_stability.core.findings import Diagnosis
from yolo_stability.core.types import Trace

__all__ = ["RunResult"]

_MAIN = ("metrics/mAP50(B)", "metrics/mAP50-95(B)", "metrics/mAP50(P)", "metrics/mAP50-95(P)")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RunResult:
    """What `train` returns.

    `print(result)` tells it in a few lines; a notebook shows it with the diagnosis.

    Attributes:
        save_dir: The run folder of Ultralytics.
        trace: Its telemetry.
        metrics: Final metrics of Ultralytics' validation, by name.
        stopped: Why the guard, `fail_on` or a rescue ended the run early; None when it ran to its end.
        diagnosis: What went wrong, where, since when and why; None when nothing was recorded.
    """

    save_dir: Path
    trace: Trace
    metrics: Mapping[str, float]
    stopped: str | None = None
    diagnosis: Diagnosis | None = None

    def lines(self, width: int = 80) -> list[str]:
        """Return the result as plain lines for a terminal.

        Args:
            width: Columns that a line may take; a path is never broken.
        """
        told = [f"{name}: {text}" for name, text in self._facts()]
        wrapped = [
            line for text in told[1:] for line in textwrap.wrap(text, width, subsequent_indent="  ")
        ]
        return [told[0], *wrapped, *(self.diagnosis.lines(width) if self.diagnosis else [])]

    def __repr__(self) -> str:
        verdict = self.diagnosis.verdict if self.diagnosis else "not recorded"
        return f"<RunResult '{self.save_dir}': {_steps(self.trace)}, {verdict}>"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        """Show the result in a notebook; no colour of its own, so that it is read on light and dark alike."""
        rows = "".join(
            f'<tr><th scope="row" style="text-align:left">{html.escape(name)}</th>'
            f'<td style="text-align:left;white-space:normal">{html.escape(text)}</td></tr>'
            for name, text in self._facts()
        )
        table = f'<table style="color:inherit"><tbody>{rows}</tbody></table>'
        return f"<div>{table}{self.diagnosis._repr_html_() if self.diagnosis else ''}</div>"

    def _facts(self) -> list[tuple[str, str]]:
        """Return what is worth a line, by name; the folder first."""
        facts = [("run", str(self.save_dir)), ("recorded", _steps(self.trace))]
        skipped = self.trace.steps.height - self.trace.steps["skipped"].null_count()
        if skipped:
            facts.append(("updates left out", str(skipped)))
        if self.stopped:
            facts.append(("stopped", self.stopped))
        main = [name for name in _MAIN if name in self.metrics]
        if main:
            short = (f"{name.removeprefix('metrics/')} {self.metrics[name]:.3f}" for name in main)
            facts.append(("metrics", ", ".join(short)))
        return facts


def _steps(trace: Trace) -> str:
    """Return how much a trace holds, in words."""
    steps, blocks = trace.steps.height, len(trace.header.blocks)
    return f"{steps} step{'s' * (steps != 1)} of {blocks} block{'s' * (blocks != 1)}"
