"""Measures gradient norms over sequence length and depth, and the effect of gradient clipping.

All numbers are recorded with `record`, as in any custom training loop.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from yolo_stability.core.errors import ConfigError
from yolo_stability.core.files import replace_file
from yolo_stability.core.suggestions import nearest
from yolo_stability.core.text import number
from yolo_stability.core.types import Trace
from yolo_stability.gradients.record import record
from yolo_stability.studies.mechanics.figure import Panel, draw_panels
from yolo_stability.studies.mechanics.networks import (
    DESIGNS,
    NETWORKS,
    Recurrent,
    Stacks,
    adding_problem,
)
from yolo_stability.studies.mechanics.result import Curve, MechanicsResult, Study, finite_values

__all__ = ["STUDIES", "mechanics"]

STUDIES = ("rnn", "depth", "clip")
"""Names of the studies, in execution order."""

LENGTHS = (2, 5, 10, 20, 35, 50, 75, 100, 150, 200)
DEPTHS = (2, 3, 5, 8, 12, 20, 35, 50, 75, 100)
CLIP_NORM, CLIP_RATE, CLIP_STEPS, CLIP_LENGTH = 1.0, 0.1, 80, 40
_BATCH, _WIDTH = 32, 32


def mechanics(
    studies: str | Sequence[str] = STUDIES, *, out: str | Path = "runs/mechanics", seed: int = 0
) -> MechanicsResult:
    """Measure gradient norms over sequence length and depth, and updates with and without clipping.

    Runs in a few seconds on one CPU thread; the same seed gives the same numbers. The random state
    and the thread count of the caller are restored.

    Args:
        studies: `rnn`, `depth`, `clip`, or several of them.
        out: Folder for `mechanics.json`, one plot per study, and the traces.
        seed: Seed of weights and data.

    Raises:
        ConfigError: A study does not exist, or the seed is not a whole number from 0.
    """
    names = (studies,) if isinstance(studies, str) else tuple(studies)
    for name in names:
        if name not in STUDIES:
            raise ConfigError(
                f"Unknown study '{name}'.{nearest(name, STUDIES)} Choose from {', '.join(STUDIES)}."
            )
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise ConfigError(f"Invalid value seed={seed!r}: expected a whole number, 0 or more.")
    folder, begun = Path(out).expanduser(), time.perf_counter()
    if folder.exists() and not folder.is_dir():
        raise ConfigError(
            f"out='{out}' is a file. Choose a folder, which is created if it does not exist."
        )
    folder.mkdir(parents=True, exist_ok=True)
    run = {"rnn": _rnn_study, "depth": _depth_study, "clip": _clip_study}
    with _reproducible():
        done = tuple(run[name](folder, seed) for name in STUDIES if name in names)
    result = MechanicsResult(
        out=folder, seed=seed, studies=done, seconds=time.perf_counter() - begun
    )
    replace_file(
        folder / "mechanics.json", json.dumps(result.to_json(), indent=1, allow_nan=False).encode()
    )
    return result


def _rnn_study(out: Path, seed: int) -> Study:
    """Measure gradients of the last output with respect to initial state and recurrent weight."""
    start, weight = "first state", "recurrent weight"
    curves = []
    for label, (cell, options) in NETWORKS.items():
        torch.manual_seed(seed)
        model = Recurrent(cell, _WIDTH, horizon=LENGTHS[-1], **options)
        # every length uses the same weights
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        with _recorded(model, optimizer, out, "rnn", label, seed) as r:
            for length in LENGTHS:
                inputs, _ = adding_problem(_BATCH, length, torch.Generator().manual_seed(seed))
                optimizer.zero_grad()
                answer = model(inputs).mean()
                answer.backward()
                r.step(loss=answer, loss_items={"length": length})
                optimizer.step()
        norms = _norms(r.trace)
        curves.append(Curve.fitted(label, start, LENGTHS, norms["start Start"]))
        curves.append(Curve.fitted(label, weight, LENGTHS, norms["recurrent Linear"]))
    title = "Gradient norm vs. sequence length"
    panels = [
        Panel(
            title=f"{kind}: {quantity}",
            x_label="sequence length (steps)",
            y_label="gradient norm (L2)",
            lines=tuple(
                c.line()
                for c in curves
                if c.quantity == quantity and c.label.startswith(("LSTM", "GRU")) == gated
            ),
            group=quantity,
        )
        for quantity in (start, weight)
        for kind, gated in (("plain RNN", False), ("LSTM and GRU", True))
    ]
    note = (
        "plain: spectral radius; bias: of the gate that keeps the state; "
        "chrono: biases for memories of 2 to 200 steps"
    )
    verdicts = tuple(c.in_words("step") for c in curves if c.quantity == start)
    return _study(out, "rnn", title, "sequence length", curves, verdicts, panels, note)


def _depth_study(out: Path, seed: int) -> Study:
    """Measure the gradient of the first layer on the same mini-batch for every depth."""
    quantity = "first layer"
    curves = []
    for label, options in DESIGNS.items():
        torch.manual_seed(seed)
        model = Stacks(DEPTHS, width=_WIDTH, **options)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(_BATCH, _WIDTH, generator=generator, dtype=torch.float64)
        y = torch.randint(0, _WIDTH, (_BATCH,), generator=generator)
        with _recorded(model, optimizer, out, "depth", label, seed) as r:
            for depth in DEPTHS:
                optimizer.zero_grad()
                loss = cross_entropy(model(x, depth), y)
                loss.backward()  # type: ignore[no-untyped-call]
                r.step(loss=loss, loss_items={"depth": depth})
                optimizer.step()
        norms = _norms(r.trace)
        values = [norms[f"first_{depth} Linear"][i] for i, depth in enumerate(DEPTHS)]
        curves.append(Curve.fitted(label, quantity, DEPTHS, values))
    panels = [
        Panel(
            title=f"{kind}: first layer",
            x_label="depth (layers)",
            y_label="gradient norm (L2)",
            lines=tuple(
                c.line(c.label.removeprefix("residual "))
                for c in curves
                if c.label.startswith("residual") == residual
            ),
            group=quantity,
        )
        for kind, residual in (("plain stack", False), ("residual stack", True))
    ]
    note = (
        f"fully connected, width {_WIDTH}, at initialization, cross-entropy of one batch; "
        "triangle: norm below 1e-38"
    )
    verdicts = tuple(c.in_words("layer") for c in curves)
    return _study(out, "depth", "Gradient norm vs. depth", "depth", curves, verdicts, panels, note)


def _clip_study(out: Path, seed: int) -> Study:
    """Train a recurrent network with exploding gradients by SGD, with and without clipping."""
    update, loss_name, labels = (
        "update size",
        "loss",
        {"no clip": None, f"clip {CLIP_NORM:g}": CLIP_NORM},
    )
    curves = []
    for label, max_norm in labels.items():
        torch.manual_seed(seed)
        model = Recurrent("tanh", _WIDTH, radius=1.5).float()  # float32, as usual in training
        model.start.requires_grad_(False)  # it starts at 0, so that its update ratio is undefined
        optimizer = torch.optim.SGD(model.parameters(), lr=CLIP_RATE)
        generator = torch.Generator().manual_seed(seed)
        with _recorded(model, optimizer, out, "clip", label, seed) as r:
            for _ in range(CLIP_STEPS):
                inputs, target = adding_problem(_BATCH, CLIP_LENGTH, generator)
                optimizer.zero_grad()
                loss = (model(inputs.float()) - target.float()).square().mean()
                loss.backward()
                r.step(loss=loss)
                if max_norm is not None:
                    clip_grad_norm_(model.parameters(), max_norm)
                optimizer.step()
        steps = tuple(range(CLIP_STEPS))
        curves.append(Curve(label=label, quantity=update, x=steps, y=_update_sizes(r.trace)))
        curves.append(
            Curve(label=label, quantity=loss_name, x=steps, y=finite_values(r.trace.steps["loss"]))
        )
    bound = CLIP_RATE * CLIP_NORM
    panels = [
        Panel(
            title=title,
            x_label="optimizer step",
            y_label=y_label,
            lines=tuple(c.line() for c in curves if c.quantity == quantity),
            group=quantity,
            limit=limit,
        )
        for quantity, title, y_label, limit in (
            (
                update,
                "size of each update",
                "||weight update||",
                (bound, f"lr x {CLIP_NORM:g}"),
            ),
            (loss_name, "loss of each step", "mean squared error", None),
        )
    ]
    note = (
        f"tanh RNN, spectral radius 1.5, {CLIP_LENGTH} steps of the adding problem, SGD with lr "
        f"{CLIP_RATE:g}"
    )
    title = "Effect of clipping the gradient norm"
    verdicts = _clip_verdicts(curves, bound)
    return _study(out, "clip", title, "optimizer step", curves, verdicts, panels, note)


def _clip_verdicts(curves: Sequence[Curve], bound: float) -> tuple[str, ...]:
    """Return sentences about the largest updates and the course of the losses."""
    texts = []
    for update, loss in zip(curves[::2], curves[1::2], strict=True):
        largest = max((v for v in update.y if v is not None), default=math.nan)
        before, after = _median(loss.y[:5]), _median(loss.y[-20:])
        bad = next((x for x, y in zip(loss.x, loss.y, strict=True) if y is None), None)
        end = (
            f"and was not finite from step {bad}"
            if bad is not None
            else f"and of the last 20 {number(after)}"
        )
        texts.append(
            f"{update.label}: the largest finite update was {number(largest)}, "
            f"{number(largest / bound)} times lr x "
            f"{CLIP_NORM:g}; the median loss of the first 5 steps was {number(before)}, {end}"
        )
    return tuple(texts)


def _median(values: Iterable[float | None]) -> float:
    known = [v for v in values if v is not None]
    return float(np.median(known)) if known else math.nan


def _norms(trace: Trace) -> dict[str, list[float | None]]:
    """Return the gradient norms of each block over the steps."""
    return {
        str(b.name): trace.blocks.filter(block=b.name)["grad_norm"].to_list()
        for b in trace.header.blocks
    }


def _update_sizes(trace: Trace) -> tuple[float | None, ...]:
    """Return ||delta w|| over all blocks for every step."""
    import polars as pl

    size = (pl.col("update_ratio") * pl.col("weight_norm")).cast(pl.Float64)
    frame = trace.blocks.group_by("step").agg((size**2).sum().sqrt().alias("size")).sort("step")
    return finite_values(frame["size"])


def _study(
    out: Path,
    name: str,
    title: str,
    x_name: str,
    curves: Sequence[Curve],
    verdicts: tuple[str, ...],
    panels: Sequence[Panel],
    note: str,
) -> Study:
    """Plot the curves and return the study."""
    picture = out / f"{name}.png"
    draw_panels(panels, picture, title=title, note=note)
    return Study(
        name=name,
        title=title,
        x_name=x_name,
        curves=tuple(curves),
        verdicts=verdicts,
        picture=picture,
    )


@contextmanager
def _recorded(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    out: Path,
    study: str,
    label: str,
    seed: int,
) -> Iterator[Any]:
    """Record a network into a folder named after it."""
    folder = out / "runs" / study / label.lower().replace(",", "").replace(" ", "-")
    config = {"model": label, "study": study, "seed": seed}
    with record(model, optimizer, folder, config=config, watch_every=1, plots=False) as r:
        yield r


@contextmanager
def _reproducible() -> Iterator[None]:
    """Use one thread and a fixed random state; restore those of the caller afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)
