"""Colors, fonts and tick labels of all figures; the colors suit color-blind readers."""

from __future__ import annotations

from typing import Any

__all__ = ["BAD", "BLANK", "FAINT", "GUARD", "INK", "RC", "SCALER", "ZERO"]

INK, FAINT = "#22272e", "#6b7480"
BAD, GUARD, SCALER, BLANK = "#e4002b", "#e4002b", "#ff8c00", "#d5d8dc"
ZERO = "#14001f"
RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.6,
    "axes.labelcolor": INK,
    "text.color": INK,
    "text.usetex": False,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "hatch.linewidth": 0.7,
    "savefig.bbox": None,
    "savefig.transparent": False,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "axes.grid": False,
}
