"""Signs of trouble in a run, each with the step at which it begins and in words.

Exploding and vanishing are told against the control at the same steps or against the run's own past, never by one
absolute constant.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from yolo_stability.outcome import Outcome
from yolo_stability.series import Bools, Floats, Ints, Norms, RunSeries, median_of

__all__ = ["DIED", "Found", "Pair", "Sign", "find_signs", "number", "pair_up", "place_of", "ratio_of", "step_at"]

Sign = Literal["nonfinite", "zero_loss", "norm_high", "norm_low", "loss_high", "crash"]

DIED = {
    "crashed": "the process died",
    "killed": "the process was killed",
    "timeout": "the process ran into its time limit",
    "memory": "the process ran out of memory",
}
_OWN_PAST = 50.0  # in failing runs seen, a norm this many times its running median came up to 30 steps ahead of NaN
_WINDOW, _MINIMUM = 128, 8
_CONTROL_HIGH = 100.0
_CONTROL_LOW = 1e-3
_SMOOTH = 9  # steps over which the control's norm is smoothed, so that one low step of it raises no alarm
_LOSS_HIGH = 5.0
_A_WHILE = 5
_BLOW_UP = 10.0
_SUSTAINED = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One sign of trouble: at which position of the run, whether it alone means failure, and in words."""

    sign: Sign
    row: int
    fatal: bool
    text: str
    block: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pair:
    """A run and what the control did at its steps; where it had ended, what it did last.

    Attributes:
        run: The run.
        controls: The controls.
        places: For each control, its position at each step of the run.
        usual: (S,) median of the run's norm before each step.
        expected: (S,) norm of the other controls, smoothed; NaN without any.
    """

    run: RunSeries
    controls: tuple[RunSeries, ...]
    places: tuple[Ints, ...]
    usual: Floats
    expected: Floats

    def block_ratio(self, block: int, rows: slice) -> Floats:
        """Return the norm of a block over the control's at some steps; NaN where either is unknown or 0."""
        name, expected = self.run.names[block], []
        for control, place in zip(self.controls, self.places, strict=True):
            if name in control.names:
                expected.append(control.block_norm[control.names.index(name), place[rows]])
        own = self.run.block_norm[block, rows].astype(np.float64)
        if not expected:
            return np.full(own.shape, np.nan)
        return ratio_of(own, median_of(np.stack(expected), axis=0))


def pair_up(run: RunSeries, controls: tuple[RunSeries, ...]) -> Pair:
    """Line a run up with its controls, step by step; none of these may be empty."""
    places = tuple(np.clip(np.searchsorted(c.step, run.step, side="right") - 1, 0, None) for c in controls)
    others = [(c, place) for c, place in zip(controls, places, strict=True) if c is not run]
    smooth = [_rolling(c.norm, _SMOOTH, center=True)[place] for c, place in others]
    expected: Floats = median_of(np.stack(smooth), axis=0) if smooth else np.full(run.step.size, np.nan)
    usual = np.full(run.step.size, np.nan)
    usual[1:] = _rolling(run.norm, _WINDOW, minimum=_MINIMUM)[:-1]
    return Pair(run=run, controls=controls, places=places, usual=usual, expected=np.atleast_1d(expected))


def find_signs(pair: Pair, outcome: str | None, share: float | None) -> list[Found]:
    """Return all signs of trouble, those that weigh more first.

    Args:
        pair: The run and its controls.
        outcome: How its process ended; None takes what the trace says.
        share: What part of the control's fitness it reached; None where that is unknown.
    """
    run = pair.run
    found: list[Found | None] = []
    if run.step.size:
        found += [_nonfinite(run), _stop(run), _zero(run)]
        known = any(sign is not None and sign.fatal for sign in found)
        found.append(_ended_badly(run, share, known=known))
        found += [_norm_high(pair), _loss_high(pair), _norm_low(pair)]
    outcome = "crashed" if outcome is None and run.completed is False and run.stop_step is None else outcome
    if outcome in DIED:
        last = f"after step {run.step[-1]}" if run.step.size else "before its first step"
        text = f"{DIED[outcome]} {last}"
        found.append(Found(sign="crash", row=max(run.step.size - 1, 0), fatal=True, text=text))
    return [sign for sign in found if sign is not None]


