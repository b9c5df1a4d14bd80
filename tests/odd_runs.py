"""Runs for rules and diagnoses to look at: golden healthy ones, cut ones, and odder ones than any training makes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from yolo_stability.diagnosis.examples import event, healthy_run, with_rows
from yolo_stability.trace.arrays import EpochSeries, RunSeries, SeriesEvent

GOLDEN = Path(__file__).parent / "golden"
PER_STEP = (
    *(
        "step",
        "loss",
        "norm",
        "nonfinite",
        "guard",
        "scaler",
        "clip",
        "epoch",
        "attempt",
        "accumulate",
        "lr",
    ),
    *("amp_scale", "update", "update_block", "micro_norm"),
    *("images", "objects", "input_min", "input_max", "input_mean", "input_std"),
)
NAMED = ("losses", "rates")
SAMPLED = ("sampled", "weight_norm", "update_ratio")
_FLOATS = ("loss", "norm", "clip", "lr", "amp_scale", "update", "micro_norm")
_ODD = [0.0, -0.0, 1.0, -3.0, 41.0, 1e-30, 5e-324, 1e30, -1e30, 1e300, np.inf, -np.inf, np.nan]
_ROLES = [
    "backbone",
    "neck",
    "box",
    "cls",
    "kpt",
    "one2one_cls",
    "other",
    "tail of a model that is not known",
]
_KINDS = [
    "nan_recovery",
    "oom_restart",
    "rollback",
    "guard_stop",
    "resume",
    "fault",
    "something else",
]


def golden_folders() -> list[Path]:
    """Return the folders of the golden healthy runs."""
    return sorted(path for path in GOLDEN.iterdir() if (path / "stability").is_dir())


def cut(run: RunSeries, rows: int) -> RunSeries:
    """Return a run as it stood after some of its steps, while it was going on."""
    last = int(run.step[rows - 1])
    known = run.bad_row < rows
    return replace(
        run,
        **{name: getattr(run, name)[:rows] for name in PER_STEP},
        **{name: {k: v[:rows] for k, v in getattr(run, name).items()} for name in NAMED},
        **{name: getattr(run, name)[..., run.sampled < rows] for name in SAMPLED},
        epochs=ended(run, rows),
        block_norm=run.block_norm[:, :rows],
        bad_block=run.bad_block[known],
        bad_row=run.bad_row[known],
        bad_count=run.bad_count[known],
        events=tuple(e for e in run.events if e.step <= last and e.kind != "end"),
        stop_step=run.stop_step if run.stop_step is not None and run.stop_step <= last else None,
        completed=None,
    )


def ended(run: RunSeries, rows: int) -> EpochSeries:
    """Return the epochs whose last step is among the first steps of a run."""
    epochs = run.epochs
    known = ~np.isin(epochs.epoch, run.epoch[rows:]) & (epochs.epoch <= run.epoch[:rows].max())
    return replace(
        epochs,
        **{n: getattr(epochs, n)[known] for n in ("epoch", "validated", "fitness", "steps")},
        values={name: column[known] for name, column in epochs.values.items()},
        missing={name: column[known] for name, column in epochs.missing.items()},
    )


def frozen(run: RunSeries) -> RunSeries:
    """Return a run whose arrays refuse to be written."""
    arrays = {}
    for name in (*PER_STEP, *SAMPLED, "block_norm", "bad_block", "bad_row", "bad_count"):
        arrays[name] = getattr(run, name).copy()
        arrays[name].setflags(write=False)
    return replace(run, **arrays)


@st.composite
def disturbed_runs(draw: st.DrawFn, most: int = 100) -> RunSeries:
    """A healthy run with stretches of trouble: what rules have to tell from each other."""
    run = healthy_run(draw(st.integers(1, most)))
    for _ in range(draw(st.integers(0, 4))):
        run = draw(_disturbed(run))
    return run


@st.composite
def _disturbed(draw: st.DrawFn, run: RunSeries) -> RunSeries:
    """A run with one more stretch of trouble."""
    begin = draw(st.integers(0, run.step.size - 1))
    rows = slice(begin, begin + draw(st.sampled_from([1, 2, 5, 10, 40])))
    factor = draw(st.sampled_from([0.0, 1e-6, 0.01, 3.0, 20.0, 60.0, 1e3, 1e9]))
    what = draw(
        st.sampled_from(
            ["norm", "loss", "both", "block", "nan", "guard", "scaler", "clip", "update", "event"]
        )
    )
    if what in {"norm", "both"}:
        norms = run.block_norm[:, rows] * np.float32(factor)
        run = with_rows(run, rows, norm=run.norm[rows] * factor, block_norm=norms)
    if what in {"loss", "both"}:
        run = with_rows(run, rows, loss=run.loss[rows] * factor)
    if what == "block":
        norms = run.block_norm.copy()
        norms[draw(st.integers(0, len(run.names) - 1)), rows] *= np.float32(factor)
        run = replace(run, block_norm=norms, norm=np.sqrt((norms.astype(float) ** 2).sum(axis=0)))
    if what in {"nan", "guard", "scaler"}:
        run = _with_nan(run, rows, **({} if what == "nan" else {what: True}))
    if what == "clip":
        run = with_rows(run, rows, clip=draw(st.sampled_from([1e-11, 1e-4, 1.0, np.nan])))
    if what == "update":
        run = with_rows(run, rows, update=draw(st.sampled_from([0.7, 1.5, 8.0])), update_block=2)
    if what == "event":
        found = (*run.events, event(draw(st.sampled_from(_KINDS)), begin))
        run = replace(run, events=tuple(sorted(found, key=lambda e: e.step)))
    return run


def _with_nan(run: RunSeries, rows: slice, **marks: Any) -> RunSeries:
    """Return a run with gradients that are NaN at some steps."""
    run = with_rows(run, rows, nonfinite=3, norm=np.nan, block_norm=np.nan, **marks)
    bad = np.arange(run.step.size)[rows]
    bad = bad[~np.isin(bad, run.bad_row)]
    order = np.argsort(np.concatenate([run.bad_row, bad]), kind="stable")
    return replace(
        run,
        bad_row=np.concatenate([run.bad_row, bad])[order],
        bad_block=np.concatenate([run.bad_block, np.full(bad.size, 1)])[order],
        bad_count=np.concatenate([run.bad_count, np.full(bad.size, 3)])[order],
    )


@st.composite
def odd_runs(draw: st.DrawFn) -> RunSeries:
    """Anything that the types of a run's fields allow, likely or not."""
    run = draw(disturbed_runs()) if draw(st.booleans()) else healthy_run(draw(st.integers(0, 80)))
    run = replace(
        run, block_norm=run.block_norm.astype(draw(st.sampled_from([np.float32, np.float64])))
    )
    run = _with_other_blocks(
        run, draw(st.integers(0, len(run.names))), draw(st.randoms(use_true_random=False))
    )
    odd = (
        _ODD
        if run.block_norm.dtype == np.float64
        else [v for v in _ODD if not 1e38 < abs(v) < np.inf]
    )
    for name in draw(
        st.lists(st.sampled_from([*_FLOATS, "block_norm", "step", "attempt", "guard"]), max_size=5)
    ):
        begin = draw(st.integers(0, max(run.step.size - 1, 0)))
        rows = slice(begin, begin + draw(st.sampled_from([1, 4, 100])))
        if name in _FLOATS:
            value: Any = draw(st.sampled_from(_ODD))
        elif name == "block_norm":
            value = draw(st.sampled_from(odd))
        elif name == "step":
            value = run.step[rows] + 1000 if rows.stop >= run.step.size else run.step[rows]
        else:
            value = 1
        run = with_rows(run, rows, **{name: value})
    if not run.names:
        run = with_rows(run, slice(None), update=np.nan, update_block=-1)
    last = int(run.step[-1]) if run.step.size else 0
    return replace(
        run,
        nonfinite=np.where(
            np.isfinite(run.norm), run.nonfinite, draw(st.sampled_from([0, 1, 2**31]))
        ),
        events=tuple(draw(st.lists(_events(last), max_size=4))),
        stop_step=draw(st.none() | st.integers(0, last + 3)),
        completed=draw(st.sampled_from([None, True, False])),
    )


def _events(last: int) -> st.SearchStrategy[SeriesEvent]:
    return st.builds(event, st.sampled_from(_KINDS), st.integers(0, last + 3))


def _with_other_blocks(run: RunSeries, count: int, random: Any) -> RunSeries:
    """Return a run of which only some blocks are known, in roles of any kind."""
    return replace(
        run,
        names=run.names[:count],
        roles=tuple(random.choice(_ROLES) for _ in range(count)),
        block_norm=run.block_norm[:count],
        update_block=np.minimum(run.update_block, count - 1),
        update=run.update if count else np.full(run.step.size, np.nan),
        bad_row=run.bad_row[run.bad_block < count],
        bad_count=run.bad_count[run.bad_block < count],
        bad_block=run.bad_block[run.bad_block < count],
    )
