"""How a result that is told in lines shows itself in a notebook: no colour of its own, read on light and dark alike."""

from __future__ import annotations

import html
from collections.abc import Sequence

__all__ = ["as_html"]


def as_html(lines: Sequence[str]) -> str:
    """Return lines as HTML: the first in bold, the others as a list.

    Args:
        lines: Plain text; a leading `- ` is left out.
    """
    head, *told = [html.escape(line.removeprefix("- ")) for line in lines]
    return f"<div><p><b>{head}</b></p><ul>{''.join(f'<li>{line}</li>' for line in told)}</ul></div>"