def _nonfinite(run: RunSeries) -> Found | None:
    """Non-finite numbers that were applied or that the guard kept out; AMP's scaler calibrates itself by its own."""
    bad = _bad(run) & ~run.scaler
    if not bad.any() and not run.guard.any():
        return None
    applied = bad & ~run.guard
    row = int(np.argmax(bad | run.guard))
    if applied.any():
        at = int(np.argmax(applied))
        what = "gradients were" if np.isfinite(run.loss[at]) else "the loss was"
        return Found(
            sign="nonfinite", row=row, fatal=True, text=f"{what} not finite from step {step_at(run, at)} on and applied"
        )
    recovered = run.stop_step is None and not (bad | run.guard)[-_A_WHILE:].any()
    count = int(run.guard.sum())
    text = f"the guard left out {count} {'step' if count == 1 else 'steps'}, the first being step {step_at(run, row)}, "
    return Found(
        sign="nonfinite",
        row=row,
        fatal=not recovered,
        text=text + ("and the run recovered" if recovered else "and the run did not recover"),
    )


def _stop(run: RunSeries) -> Found | None:
    """The guard gave up without leaving out a step that is on record."""
    if run.stop_step is None or run.guard.any():
        return None
    row = min(int(np.searchsorted(run.step, run.stop_step)), run.step.size - 1)
    return Found(sign="nonfinite", row=row, fatal=True, text=f"the guard ended the run at step {run.stop_step}")


def _zero(run: RunSeries) -> Found | None:
    span = _first_span((run.loss == 0) & (run.norm == 0), _A_WHILE)
    if span is None:
        return None
    text = f"loss and gradients were exactly 0 for {span[1] - span[0]} steps from step {step_at(run, span[0])} on"
    return Found(sign="zero_loss", row=span[0], fatal=True, text=text)


def _ended_badly(run: RunSeries, share: float | None, *, known: bool) -> Found | None:
    """What `Outcome` sees in the losses: an end far above the beginning, or a collapse after a blow-up.

    Where the failure is known already, only the blow-up that led to it is worth telling.
    """
    rows = np.flatnonzero(np.isfinite(run.loss) & ~run.guard & ~run.scaler)
    if not rows.size:
        return None
    loss, clip = run.loss[rows], run.clip[rows]
    clipped = 0.0 if (clip < 1).any() else None
    outcome = Outcome()
    outcome.observe(int(run.step[rows[0]]), float(loss[0]), 1.0, clipped)
    outcome.observe(int(run.step[rows[int(np.argmax(loss))]]), float(loss.max()), 1.0, clipped)
    for row in rows[-_A_WHILE:] if rows.size >= _A_WHILE else ():
        outcome.observe(int(run.step[row]), float(run.loss[row]), 1.0, clipped)
    text, blown_up = outcome.failure(), np.flatnonzero(loss > _BLOW_UP * abs(loss[0]))
    learned = share is not None and share >= 0.5  # a spike, and then a loss that fell because the run learned
    if text is None or learned or not blown_up.size:
        return None
    row = int(rows[blown_up[0]])
    text = f"{text} (from step {step_at(run, row)} on it exceeded {number(_BLOW_UP)} times its first value)"
    if known:
        times = number(run.loss[row] / abs(loss[0]))
        text = f"the loss was {number(run.loss[row])} at step {step_at(run, row)}, {times} times its first value"
    return Found(sign="loss_high", row=row, fatal=not known, text=text)


def _norm_high(pair: Pair) -> Found | None:
    """A norm far above the run's own past, or above the control's at the same steps."""
    run = pair.run
    own, other = ratio_of(run.norm, pair.usual), ratio_of(run.norm, pair.expected)
    high = np.flatnonzero((own > _OWN_PAST) | (other > _CONTROL_HIGH))
    if not high.size:
        return None
    row = int(high[0])
    against, ratio = ("the control's", other) if other[row] > _CONTROL_HIGH else ("its running median", own)
    text = f"the gradient norm was {number(run.norm[row])} at step {step_at(run, row)}, "
    text += f"{number(ratio[row])} times {against}"
    return Found(sign="norm_high", row=row, fatal=False, text=text)


def _loss_high(pair: Pair) -> Found | None:
    """A loss that stays far above its beginning, or above where the control began."""
    run = pair.run
    limits = [
        (_LOSS_HIGH * _first(run), "its first value"),
        (_CONTROL_HIGH * _first_of(pair.controls), "the control's first"),
    ]
    spans = []
    for limit, against in limits:
        if limit > 0:  # not for NaN: unknown
            high = run.loss > limit
            beyond = np.full(_A_WHILE, bool(_bad(run)[-1]))  # what ends in NaN would have stayed high
            span = _first_span(np.concatenate((high | ~np.isfinite(run.loss), beyond)), _A_WHILE)
            if span is not None and high[span[0] : span[1]].any():
                row = span[0] + int(np.argmax(high[span[0] : span[1]]))
                spans.append((row, limit, against))
    if not spans:
        return None
    row, limit, against = min(spans)
    factor = _LOSS_HIGH if against == "its first value" else _CONTROL_HIGH
    ratio = number(factor * run.loss[row] / limit)
    text = f"the loss was {number(run.loss[row])} at step {step_at(run, row)}, {ratio} times {against}, and stayed high"
    return Found(sign="loss_high", row=row, fatal=False, text=text)


