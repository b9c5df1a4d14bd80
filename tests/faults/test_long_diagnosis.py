"""A diagnosis of 100,000 steps x 25 blocks takes less than 10 s and 1 GB, with imports."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from process import HERE, environment
from traces import header, record

from yolo_stability.core.types import Event
from yolo_stability.trace import TraceWriter
from yolo_stability.trace.layout import part_path
from yolo_stability.trace.schema import blocks_frame, conform, steps_frame, to_parquet

STEPS, BLOCKS = 100_000, 25
NAMES = [f"model.{i} C3k2" for i in range(BLOCKS)]
ROLES = ["backbone"] * 12 + ["neck"] * 9 + ["box", "cls", "one2one_box", "one2one_cls"]


def write_long(folder: Path, *, troubled: bool) -> None:
    """Write a run of noise; a failing one has spikes, skipped steps, a rising loss and NaN."""
    rng = np.random.default_rng(0)
    steps = np.arange(STEPS)
    norms = np.exp(rng.normal(0, 0.3, (STEPS, BLOCKS)))
    loss = 4 + 30 * np.exp(-steps / 300) + rng.normal(0, 0.2, STEPS)
    skipped = np.zeros(STEPS, dtype=bool)
    if troubled:
        spikes = rng.choice(STEPS, 2000, replace=False)
        norms[spikes, rng.integers(0, BLOCKS, 2000)] *= 1e4
        skipped[rng.choice(STEPS, 500, replace=False)] = True
        norms[skipped, 3] = np.nan
        loss[60_000:] *= 20
        norms[90_000:] = np.nan
    bad = ~np.isfinite(norms)
    once = record(0, [1.0] * BLOCKS, names=NAMES, accumulate=1)
    step = pl.DataFrame(
        {
            "step": steps,
            "iteration": steps,
            "epoch": steps // 1000,
            "loss": loss,
            "grad_norm": np.sqrt((norms**2).sum(axis=1)),
            "nonfinite": bad.sum(axis=1),
            "skipped": pl.Series(["guard" if bad else None for bad in skipped], dtype=pl.String),
            "lr/weight": 0.01 * (1 - steps / STEPS),
        }
    )
    block = pl.DataFrame(
        {
            "step": np.repeat(steps, BLOCKS),
            "block": np.tile(NAMES, STEPS),
            "grad_norm": norms.ravel(),
            "nonfinite": bad.ravel(),
            "update_ratio": np.where(np.repeat(steps, BLOCKS) % 10, np.nan, 1e-3),
        }
    ).with_columns(pl.col("update_ratio").fill_nan(None))
    writer = TraceWriter(folder / "stability", NAMES)
    writer.write_header(header(NAMES, ROLES))
    done = {"completed": True, "stopped": None}
    writer.event(Event(attempt=0, step=STEPS - 1, kind="end", data=done))
    writer.close()
    for table, frame, first in (
        ("steps", step, steps_frame([once])),
        ("blocks", block, blocks_frame([once], NAMES)),
    ):
        one = first.drop(frame.columns).head(1)
        whole = frame.join(one.unique(one.columns), how="cross") if one.width else frame
        path = part_path(folder / "stability", table, 0, STEPS - 1)
        path.parent.mkdir(exist_ok=True)
        whole = whole.cast(
            {n: t for n, t in first.schema.items() if n in whole.columns and n != "block"}
        )
        path.write_bytes(to_parquet(conform(whole, table, NAMES)))


@pytest.mark.full
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory comes from /proc")
@pytest.mark.parametrize("troubled", [False, True], ids=["healthy", "troubled"])
def test_a_long_run_is_diagnosed_in_time(tmp_path: Path, troubled: bool) -> None:
    write_long(tmp_path, troubled=troubled)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(HERE / "hundred_thousand.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    seconds = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout)
    print(
        f"\n{STEPS} steps x {BLOCKS} blocks: {seconds:.1f} s in all, {line['reading']:.1f} s of "
        "it imports, reading, "
        f"{line['diagnosing']:.1f} s diagnosis; at most {line['peak']:.0f} MB; {line['verdict']}: "
        f"{line['rules']}"
    )
    assert line["verdict"] == ("failed" if troubled else "stable")
    assert not troubled or {"non_finite", "spike", "divergence"} <= set(line["rules"])
    assert seconds < 10
    assert line["peak"] < 1000
