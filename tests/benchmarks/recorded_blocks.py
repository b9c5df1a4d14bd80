"""What recording a step costs by the number of blocks, in a plain PyTorch loop; prints JSON.

python recorded_blocks.py FOLDER BLOCKS [TURNS]

Turns of a bare loop and of a recorded one alternate; the cost is the median difference of their CPU time, all threads.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from environment import timed
from torch import nn

from yolo_stability import record

DENSE = 50  # steps at the start that are all measured in full
WIDTH, TURN = 16, 20


class Residual(nn.Module):
    """A small block; its skip keeps the gradients of all blocks alive, since zeros would take no room in a trace."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add a little to the input."""
        return x + 0.1 * torch.tanh(self.linear(x))


class Loop:
    """A chain of small blocks that is trained."""

    def __init__(self, blocks: int) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(*(Residual() for _ in range(blocks)))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3, momentum=0.9)
        self.batch = torch.randn(8, WIDTH)

    def steps(self, count: int, recorder: Any = None) -> None:
        """Take steps, recorded or not."""
        for _ in range(count):
            self.optimizer.zero_grad()
            loss = (self.model(self.batch) - self.batch).square().mean()
            loss.backward()
            if recorder is not None:
                recorder.step(loss)
            self.optimizer.step()


def measure(folder: Path, blocks: int, turns: int = 15) -> dict[str, Any]:
    """Return CPU milliseconds that recording adds to a step, and bytes of its trace.

    Args:
        folder: Folder for the run.
        blocks: How many blocks.
        turns: How often bare and recorded turns alternate.
    """
    torch.set_num_threads(1)
    bare, watched = Loop(blocks), Loop(blocks)
    plain, added, dense = [], [], []
    with record(watched.model, watched.optimizer, out=folder, plots=False) as recorder:
        for turn in itertools.count():
            first = turn * TURN
            if first >= DENSE + turns * TURN + TURN:
                break
            _, without = timed(lambda: bare.steps(TURN))
            _, with_it = timed(lambda: watched.steps(TURN, recorder))
            if turn and first + TURN <= DENSE:  # the first turn is that of everything done once
                dense.append(with_it - without)
            elif first >= DENSE:
                plain.append(without)
                added.append(with_it - without)
        steps = recorder.trace.steps.height
    files = [path for path in (folder / "stability" / "trace").iterdir() if path.is_file()]
    per_step = 1000 / TURN
    return {
        "blocks": blocks,
        "bare_ms": statistics.median(plain) * per_step,
        "added_ms": statistics.median(added) * per_step,
        "dense_ms": statistics.median(dense) * per_step,
        "bytes_a_step": sum(path.stat().st_size for path in files) / steps,
        "steps": steps,
    }


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]), *map(int, sys.argv[3:4]))))
