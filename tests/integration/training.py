"""Tiny real trainings: the stock run as the independent reference, and the watched one.

They run on the CPU, or on the device that the environment variable `YOLO_STABILITY_TEST_DEVICE`
names, such as 0 for the first CUDA GPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from ultralytics import YOLO
from ultralytics.utils.torch_utils import unwrap_model

from yolo_stability.data.resolve import resolve_data

FOLDER = Path(__file__).parents[1] / "models"
MODELS = {"detect": str(FOLDER / "tiny.yaml"), "pose": str(FOLDER / "tiny-pose.yaml")}
"""YOLO26's blocks and heads, seven layers deep: a training takes a third of the time."""
NANO = {"detect": "yolo26n.yaml", "pose": "yolo26n-pose.yaml"}
"""For what depends on a real model's depth and blocks."""
DATA = {"detect": "shapes", "pose": "figures"}
DEVICE = os.environ.get("YOLO_STABILITY_TEST_DEVICE", "cpu")


def overrides(task: str, folder: Path, **changed: Any) -> dict[str, Any]:
    """Return the arguments of a tiny run: 32 images of 64 px, batch 8, 4 steps per epoch."""
    return {
        "data": resolve_data(DATA[task], task).data,
        "imgsz": 64,
        "batch": 8,
        "nbs": 8,
        "fraction": [32, 4],
        "epochs": 2,
        "optimizer": "SGD",
        "lr0": 0.01,
        "warmup_epochs": 1,
        "mosaic": 0.0,
        "close_mosaic": 0,
        "amp": False,
        "plots": False,
        "val": False,
        "verbose": False,
        "device": DEVICE,
        "workers": 0,
        "seed": 0,
        "project": str(folder),
        **changed,
    }


@dataclass
class Stock:
    """What a run of stock Ultralytics did, captured without any code of this package.

    Attributes:
        trainer: The trainer after the run.
        gradients: Per optimizer step a copy of each gradient by parameter name, unscaled and
            unclipped.
        totals: Per optimizer step what `clip_grad_norm_` returned.
        steps: Calls of `optimizer_step`.
    """

    trainer: Any = None
    gradients: list[dict[str, Tensor]] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)
    steps: int = 0


def train_stock(
    task: str,
    folder: Path,
    monkeypatch: Any,
    *,
    callbacks: Mapping[str, Callable[[Any], None]] | None = None,
    models: Mapping[str, str] = MODELS,
    **changed: Any,
) -> Stock:
    """Train with stock Ultralytics; `clip_grad_norm_` is spied on, nothing else."""
    stock = Stock()
    model = YOLO(models[task])
    clip = torch.nn.utils.clip_grad_norm_

    def spy(parameters: Any, *args: Any, **kwargs: Any) -> Tensor:
        named = unwrap_model(model.trainer.model).named_parameters()
        stock.gradients.append({n: p.grad.detach().clone() for n, p in named if p.grad is not None})
        total = clip(parameters, *args, **kwargs)
        stock.totals.append(float(total))
        stock.steps += 1
        return total

    for event, callback in (callbacks or {}).items():
        model.add_callback(event, callback)
    one_thread(model)
    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.utils, "clip_grad_norm_", spy)
        model.train(**overrides(task, folder, **changed))
    stock.trainer = model.trainer
    return stock


def one_thread(model: Any) -> None:
    """Let the run use one thread, which `select_device` overrides and which influences weights."""
    model.add_callback("on_pretrain_routine_start", lambda trainer: torch.set_num_threads(1))


def state(trainer: Any) -> dict[str, Tensor]:
    """Return copies of all tensors of model and EMA by name."""
    named = [(f"model.{k}", v) for k, v in unwrap_model(trainer.model).state_dict().items()]
    named += [(f"ema.{k}", v) for k, v in trainer.ema.ema.state_dict().items()]
    return {k: v.detach().clone() for k, v in named}


def bad_tensors(trainer: Any) -> list[str]:
    """Return the names of tensors of model, EMA or optimizer state that hold a NaN or Inf."""
    tensors = dict(state(trainer))
    for i, slots in enumerate(trainer.optimizer.state.values()):
        tensors |= {f"optimizer.{i}.{k}": v for k, v in slots.items() if isinstance(v, Tensor)}
    return [name for name, tensor in tensors.items() if not torch.isfinite(tensor.float()).all()]


def zero_tensors(checkpoint: Path) -> set[str]:
    """Return the names of the tensors of a checkpoint's model that are all zero."""
    loaded = torch.load(checkpoint, weights_only=False, map_location="cpu")
    return zeros((loaded.get("ema") or loaded["model"]).state_dict())


def zeros(tensors: Mapping[str, Tensor]) -> set[str]:
    """Return the names of the tensors that are all zero once they are saved, in half precision."""
    return {
        n
        for n, t in tensors.items()
        if bool(((t.half() if t.is_floating_point() else t) == 0).all())
    }
