"""The results of `mechanics`: curves with fitted rates, tables, and conclusions in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from yolo_stability.core.text import number
from yolo_stability.studies.mechanics.figure import CurveLine, figures_table

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Curve", "MechanicsResult", "Study", "finite_values", "fitted_rate"]

# a change by less than a factor of 100 from the first x to the last counts as flat
_FLAT_DECADES = 2.0
_COLUMNS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One quantity of one network.

    Attributes:
        label: Name of the network.
        quantity: The measured quantity.
        x: Sequence lengths, depths or steps.
        y: Values; 0 for norms below the range of float32 (about 1e-38), None for non-finite ones.
        rate: Fitted factor by which y changes per unit of x, see `fitted_rate`; None if not fitted.
    """

    label: str
    quantity: str
    x: tuple[int, ...]
    y: tuple[float | None, ...]
    rate: float | None = None

    @classmethod
    def fitted(
        cls, label: str, quantity: str, x: Sequence[int], y: Iterable[float | None]
    ) -> Curve:
        """Return a curve with its fitted rate."""
        values = finite_values(y)
        return cls(
            label=label, quantity=quantity, x=tuple(x), y=values, rate=fitted_rate(x, values)
        )

    def line(self, label: str | None = None) -> CurveLine:
        """Return the line for a plot, optionally under another label."""
        return CurveLine(
            label=label or self.label, x=self.x, y=self.y, faint=self.label.startswith("linear")
        )

    def in_words(self, unit: str) -> str:
        """Describe how the norm changes with length or depth.

        Args:
            unit: Unit of x, in the singular.
        """
        known = [x for x, y in zip(self.x, self.y, strict=True) if y]
        if self.rate is None:
            return f"{self.label}: too few nonzero gradients to fit a rate"
        decades = math.log10(self.rate) * (known[-1] - known[0])
        word = (
            "stays about flat"
            if abs(decades) < _FLAT_DECADES
            else "grows"
            if decades > 0
            else "decays"
        )
        factor = f"1e{decades:+.0f}" if abs(decades) >= 3 else f"{10**decades:.2g}"
        lost = "" if known[-1] == self.x[-1] else f"; beyond {known[-1]} {unit}s it is below 1e-38"
        span = (
            f"fitted: x {self.rate:.3f} per {unit}, x {factor} from {known[0]} to {known[-1]} "
            f"{unit}s{lost}"
        )
        return f"{self.label}: the gradient {word} ({span})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One study: its curves, conclusions and plot.

    Attributes:
        name: rnn, depth or clip.
        title: Title of the study.
        x_name: Name of the x axis.
        curves: The measured curves.
        verdicts: Conclusions from the numbers, one sentence each.
        picture: Path of the plot (PNG).
    """

    name: str
    title: str
    x_name: str
    curves: tuple[Curve, ...]
    verdicts: tuple[str, ...]
    picture: Path

    def curve(self, label: str, quantity: str) -> Curve:
        """Return the curve with a given label and quantity."""
        return next(c for c in self.curves if (c.label, c.quantity) == (label, quantity))

    def table(self) -> Table:
        """Return the numbers as a `rich` table, at most 80 columns wide."""
        x = self.curves[0].x
        places = [int(i) for i in np.linspace(0, len(x) - 1, _COLUMNS).round()]
        rated = any(curve.rate is not None for curve in self.curves)
        headers = [
            f"at {self.x_name}",
            *(str(x[i]) for i in places),
            *(["x per 1"] if rated else []),
        ]
        rows: list[list[str]] = []
        for quantity in dict.fromkeys(curve.quantity for curve in self.curves):
            rows.append([quantity])
            for curve in (c for c in self.curves if c.quantity == quantity):
                rate = [] if not rated else ["-" if curve.rate is None else f"{curve.rate:.3f}"]
                rows.append([f" {curve.label}", *(number(curve.y[i]) for i in places), *rate])
        return figures_table(self.title, headers, rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class MechanicsResult:
    """The result of `mechanics`.

    Attributes:
        out: Folder with `mechanics.json`, the plots, and the traces in `runs/`.
        seed: Seed of weights and data.
        studies: The studies that ran.
        seconds: Their duration.
    """

    out: Path
    seed: int
    studies: tuple[Study, ...]
    seconds: float

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The conclusions of all studies, one sentence each."""
        return tuple(text for study in self.studies for text in study.verdicts)

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        studies = [{**asdict(study), "picture": str(study.picture)} for study in self.studies]
        return {
            "schema_version": 1,
            "seed": self.seed,
            "seconds": round(self.seconds, 2),
            "studies": studies,
        }


def fitted_rate(x: Sequence[int], y: Sequence[float | None]) -> float | None:
    """Fit a geometric series: return 10 to the power of the slope of log10 y over x.

    Args:
        x: Lengths or depths.
        y: Norms; zeros and missing values are ignored.

    Returns:
        The factor per unit of x; None with fewer than two points.

    Examples:
        >>> round(fitted_rate([1, 2, 3], [0.5, 0.25, 0.125]), 6)
        0.5
    """
    known = [(a, math.log10(b)) for a, b in zip(x, y, strict=True) if b]
    if len(known) < 2:
        return None
    slope = np.polyfit(
        np.array([a for a, _ in known], dtype=float), np.array([b for _, b in known]), 1
    )[0]
    return float(10**slope)


def finite_values(values: Iterable[float | None]) -> tuple[float | None, ...]:
    """Return the values with None instead of non-finite ones.

    Examples:
        >>> finite_values([1.0, float("nan")])
        (1.0, None)
    """
    return tuple(v if v is not None and math.isfinite(v) else None for v in values)
