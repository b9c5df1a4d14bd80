"""Deterministic PNG encoding of figures."""

from __future__ import annotations

import io
from typing import Any

__all__ = ["png_of"]


def png_of(figure: Any, dpi: float) -> bytes:
    """Return a matplotlib figure as PNG, without date or version metadata.

    Args:
        figure: The figure, drawn under `display.style.RC`.
        dpi: Dots per inch.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": "yolo_stability"})
    return buffer.getvalue()
