"""What the plotly charts of a section share: numbers as JSON takes them, names as plotly takes them, colours."""

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

# The page's script replaces these by the style sheet's colours, light or dark.
ARM, CONTROL, BAD = "var(--arm)", "var(--control)", "var(--bad)"
_DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One chart of the page.

    Attributes:
        id: Id of its element.
        label: What it shows, in a few words, for readers who do not see it.
        height: Height in px.
        variants: Plotly data and layout by seed, or one under an empty key.
    """

    id: str
    label: str
    height: int
    variants: Mapping[str, Mapping[str, Any]]


def rounded(values: Any) -> list[float | None]:
    """Return numbers with 4 significant digits as JSON takes them; what is not finite becomes None."""
    return [
        float(f"{v:.{_DIGITS}g}") if np.isfinite(v) else None
        for v in np.asarray(values, dtype=float).tolist()
    ]


def escape_text(text: object) -> str:
    """Return a text that plotly shows as it is: plotly reads a little HTML."""
    return html.escape(clean(text), quote=False)


_MOST_POWER = 300  # 10 to more than 308 is no number


def log_ticks(low: float, high: float) -> dict[str, Any]:
    """Return a log axis with a few marks that are all as large: plotly prints 2 and 5 too small to read.

    Args:
        low: Smallest value, log10.
        high: Largest value, log10.
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
    """Return the short name of a block for an axis; where it is long, its path without what it is."""
    short = short_name(clean(block), 10 * width)
    return short if len(short) <= width else short_name(short.split(" ", maxsplit=1)[0], width)


def axis(**more: Any) -> dict[str, Any]:
    """Return an axis as all charts have it."""
    return {
        "gridcolor": "var(--grid)",
        "linecolor": "var(--faint)",
        "zeroline": False,
        "automargin": True,
        "exponentformat": "power",
        **more,
    }


def shown_name(block: str) -> str:
    """Return what an axis of plotly shows for a block."""
    return escape_text(axis_name(block))
