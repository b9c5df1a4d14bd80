"""Record a custom PyTorch training loop and diagnose it.

Usage: python own_loop.py FOLDER

Trains a small network with a suitable learning rate and with one that is far too high; both traces
are written to FOLDER.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from yolo_stability import Diagnosis, diagnose, record


def train(lr: float, out: Path) -> Diagnosis:
    """Train for 60 steps with recording, and return the diagnosis."""
    torch.manual_seed(0)
    layers = nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1)
    model = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    with record(model, optimizer, out=out, config={"seed": 0, "lr": lr}, plots=False) as recorder:
        for step in range(60):
            x = torch.randn(64, 8)
            optimizer.zero_grad()
            loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
            loss.backward()
            recorder.step(loss, epoch=step // 20)  # after backward, before any clipping
            optimizer.step()
    return diagnose(out)


if __name__ == "__main__":
    for name, lr in (("sane", 0.001), ("far-too-high", 10.0)):
        diagnosis = train(lr, Path(sys.argv[1]) / name)
        print(f"lr={lr:g}: {diagnosis.verdict}: {diagnosis.why}")
