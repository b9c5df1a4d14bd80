"""Helpers for plotly charts: JSON-safe numbers, escaped names, axes and colors."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolo_stability.core.text import brief, clean, short_name

__all__ = [
    "ARM",
    "BAD",
    "CONTROL",
    "Chart",
    "axis",
    "axis_name",
    "escape_text",
    "log_ticks",
    "rounded",
    "shown_name",
]

# The script of the page replaces these with the colors of the style sheet, light or dark.
ARM, CONTROL, BAD = "var(--arm)", "var(--control)", "var(--bad)"
_DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One chart of the page.

    Attributes:
        id: Id of its HTML element.
        label: Short description, for screen readers.
        height: Height in pixels.
        variants: Plotly data and layout by seed, or a single one under an empty key.
    """

    id: str
    label: str
    height: int
    variants: Mapping[str, Mapping[str, Any]]


def rounded(values: Any) -> list[float | None]:
    """Round numbers to 4 significant digits for JSON; non-finite values become None."""
    return [
        float(f"{v:.{_DIGITS}g}") if np.isfinite(v) else None
        for v in np.asarray(values, dtype=float).tolist()
    ]


def escape_text(text: object) -> str:
    """Escape a text for plotly, which interprets some HTML."""
    return html.escape(clean(text), quote=False)


_MOST_POWER = 300  # 10 to the power of more than 308 overflows


def log_ticks(low: float, high: float) -> dict[str, Any]:
    """Return a log axis with ticks of equal size: plotly prints its own at 2 and 5 too small.

    Args:
        low: log10 of the smallest value.
        high: log10 of the largest value.
    """
    powers = range(max(-_MOST_POWER, int(np.floor(low))), min(_MOST_POWER, int(np.ceil(high))) + 1)
    if high - low < 2:
        values = [float(f"{m}e{p}") for p in powers for m in (1, 2, 5)]
        return {"type": "log", "tickvals": values, "ticktext": [brief(v, 5) for v in values]}
    shown = powers[:: max(1, round((high - low) / 4))]
    return {
        "type": "log",
        "tickvals": [10.0**p for p in shown],
        "ticktext": [f"10<sup>{p}</sup>" for p in shown],
    }


def axis_name(block: str, width: int = 20) -> str:
    """Return a short name of a block for an axis; a long one is reduced to its path."""
    short = short_name(clean(block), 10 * width)
    return short if len(short) <= width else short_name(short.split(" ", maxsplit=1)[0], width)


def axis(**more: Any) -> dict[str, Any]:
    """Return an axis with the defaults of all charts."""
    return {
        "gridcolor": "var(--grid)",
        "linecolor": "var(--faint)",
        "zeroline": False,
        "automargin": True,
        "exponentformat": "power",
        **more,
    }


def shown_name(block: str) -> str:
    """Return the label of a block for a plotly axis."""
    return escape_text(axis_name(block))
