"""One run of a million steps x 25 blocks: from its trace to a report in little memory and a small page."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from process import HERE, environment

sys.path.insert(0, str(HERE.parent))

from traces import header

from yolo_stability.trace import TraceWriter
from yolo_stability.trace.layout import part_path

STEPS, BLOCKS, CHUNK = 1_000_000, 25, 16_384
NAMES = [f"model.{i} C3k2" for i in range(BLOCKS)]
SPIKE = 123_456


def write_trace(folder: Path) -> np.ndarray:
    """Write a trace in sealed chunks, as a long run leaves it; return the total norms."""
    writer = TraceWriter(folder, NAMES)
    writer.write_header(header(NAMES))
    writer.close()
    rng, totals = np.random.default_rng(0), []
    base = np.exp(rng.normal(0, 1, BLOCKS))
    for first in range(0, STEPS, CHUNK):
        step = np.arange(first, min(first + CHUNK, STEPS), dtype=np.uint32)
        norms = (base * np.exp(rng.normal(0, 0.3, (len(step), BLOCKS)))).astype(np.float32)
        norms[step == SPIKE] *= 30
        total = np.linalg.norm(norms, axis=1).astype(np.float32)
        totals.append(total)
        steps = pl.DataFrame(
            {
                "attempt": np.zeros(len(step), np.uint16),
                "step": step,
                "iteration": step,
                "epoch": (step // 500).astype(np.uint16),
                "accumulate": np.ones(len(step), np.uint16),
                "loss": rng.normal(4, 0.2, len(step)).astype(np.float32),
                "loss/box_loss": rng.normal(2, 0.2, len(step)).astype(np.float32),
                "lr/weight": np.full(len(step), 0.01, np.float32),
                "momentum": np.full(len(step), 0.9, np.float32),
                "grad_norm": total,
                "clip_coef": np.minimum(1, 10 / total).astype(np.float32),
                "nonfinite": np.zeros(len(step), np.uint32),
                "seconds": rng.random(len(step), np.float32),
            }
        )
        blocks = pl.DataFrame(
            {
                "attempt": np.zeros(norms.size, np.uint16),
                "step": np.repeat(step, BLOCKS),
                "block": pl.Series(NAMES * len(step), dtype=pl.Enum(NAMES)),
                "grad_norm": norms.ravel(),
                "nonfinite": np.zeros(norms.size, np.uint32),
            }
        )
        for table, frame in (("blocks", blocks), ("steps", steps)):
            path = part_path(folder, table, int(step[0]), int(step[-1]))  # type: ignore[arg-type]
            path.parent.mkdir(exist_ok=True)
            frame.write_parquet(path, compression="zstd", statistics=False)
    return np.concatenate(totals)


@pytest.mark.full
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the largest resident memory comes from /proc")
@pytest.mark.timeout(900)
def test_a_million_steps_become_a_report(tmp_path: Path) -> None:
    totals = write_trace(tmp_path / "run" / "stability")
    done = subprocess.run(
        [sys.executable, str(HERE / "million_report.py"), str(tmp_path)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    told = json.loads(done.stdout)
    print(f"\n{told}")
    assert told["steps"] == STEPS
    assert told["peak_norm"] == pytest.approx(totals[SPIKE], rel=1e-6)
    assert told["median_norm"] == pytest.approx(float(np.median(totals)), rel=1e-6)
    assert told["gigabytes"] < 1.5
    assert told["html"] < 12e6
    assert told["cpu"] < 60  # 15 s on a quiet machine
    assert told["assess"] + told["render"] < 600
