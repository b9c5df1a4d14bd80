"""Picks the series of a rule's example that its picture shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from yolo_stability.core.findings import Finding
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import healthy_run
from yolo_stability.display.example_curve import ExampleCurve
from yolo_stability.trace.arrays import Bools, RunSeries

__all__ = ["example_curve"]

_FIELDS: Mapping[str, str] = {
    "loss": "loss",
    "norm": "gradient norm",
    "update": "update / weights of the block that changes most",
    "clip": "share of the gradient that the clip leaves",
    "scaler": "step skipped by AMP's scaler (1 = skipped)",
    "guard": "step skipped by the guard (1 = skipped)",
    "amp_scale": "scale of AMP",
    "lr": "learning rate",
}
"""Series with one value for each step that are considered first, in this order."""
_LESS: Mapping[str, str] = {
    "objects": "objects in the images of a step",
    "images": "images of a step",
    "input_max": "largest input value",
    "input_min": "smallest input value",
    "input_mean": "mean input value",
    "input_std": "standard deviation of the input",
    "micro_norm": "gradient norm of the first batch of a step",
}
"""Those that are considered after the parts of the loss and the rates by group."""
_BY_BLOCK: Mapping[str, str] = {
    "block_norm": "gradient norm of {}",
    "weight_norm": "norm of the weights of {}",
}
"""Series with one value for each block and step; weights are measured at the steps `sampled`."""
_OF_CONTEXT: Mapping[str, str] = {"depth": "gradient norm of the first block / the head"}
_ALWAYS = frozenset({"loss", "norm", "block_norm"})
"""Series that are measured at every step, so that NaN in them is a NaN of the run."""


def example_curve(
    run: RunSeries, findings: Sequence[Finding], drawn: str = ""
) -> ExampleCurve | None:
    """Return the series of an example that shows what its rule finds.

    Args:
        run: The example.
        findings: What the rule finds on it.
        drawn: The series to show, as in `Rule.drawn`; if empty, the first one in which the example
            differs from a healthy run, or the loss if only the events differ.

    Returns:
        The curve; None for a rule that reads only the settings.
    """
    if not run.step.size:
        return None
    healthy = healthy_run(run.step.size)
    names = [drawn] if drawn else _different(run, healthy, findings)
    return next((c for name in names if (c := _curve(name, run, healthy, findings))), None)


def _different(run: RunSeries, healthy: RunSeries, findings: Sequence[Finding]) -> Iterator[str]:
    """Yield the names of series that differ from those of a healthy run."""
    columns = [f.column for f in findings if f.column]
    yield from (f"epochs/{column}" for column in columns if column in run.epochs.values)
    yield from (name for name in _FIELDS if not _same(getattr(run, name), getattr(healthy, name)))
    for field in ("losses", "rates"):
        own, usual = getattr(run, field), getattr(healthy, field)
        yield from (f"{field}/{n}" for n in own if n not in usual or not _same(own[n], usual[n]))
    yield from (name for name in _LESS if not _same(getattr(run, name), getattr(healthy, name)))
    yield from (f"epochs/{column}" for column in run.epochs.values)
    blocks = [f.block for f in findings if f.block in run.names]
    for field in _BY_BLOCK:
        own, usual = _rows(run, field), _rows(healthy, field)
        changed = [n for n, a, b in zip(run.names, own, usual, strict=False) if not _same(a, b)]
        yield from (f"{field}/{name}" for name in [*blocks, *changed] if name in changed)
    if run.events:
        yield "loss"


def _rows(run: RunSeries, field: str) -> Any:
    """Return a (B, S) series by block, NaN where it was not measured; empty if the run lacks it."""
    values, sampled = getattr(run, field, None), getattr(run, "sampled", None)
    if values is None:
        return np.empty((0, run.step.size))
    if sampled is None or values.shape[1] == run.step.size:
        return values.astype(float)
    rows = np.full((len(run.names), run.step.size), np.nan)
    rows[:, sampled] = values
    return rows


def _same(one: Any, other: Any) -> bool:
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))


def _curve(
    name: str, run: RunSeries, healthy: RunSeries, findings: Sequence[Finding]
) -> ExampleCurve | None:
    """Return the curve of a series by its name; None if the run has no such series."""
    field, _, key = name.partition("/")
    values = _values(run, field, key)
    if values is None or not values.size or not np.isfinite(values).any():
        return None
    if field == "epochs":
        return ExampleCurve(
            quantity=key,
            axis="epoch",
            places=run.epochs.epoch + 1,
            values=values,
            healthy=None,
            fired=_between(run.epochs.epoch + 1, [(f.first_epoch, f.last_epoch) for f in findings]),
        )
    usual = _values(healthy, field, key)
    if usual is not None and (not np.isfinite(usual).any() or _same(usual, values)):
        usual = None
    return ExampleCurve(
        quantity=_quantity(field, key),
        axis="step",
        places=run.step,
        values=values,
        healthy=usual,
        fired=_between(run.step, [(f.first_step, f.last_step) for f in findings]),
        sampled=field not in _ALWAYS,
    )


def _values(run: RunSeries, field: str, key: str) -> Any:
    """Return a series; None if the run lacks it."""
    if field in _BY_BLOCK:
        return dict(zip(run.names, _rows(run, field), strict=False)).get(key)
    if field == "epochs":
        return run.epochs.values.get(key)
    if key:
        return getattr(run, field).get(key)
    source = DiagnosisContext(run) if field in _OF_CONTEXT else run
    return getattr(source, field).astype(float)


def _quantity(field: str, key: str) -> str:
    if key:
        return {**_BY_BLOCK, "rates": "learning rate of {}", "losses": "{}"}[field].format(key)
    return {**_FIELDS, **_LESS, **_OF_CONTEXT}[field]


def _between(places: Any, ranges: Sequence[tuple[int | None, int | None]]) -> Bools:
    """Return which places any of the ranges holds, their ends included."""
    inside: Bools = np.zeros(places.size, dtype=bool)
    for first, last in ranges:
        if first is not None:
            inside |= (places >= first) & (places <= (first if last is None else last))
    return inside
