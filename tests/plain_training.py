"""A training loop of one's own in plain PyTorch: what guard, step loop and remedies need of any training."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR


class MovingAverage:
    """Averages parameters and copies buffers."""

    def __init__(self, model: nn.Module) -> None:
        self.ema, self.updates = copy.deepcopy(model), 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.updates += 1
        for mean, new in zip(self.ema.parameters(), model.parameters(), strict=True):
            mean.lerp_(new, 0.1)
        for mean, new in zip(self.ema.buffers(), model.buffers(), strict=True):
            mean.copy_(new)


class PlainTraining:
    """A small network with BatchNorm, an optimizer, a schedule, an average, and AMP's scaler if it is asked for."""

    def __init__(
        self, folder: Path, *, optimizer: str = "AdamW", amp: bool = False, ema: bool = True
    ) -> None:
        torch.manual_seed(0)
        self.save_dir = folder
        self.model = self.fresh_model()
        self.optimizer = getattr(torch.optim, optimizer)(
            self.model.parameters(), lr=0.01, **({"momentum": 0.9} if optimizer == "SGD" else {})
        )
        self.scheduler = LambdaLR(self.optimizer, lambda epoch: 1 - epoch / 10)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=64.0, enabled=amp)
        self.ema = MovingAverage(self.model) if ema else None
        self.device, self.world_size = torch.device("cpu"), 1
        self.loss: Any = None
        self.running_loss: Any = None
        self.epoch, self.epochs, self.start_epoch, self.batches = 0, 10, 0, 100
        self.arguments: dict[str, Any] = {"task": "plain"}
        self.precision = self.best_fitness = self.checkpoint = None
        self.resume, self.batch_size, self.stopped = False, 4, False
        self.warmup_bias_lr = 0.1
        self.host = self

    def fresh_model(self) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 36, 2)
        )

    def loss_items(self) -> dict[str, Tensor]:
        return {"square": self.loss.detach()}

    def warm_up(self, place: int) -> None:
        """There is no warm-up."""

    def stop(self) -> None:
        self.stopped = True

    def forward(self, images: Tensor) -> None:
        """Pass a batch forward and backward."""
        self.loss = self.model(images).square().mean()
        self.running_loss = self.loss.detach()
        self.scaler.scale(self.loss).backward()

    def update(self) -> None:
        """Do what a step does once nobody objects."""
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        if self.ema:
            self.ema.update(self.model)

    def train(self, steps: int) -> None:
        """Take steps that nobody watches."""
        for _ in range(steps):
            self.forward(images())
            self.update()

    def fingerprint(self) -> list[Tensor]:
        """Return copies of everything that a step changes."""
        tensors = list(self.model.state_dict().values())
        if self.ema:
            tensors += [*self.ema.ema.state_dict().values(), torch.tensor(self.ema.updates)]
        for slots in self.optimizer.state.values():
            tensors += [v for v in slots.values() if isinstance(v, Tensor)]
        tensors.append(torch.tensor(self.scaler.get_scale()))
        return [t.detach().clone() for t in tensors]

    def rates(self) -> list[float]:
        """Return the learning rates."""
        return [group["lr"] for group in self.optimizer.param_groups]


def images(value: float | None = None) -> Tensor:
    """Return a batch; with a value in one of its pixels, if there is one."""
    made = torch.randn(4, 3, 8, 8)
    if value is not None:
        made[0, 0, 0, 0] = value
    return made


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    """Return whether two fingerprints are equal to the last bit."""
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


BAD = math.inf
