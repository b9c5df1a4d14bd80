"""`RunResult`, the return value of `train`, with its terminal and notebook views."""

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
    """Result of a training.

    `print(result)` gives a summary of a few lines; a notebook also displays the diagnosis.

    Attributes:
        save_dir: Run folder of Ultralytics.
        trace: Telemetry of the run.
        metrics: Final metrics of Ultralytics' validation, by name.
        stopped: Reason why the guard, `fail_on` or a rescue ended the run early; None if it
            completed.
        diagnosis: Diagnosis of the run: verdict, cause, onset and findings; None if nothing was
            recorded.

    Example:
        >>> import contextlib, io, tempfile
        >>> from yolo_stability import train
        >>> settings = {"epochs": 1, "imgsz": 32, "batch": 8, "nbs": 8, "fraction": [16, 4]}
        >>> quiet = {"device": "cpu", "workers": 0, "plots": False, "verbose": False}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with contextlib.redirect_stdout(io.StringIO()):  # hides the progress bars
        ...         result = train(
        ...             model="yolo26n.yaml", data="shapes", project=folder,
        ...             fault="nan_grad@0", guard="skip", **settings, **quiet,
        ...         )
        >>> result.trace.steps["skipped"].to_list()
        ['guard', None]
        >>> "skipped updates: 1" in result.lines()
        True
    """

    save_dir: Path
    trace: Trace
    metrics: Mapping[str, float]
    stopped: str | None = None
    diagnosis: Diagnosis | None = None

    def lines(self, width: int = 80) -> list[str]:
        """Return the result as plain lines for a terminal.

        Args:
            width: Line width in columns; paths are never wrapped.
        """
        folder, *facts = [f"{name}: {text}" for name, text in self._facts()]
        wrapped = [
            line for text in facts for line in textwrap.wrap(text, width, subsequent_indent="  ")
        ]
        return [folder, *wrapped, *(self.diagnosis.lines(width) if self.diagnosis else [])]

    def __repr__(self) -> str:
        verdict = self.diagnosis.verdict if self.diagnosis else "not recorded"
        return f"<RunResult '{self.save_dir}': {_steps(self.trace)}, {verdict}>"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        """Return the result as HTML for notebooks, without colors of its own.

        It inherits the notebook's colors, so that it is readable in light and dark themes.
        """
        rows = "".join(
            f'<tr><th scope="row" style="text-align:left">{html.escape(name)}</th>'
            f'<td style="text-align:left;white-space:normal">{html.escape(text)}</td></tr>'
            for name, text in self._facts()
        )
        table = f'<table style="color:inherit"><tbody>{rows}</tbody></table>'
        return f"<div>{table}{self.diagnosis._repr_html_() if self.diagnosis else ''}</div>"

    def _facts(self) -> list[tuple[str, str]]:
        """Return the facts to display as (name, text) pairs, the folder first."""
        facts = [("run", str(self.save_dir)), ("recorded", _steps(self.trace))]
        skipped = self.trace.steps.height - self.trace.steps["skipped"].null_count()
        if skipped:
            facts.append(("skipped updates", str(skipped)))
        if self.stopped:
            facts.append(("stopped", self.stopped))
        main = [name for name in _MAIN if name in self.metrics]
        if main:
            short = (f"{name.removeprefix('metrics/')} {self.metrics[name]:.3f}" for name in main)
            facts.append(("metrics", ", ".join(short)))
        return facts


def _steps(trace: Trace) -> str:
    """Return the size of a trace as text."""
    steps, blocks = trace.steps.height, len(trace.header.blocks)
    return f"{steps} step{'s' * (steps != 1)} of {blocks} block{'s' * (blocks != 1)}"
