"""Results in a notebook, as HTML without a color of its own: it is read on light and dark alike."""

from __future__ import annotations

import html
from collections.abc import Sequence

from yolo_stability.core import views
from yolo_stability.core.findings import Diagnosis, Finding
from yolo_stability.core.types import Trace

__all__ = ["register_views"]

CELL = "text-align:left;vertical-align:top;white-space:normal"  # notebooks align right, in one line


def register_views() -> None:
    """Register the types below this package, and for every other result its lines."""
    views.register_html(Trace, trace_html)
    views.register_html(Diagnosis, diagnosis_html)
    views.register_html(object, lambda value: lines_html(str(value).splitlines()))


def lines_html(lines: Sequence[str]) -> str:
    """Return lines with the first in bold and the others as a list.

    Args:
        lines: Plain text; a leading `- ` is dropped.
    """
    head, *rest = [html.escape(line.removeprefix("- ")) for line in lines]
    return f"<div><p><b>{head}</b></p><ul>{''.join(f'<li>{line}</li>' for line in rest)}</ul></div>"


def trace_html(trace: Trace) -> str:
    """Return what a trace is, and its steps as a frame shows itself."""
    return f"<div><p><code>{html.escape(repr(trace))}</code></p>{trace.steps._repr_html_()}</div>"


def diagnosis_html(diagnosis: Diagnosis) -> str:
    """Return a diagnosis: verdict and cause as sentences, findings as a table."""
    parts = [f"<p><b>{html.escape(diagnosis.verdict)}</b>: {html.escape(diagnosis.why)}</p>"]
    for label, cause in zip(("Likely cause", "Next"), diagnosis.causes, strict=False):
        if label == "Likely cause" or "unknown" not in {cause.name, diagnosis.cause}:
            said = f"{cause.name} ({100 * cause.score:.0f}% of the evidence): {cause.evidence}"
            parts.append(f"<p><b>{label}</b>: {html.escape(said)}</p>")
    if diagnosis.findings:
        head = "".join(
            f'<th scope="col" style="{CELL}">{name}</th>'
            for name in ("finding", "steps", "block", "seen")
        )
        rows = "".join(_row(finding) for finding in diagnosis.findings)
        parts.append(
            f'<table style="color:inherit"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        )
    return f'<div style="max-width:70em">{"".join(parts)}</div>'


def _row(finding: Finding) -> str:
    """Return the finding as a row of a table in a notebook."""
    advice = f"<br><i>To try: {html.escape(finding.remedy)}</i>" if finding.remedy else ""
    cells = (
        f"<b>{html.escape(finding.severity)}</b><br>{html.escape(finding.rule)}",
        finding.when().partition(" ")[2].replace("-", "&#8209;"),
        html.escape(finding.block or ""),
        f"{html.escape(finding.message)}{advice}",
    )
    told = "".join(f'<td style="{CELL}">{cell}</td>' for cell in cells)
    return f"<tr>{told}</tr>"
