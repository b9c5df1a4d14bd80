"""Advice against a cause, as measured: from `configs/remedies.json`, written by `suite=remedies`.

Only measured cells of the matrix are used. If nothing was measured, that is reported, and a
diagnosis keeps the general advice of its rules.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from yolo_stability.core.findings import Cause, Finding
from yolo_stability.core.resources import resource
from yolo_stability.core.text import listing
from yolo_stability.core.types import RunHeader
from yolo_stability.diagnosis.acting_advice import acting_findings, can_act

__all__ = ["NOT_MEASURED", "SCHEMA_VERSION", "advice", "advised", "measured_optimizers"]

SCHEMA_VERSION = 1
NOT_MEASURED = "not measured: no run of suite=remedies shows what helps against it"
_GENERAL = frozenset(
    {
        "oscillation",
        "update_ratio",
        "collapse",
        "clip_saturation",
        "divergence",
        "vanishing",
        "exploding",
    }
)
"""Rules whose advice concerns the cause rather than the symptom: measured advice replaces it."""
_MOST = 2

Cells = Sequence[Mapping[str, Any]]


def advice(
    cause: str,
    optimizer: str | None = None,
    path: Path | None = None,
    header: RunHeader | None = None,
) -> str:
    """Return what helped against a cause, with confidence interval and cost on a healthy run.

    Args:
        cause: Name of a cause, as in a diagnosis.
        optimizer: Optimizer of the run; None for any that was measured.
        path: A file other than the packaged one.
        header: Header of the run, so that nothing is advised that is in force or cannot act there.

    Returns:
        The best remedies first; or that no tested remedy helped; or `NOT_MEASURED`.

    Example:
        >>> advice("unknown") == NOT_MEASURED
        True
    """
    table = _table(path)
    rows = [row for row in table.get("rows", ()) if row["cause"] == cause]
    same = [row for row in rows if optimizer and row["optimizer"].lower() == optimizer.lower()]
    measured = [(row, text) for row in same or rows if (text := _row_advice(table, row, header))]
    if not measured:
        return NOT_MEASURED
    if same or len(measured) == 1:
        found = "; ".join(dict.fromkeys(text for _, text in measured))
        return (
            found
            if same or not optimizer
            else f"{found} (measured under {measured[0][0]['optimizer']})"
        )
    return "; ".join(f"under {row['optimizer']}: {text}" for row, text in measured)


def measured_optimizers(cause: str, path: Path | None = None) -> tuple[str, ...]:
    """Return the optimizers under which remedies against a cause were measured.

    Args:
        cause: Name of a cause, as in a diagnosis.
        path: A file other than the packaged one.

    Example:
        >>> measured_optimizers("unknown")
        ()
    """
    table = _table(path)
    rows = [row for row in table.get("rows", ()) if row["cause"] == cause]
    return tuple(dict.fromkeys(row["optimizer"] for row in rows if _row_advice(table, row, None)))


def advised(
    findings: Sequence[Finding], causes: Sequence[Cause], header: RunHeader | None
) -> tuple[Finding, ...]:
    """Replace the general advice of findings by the measured one against the likeliest cause, once.

    What is in force already, or cannot act in this run, is not advised.

    Args:
        findings: Findings, most severe first.
        causes: Causes, most likely first.
        header: Header of the run, for its optimizer; None if only the trace may be used.
    """
    optimizer = None if header is None else str(header.effective.get("optimizer") or "")
    text = advice(causes[0].name, optimizer, header=header) if causes else NOT_MEASURED
    findings = acting_findings(findings, header)
    if text == NOT_MEASURED:
        return findings
    general = [f for f in findings if f.rule in _GENERAL and f.remedy and f.severity != "info"]
    return tuple(
        replace(f, remedy=text if f is general[0] else "") if f in general else f for f in findings
    )


@cache
def _table(path: Path | None) -> Mapping[str, Any]:
    """Return the packaged matrix; empty if it is missing or has another version."""
    try:
        file = resource("configs", "remedies.json") if path is None else path
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return (
        content
        if isinstance(content, dict) and content.get("schema_version") == SCHEMA_VERSION
        else {}
    )


def _row_advice(table: Mapping[str, Any], row: Mapping[str, Any], header: RunHeader | None) -> str:
    """Return what helped against one cause; empty if no cell was measured with enough seeds."""
    settings = {
        column["name"]: column["settings"]
        for column in table["columns"]
        if can_act(column["settings"], header)
    }
    cells = [
        c
        for c in table["cells"]
        if c["cause"] == row["name"] and c["verdict"] not in {"void", "missing"}
    ]
    sure = [c for c in cells if c["verdict"] != "anecdotal"]
    if not sure:
        return ""
    for word in ("recommended", "costly"):
        found = [(name, own) for name in settings if (own := _of(sure, name, word))]
        best = sorted(found, key=lambda pair: _worth(pair[1]), reverse=True)[:_MOST]
        if best:
            return " or ".join(
                f"{settings[name]} ({_result(table, name, own)})" for name, own in best
            )
    tried = sum(bool(_of(sure, name)) for name in settings)
    return (
        f"none of the {tried} remedies of suite=remedies saved significantly more runs than no "
        "remedy"
    )


def _of(cells: Cells, remedy: str, verdict: str | None = None) -> Cells:
    return [c for c in cells if c["remedy"] == remedy and verdict in {None, c["verdict"]}]


def _worth(cells: Cells) -> tuple[float, float]:
    """Return the sort key of a remedy: runs saved over all tasks, then their fitness."""
    return sum(c["own"]["saved"] for c in cells), sum(c["own"]["fitness"]["value"] for c in cells)


def _result(table: Mapping[str, Any], remedy: str, cells: Cells) -> str:
    """Describe how often a remedy saved a run, and its cost."""
    tasks = {c["task"] for c in cells}
    saved = listing(
        f"{c['own']['saved']} of {len(c['own']['seeds'])} on {c['task']}"
        f" ({100 * c['own']['share']['low']:.0f}-{100 * c['own']['share']['high']:.0f} %)"
        for c in cells
    )
    prices = [p for p in table["prices"] if p["remedy"] == remedy and p["task"] in tasks]
    return (
        f"in suite=remedies it saved {saved.replace(' on ', ' runs on ', 1)}, and {_price(prices)}"
    )


def _price(prices: Cells) -> str:
    """Describe the cost of a remedy on a healthy run, for the task with the highest cost."""
    worst = min((p["own"]["fitness"] for p in prices), key=lambda share: share["value"])
    if all(p["own"]["fitness"]["high"] >= 1 for p in prices):
        return "has no measurable cost on a healthy run"
    low, high = (100 * (1 - worst[bound]) for bound in ("high", "low"))
    return f"costs a healthy run {100 * (1 - worst['value']):.0f} % ({low:.0f}-{high:.0f} %)"
