"""One series of a run beside that of a healthy run: the picture that explains a rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from yolo_stability.trace.arrays import Bools, Floats, Ints

__all__ = ["ExampleCurve"]

_WIDE = 100.0  # values that span such a factor are drawn on a log scale


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExampleCurve:
    """A series with the places at which a rule fired; N places.

    Attributes:
        quantity: What the values are, such as `gradient norm`.
        axis: What the places are.
        places: (N,) steps, or epochs counted from 1.
        values: (N,) values of the example.
        healthy: (N,) values of a healthy run; None if it has no such series.
        fired: (N,) whether a finding concerns the place.
        sampled: Whether NaN means that the value was not measured, as opposed to a NaN in the run.
    """

    quantity: str
    axis: Literal["step", "epoch"]
    places: Ints
    values: Floats
    healthy: Floats | None
    fired: Bools
    sampled: bool = False

    @property
    def bad(self) -> Bools:
        """(N,) whether the value is NaN or Inf in the run itself."""
        unknown: Bools = ~np.isfinite(self.values)
        return np.zeros_like(unknown) if self.sampled else unknown

    @property
    def known(self) -> Floats:
        """All finite values, those of the healthy run included."""
        both = self.values if self.healthy is None else np.append(self.values, self.healthy)
        return both[np.isfinite(both)]

    @property
    def logarithmic(self) -> bool:
        """Whether the values span so much that a log scale is needed."""
        known = self.known
        positive = known[known > 0]
        return bool(
            positive.size and (known >= 0).all() and positive.max() > _WIDE * positive.min()
        )

    @property
    def limits(self) -> tuple[float, float]:
        """Lower and upper end of the scale: from 0, or from the smallest positive value."""
        known = self.known
        if not known.size:
            return 0.0, 1.0
        high = float(known.max())
        low = float(known[known > 0].min() if self.logarithmic else min(known.min(), 0.0))
        return low, high if high > low else low + 1.0

    def scaled(self, values: Floats) -> Floats:
        """Return values as shares of the scale, from 0 to 1; NaN below a log scale."""
        low, high = self.limits
        with np.errstate(divide="ignore", invalid="ignore"):
            if not self.logarithmic:
                return (values - low) / (high - low)
            shares: Floats = np.log(values / low) / np.log(high / low)
        return np.where(np.isfinite(shares), shares, np.nan)

    @property
    def title(self) -> str:
        """Quantity and scale."""
        return f"{self.quantity}, log scale" if self.logarithmic else self.quantity