def _norm_low(pair: Pair) -> Found | None:
    """Gradients of backbone blocks that stay far below the control's."""
    run = pair.run
    chosen = [i for i, role in enumerate(run.roles) if role == "backbone"] or list(range(len(run.names)))
    low = []
    for block in chosen if pair.controls else ():
        span = _first_span(pair.block_ratio(block, slice(None)) < _CONTROL_LOW, _SUSTAINED)
        if span is not None:
            low.append((span[0], block))
    if not low:
        return None
    row = min(low)[0]
    window = slice(row, row + _SUSTAINED)
    ratio, block = min((float(median_of(pair.block_ratio(block, window))), block) for _, block in low)
    name = run.names[block]
    text = f"gradients of {name} were {number(ratio)} times the control's from step {step_at(run, row)} on"
    return Found(sign="norm_low", row=row, fatal=False, text=text, block=name)


def place_of(pair: Pair, first: Found) -> str | None:
    """Return the block in which trouble began, if one stands out."""
    run = pair.run
    if first.block is not None or first.sign == "crash" or not run.step.size:
        return first.block
    if run.bad_row.size:
        bad = np.unique(run.bad_block[run.bad_row == run.bad_row[0]])
        if bad.size < len(run.names) or bad.size == 1:
            return run.names[int(bad[-1])]  # backward runs towards the input: it began in the deepest of them
    # With all blocks non-finite at once, the last step at which they were finite tells more.
    finite = np.flatnonzero(np.isfinite(run.norm[: first.row + 1]) & (run.norm[: first.row + 1] > 0))
    if not finite.size:
        return None
    row = int(finite[-1])
    ratios = np.array([_block_ratio(pair, block, row) for block in range(len(run.names))])
    distance = np.abs(np.log(np.where(ratios > 0, ratios, np.nan)))
    known = np.flatnonzero(distance > 0)
    return run.names[int(known[np.argmax(distance[known])])] if known.size else None


def _block_ratio(pair: Pair, block: int, row: int) -> float:
    """Return a block's norm over the control's; over its own past where the control does not know the block."""
    ratio = float(pair.block_ratio(block, slice(row, row + 1))[0])
    if not np.isnan(ratio) and pair.run not in pair.controls:
        return ratio
    past = pair.run.block_norm[block, max(0, row - _WINDOW) : row]
    return float(ratio_of(pair.run.block_norm[block, row : row + 1].astype(np.float64), median_of(past))[0])


def _rolling(values: Floats, window: int, *, minimum: int = 1, center: bool = False) -> Floats:
    """Return the running median over the finite values of a window; NaN where there are too few."""
    import polars as pl

    series = pl.Series(np.where(np.isfinite(values), values, np.nan), dtype=pl.Float64).fill_nan(None)
    rolled: Floats = (
        series.rolling_median(window, min_samples=minimum, center=center).fill_null(float("nan")).to_numpy()
    )
    return rolled


def _bad(run: RunSeries) -> Bools:
    """Return where loss or gradients are not finite; a frozen model's norm is null, which is no harm."""
    bad: Bools = ~np.isfinite(run.loss) | (run.nonfinite > 0) | np.isinf(run.norm)
    return bad


def _first_span(flags: Bools, length: int) -> tuple[int, int] | None:
    """Return begin and end of the first unbroken run of flags that is long enough."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    begins, ends = edges[::2], edges[1::2]
    long = np.flatnonzero(ends - begins >= length)
    return (int(begins[long[0]]), int(ends[long[0]])) if long.size else None


def _first(run: RunSeries) -> float:
    known = run.loss[np.isfinite(run.loss)]
    return abs(float(known[0])) if known.size else float("nan")


def _first_of(runs: Sequence[RunSeries]) -> float:
    return float(median_of(np.array([_first(run) for run in runs], dtype=np.float64)))


def ratio_of(values: Norms, reference: npt.ArrayLike) -> Floats:
    """Return values over a reference; NaN where either is not finite or the reference is not above 0."""
    below = np.asarray(reference, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.asarray(values, dtype=np.float64) / below
    known: Floats = np.where(np.isfinite(values) & (below > 0), ratio, np.nan)
    return known


def step_at(run: RunSeries, row: int) -> int:
    """Return the number of the step at a position; 0 for a run without steps."""
    return int(run.step[row]) if run.step.size else 0


def number(value: float | None, digits: int = 3) -> str:
    """Return a number as it stands in a sentence: `0.0021`, `41.2`, `3e-6`, `2e12`."""
    if value is None or math.isnan(value):
        return "unknown"
    mantissa, _, power = f"{value:.{digits}g}".partition("e")
    return f"{mantissa}e{int(power)}" if power else mantissa
