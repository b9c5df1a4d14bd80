"""The rows as text and as plain data, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from estimate import COLUMNS, Estimate, Row

WIDTH = 46


def table(found: Sequence[Row], stock_ms: float) -> str:
    """Return the rows as text: ratios, then milliseconds by part.

    Args:
        found: The rows.
        stock_ms: CPU milliseconds of a stock step.
    """
    head = (
        "CPU ratio (95 %)",
        "clocked alone",
        "its training thread",
        "rest of the step",
        "wall ratio",
    )
    lines = [
        f"one step of stock: {stock_ms:.1f} ms of CPU time",
        f"{'variant':{WIDTH}}" + "".join(f"{text:>24}" for text in head) + f"{'turns':>6}",
    ]
    for row in found:
        rest = "-" if row.rest is None else percent(row.rest)
        cells = (ratio(row.cpu), ratio(row.clocked), ratio(row.thread), rest, ratio(row.wall))
        line = "".join(f"{cell:>24}" for cell in cells)
        lines.append(f"{row.variant:{WIDTH}}{line}{row.turns:6}")
    return "\n".join([*lines, "", *part_lines(found)])


def part_lines(found: Sequence[Row]) -> list[str]:
    """Return the table of added CPU milliseconds a step."""
    head = "".join(f"{part:>10}" for part in COLUMNS)
    lines = [f"{'added CPU ms a step':{WIDTH}}{'in all (95 %)':>24}{head}"]
    for row in found:
        added = row.added
        value, low, high = (x * row.step_ms for x in (added.value, added.low, added.high))
        cells = "".join(
            f"{row.parts[part].value * row.step_ms:10.2f}" if part in row.parts else f"{'-':>10}"
            for part in COLUMNS
        )
        whole = f"{value:.2f} ({low:.2f} to {high:.2f})"
        lines.append(f"{row.variant:{WIDTH}}{whole:>24}{cells}")
    return lines


def ratio(found: Estimate | None) -> str:
    """Return a ratio with its interval."""
    return "-" if found is None else f"{found.value:.4f} ({found.low:.4f}-{found.high:.4f})"


def percent(found: Estimate) -> str:
    """Return a share in percent, with its interval."""
    value, low, high = (100 * x for x in (found.value, found.low, found.high))
    return f"{value:+.2f} % ({low:+.2f} to {high:+.2f})"


def as_json(found: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the rows as plain data."""
    return [{key: value for key, value in asdict(row).items() if key != "draws"} for row in found]


def from_json(data: Mapping[str, Any]) -> Row:
    """Return a row from plain data."""

    def read(value: Any) -> Any:
        return Estimate(**value) if isinstance(value, dict) and "value" in value else value

    fields = {key: read(value) for key, value in data.items()}
    fields["parts"] = {part: read(value) for part, value in data["parts"].items()}
    return Row(**fields)
