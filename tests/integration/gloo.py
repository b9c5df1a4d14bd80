"""Trainers of two processes on the CPU, started with the file that Ultralytics generates."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist
from torch import nn
from ultralytics.models.yolo.detect import DetectionTrainer

WORLD_SIZE = 2


class _CpuDDP(nn.parallel.DistributedDataParallel):
    """DDP without device ids, which a CPU has none of."""

    def __init__(self, module: nn.Module, **kwargs: Any) -> None:
        kwargs.pop("device_ids", None)
        super().__init__(module, **kwargs)


class GlooTrainer(DetectionTrainer):
    """Ultralytics' own distributed training, with gloo on the CPU instead of NCCL."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if os.environ.get("WORLD_SIZE"):
            torch.set_num_threads(1)
            self.world_size = WORLD_SIZE

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Keep the first batch of this rank, and before it the model as all ranks have it."""
        batch = super().preprocess_batch(batch)
        folder = os.environ.get("GLOO_FOLDER")
        if (
            folder
            and self.model.training
            and not (Path(folder) / f"batch{os.environ['RANK']}.pt").exists()
        ):
            torch.save(self.model.module, Path(folder) / f"model{os.environ['RANK']}.pt")
            torch.save(batch, Path(folder) / f"batch{os.environ['RANK']}.pt")
        return batch

    def _setup_ddp(self) -> None:
        """Join the other process."""
        dist.init_process_group("gloo", rank=int(os.environ["RANK"]), world_size=WORLD_SIZE)

    def final_eval(self) -> None:
        """Leave the last validation out: for workers Ultralytics asks CUDA for the device."""

    def _setup_train(self) -> None:
        """Wrap the model in a DDP that runs on the CPU."""
        original = nn.parallel.DistributedDataParallel
        nn.parallel.DistributedDataParallel = _CpuDDP
        try:
            super()._setup_train()
        finally:
            nn.parallel.DistributedDataParallel = original


class Diary:
    """A callback that writes down, on each rank, what the weights are after every step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[dict[str, Any]] = []

    def note(self, trainer: Any) -> None:
        """Note a fingerprint of the weights and whether all of them are finite."""
        weights = torch.cat([p.detach().flatten().double() for p in trainer.model.parameters()])
        self.lines.append(
            {"sum": float(weights.sum()), "finite": bool(torch.isfinite(weights).all())}
        )
        (self.folder / f"rank{os.environ['RANK']}.json").write_text(json.dumps(self.lines))
