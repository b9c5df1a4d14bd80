"""What to try against a cause, as it was measured: from `configs/remedies.json`, which a run of `suite=remedies` wrote.

Only cells of the matrix that were measured say anything. What was not measured is told as such, and a diagnosis then
keeps the general advice of its rules.
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

__all__ = ["NOT_MEASURED", "SCHEMA_VERSION", "advice", "advised"]

SCHEMA_VERSION = 1
NOT_MEASURED = "not measured: no run of suite=remedies says what helps against it"
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
"""Rules whose advice is about the cause, not about what they saw: the measured one takes its place."""
_MOST = 2

Cells = Sequence[Mapping[str, Any]]


def advice(cause: str, optimizer: str | None = None, path: Path | None = None) -> str:
    """Say what helped against a cause, how surely, and what it costs a healthy run.

    Args:
        cause: Name of a cause, as a diagnosis has it.
        optimizer: Optimizer of the run; None for whichever was measured.
        path: Another file than the one that ships.

    Returns:
        The best remedies first; or that none of those tried helped; or `NOT_MEASURED`.
    """
    table = _table(path)
    rows = [row for row in table.get("rows", ()) if row["cause"] == cause]
    same = [row for row in rows if optimizer and row["optimizer"].lower() == optimizer.lower()]
    told = [(row, text) for row in same or rows if (text := _row_advice(table, row))]
    if not told:
        return NOT_MEASURED
    if same or len(told) == 1:
        found = "; ".join(dict.fromkeys(text for _, text in told))
        return (
            found
            if same or not optimizer
            else f"{found} (measured under {told[0][0]['optimizer']})"
        )
    return "; ".join(f"under {row['optimizer']}: {text}" for row, text in told)


def advised(
    findings: Sequence[Finding], causes: Sequence[Cause], header: RunHeader | None
) -> tuple[Finding, ...]:
    """Return findings whose general advice is what was measured against the likeliest cause, said once.

    Args:
        findings: The findings, most severe first.
        causes: Causes, most likely first.
        header: Of the run, for its optimizer; None where nothing but the trace may be known.
    """
    optimizer = None if header is None else str(header.effective.get("optimizer") or "")
    text = advice(causes[0].name, optimizer) if causes else NOT_MEASURED
    if text == NOT_MEASURED:
        return tuple(findings)
    general = [f for f in findings if f.rule in _GENERAL and f.remedy and f.severity != "info"]
    return tuple(
        replace(f, remedy=text if f is general[0] else "") if f in general else f for f in findings
    )


@cache
def _table(path: Path | None) -> Mapping[str, Any]:
    """Return the matrix that ships; an empty one where there is none, or that of another version."""
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


def _row_advice(table: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """Say what helped against one cause; nothing where no cell was measured with enough seeds."""
    settings = {column["name"]: column["settings"] for column in table["columns"]}
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
                f"{settings[name]} ({_told(table, name, own)})" for name, own in best
            )
    tried = sum(bool(_of(sure, name)) for name in settings)
    return f"none of the {tried} remedies of suite=remedies saved more runs than doing nothing, beyond doubt"


def _of(cells: Cells, remedy: str, verdict: str | None = None) -> Cells:
    return [c for c in cells if c["remedy"] == remedy and verdict in {None, c["verdict"]}]


def _worth(cells: Cells) -> tuple[float, float]:
    """Return what to sort by: runs saved over all tasks, then what they learned."""
    return sum(c["own"]["saved"] for c in cells), sum(c["own"]["fitness"]["value"] for c in cells)


def _told(table: Mapping[str, Any], remedy: str, cells: Cells) -> str:
    """Say how often a remedy saved a run, and its price."""
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
    """Say what a remedy costs a healthy run, on the task where it costs most."""
    worst = min((p["own"]["fitness"] for p in prices), key=lambda share: share["value"])
    if all(p["own"]["fitness"]["high"] >= 1 for p in prices):
        return "costs nothing measurable on a healthy run"
    low, high = (100 * (1 - worst[bound]) for bound in ("high", "low"))
    return f"costs a healthy run {100 * (1 - worst['value']):.0f} % ({low:.0f}-{high:.0f} %)"
