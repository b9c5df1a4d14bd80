"""Results in a notebook, as HTML without fixed colors, for light and dark themes."""

from __future__ import annotations

import html
from collections.abc import Sequence

from yolo_stability.core import views
from yolo_stability.core.findings import Diagnosis, Finding
from yolo_stability.core.types import Trace

__all__ = ["register_views"]

CELL = "text-align:left;vertical-align:top;white-space:normal"  # overrides notebook defaults


def register_views() -> None:
    """Register views of the core types, and the text lines of every other result."""
    views.register_html(Trace, trace_html)
    views.register_html(Diagnosis, diagnosis_html)
    views.register_html(object, lambda value: lines_html(str(value).splitlines()))


def lines_html(lines: Sequence[str]) -> str:
    """Return text lines as HTML, the first in bold and the others as a list.

    Args:
        lines: Unformatted text; a leading `- ` is dropped.
    """
    head, *rest = [html.escape(line.removeprefix("- ")) for line in lines]
    return f"<div><p><b>{head}</b></p><ul>{''.join(f'<li>{line}</li>' for line in rest)}</ul></div>"


def trace_html(trace: Trace) -> str:
    """Return the description of a trace and its table of steps."""
    return f"<div><p><code>{html.escape(repr(trace))}</code></p>{trace.steps._repr_html_()}</div>"


def diagnosis_html(diagnosis: Diagnosis) -> str:
    """Return a diagnosis: verdict and cause as sentences, findings as a table."""
    verdict = html.escape(diagnosis.verdict_words())
    parts = [f"<p><b>{verdict}</b>: {html.escape(diagnosis.why)}</p>"]
    parts += [
        f"<p><b>{name.strip().capitalize()}</b>: {html.escape(text)}</p>"
        for name, text in diagnosis.facts()
    ]
    for label, cause in zip(("Likely cause", "Next"), diagnosis.causes, strict=False):
        if label == "Likely cause" or "unknown" not in {cause.name, diagnosis.cause}:
            text = f"{cause.name} ({100 * cause.score:.0f}% of the evidence): {cause.evidence}"
            parts.append(f"<p><b>{label}</b>: {html.escape(text)}</p>")
    if diagnosis.findings:
        head = "".join(
            f'<th scope="col" style="{CELL}">{name}</th>'
            for name in ("finding", "when", "where", "seen")
        )
        rows = "".join(_row(finding) for finding in diagnosis.findings)
        parts.append(
            f'<table style="color:inherit"><thead><tr>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table>"
        )
    return f'<div style="max-width:70em">{"".join(parts)}</div>'


def _row(finding: Finding) -> str:
    """Return a finding as a table row."""
    advice = f"<br><i>To try: {html.escape(finding.remedy)}</i>" if finding.remedy else ""
    resolved = f"<br>resolved by the {finding.resolved_by}" if finding.resolved_by else ""
    cells = (
        f"<b>{html.escape(finding.severity)}</b><br>{html.escape(finding.rule)}",
        finding.when().replace("-", "&#8209;").replace(" ", "&nbsp;"),
        html.escape(finding.where()),
        f"{html.escape(finding.message)}{resolved}{advice}",
    )
    row = "".join(f'<td style="{CELL}">{cell}</td>' for cell in cells)
    return f"<tr>{row}</tr>"
