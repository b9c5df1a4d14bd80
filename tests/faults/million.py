"""Write a long trace as a training would, and print one JSON line per stretch about what it cost.

python million.py FOLDER STEPS BLOCKS STRETCH
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from traces import header, record

from yolo_stability.core.types import BlockStats, StepRecord
from yolo_stability.trace import TraceWriter, compaction

FOLDER, STEPS, BLOCKS, STRETCH = Path(sys.argv[1]), *map(int, sys.argv[2:5])
NAMES = [f"model.{i} C3k2" for i in range(BLOCKS)]
WATCH_EVERY = 10
RNG = np.random.default_rng(0)
BASE = np.exp(RNG.normal(0, 1, BLOCKS))
WRITTEN = [0]


def resident() -> float:
    """Return the resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def fresh(step: int) -> StepRecord:
    """Return a unique record with noise in every number, as compression sees in a real run."""
    norms = (BASE * np.exp(RNG.normal(0, 0.3, BLOCKS))).astype(np.float32).tolist()
    losses = RNG.normal(4, 0.5, 5).astype(np.float32).tolist()
    sampled = step % WATCH_EVERY == 0
    updates = (
        np.abs(RNG.normal(1e-3, 2e-4, BLOCKS)).astype(np.float32).tolist()
        if sampled
        else [None] * BLOCKS
    )
    return record(
        step,
        norms,
        names=NAMES,
        loss=losses[0],
        loss_items={"box_loss": losses[1], "cls_loss": losses[2], "dfl_loss": losses[3]},
        lr_by_group={
            "weight": 0.01 * (1 - step / STEPS),
            "bias": 0.02 * (1 - step / STEPS),
            "norm": 0.01,
        },
        seconds=abs(losses[4]),
        blocks=tuple(
            BlockStats(block=n, grad_norm=g, weight_norm=5 + g if sampled else None, update_ratio=u)
            for n, g, u in zip(NAMES, norms, updates, strict=True)
        ),
    )


def main() -> None:
    replace = compaction.replace_file

    def counted(path: Path, content: bytes, *, sync: bool = False) -> None:
        WRITTEN[0] += len(content)
        replace(path, content, sync=sync)

    compaction.replace_file = counted  # type: ignore[assignment]
    merge, merging = compaction.Compactor.merge, [0.0]

    def timed(self: compaction.Compactor, *, everything: bool = False) -> None:
        began = time.thread_time()
        merge(self, everything=everything)
        merging[0] += time.thread_time() - began

    compaction.Compactor.merge = timed  # type: ignore[method-assign]
    writer = TraceWriter(FOLDER / "stability", NAMES)
    writer.write_header(header(NAMES))
    began = time.monotonic()
    for step in range(STEPS):
        writer.append(fresh(step))
        if step % 500 == 499:
            writer.compact()  # an epoch
        if step % STRETCH == STRETCH - 1:
            if step == STEPS - 1:
                writer.close()
            line = {
                "step": step + 1,
                "rss": resident(),
                "written": WRITTEN[0],
                "merging": merging[0],
            }
            print(
                json.dumps({**line, "seconds": time.monotonic() - began, "error": writer.error}),
                flush=True,
            )


if __name__ == "__main__":
    main()
