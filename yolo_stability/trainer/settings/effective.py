"""What is really in force in a trainer, as opposed to what was asked for."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from torch import nn

from yolo_stability.compat.ultralytics import (
    DEFAULT_CFG_DICT,
    Trainer,
    group_names,
    inner_model,
)
from yolo_stability.config import StabilitySettings
from yolo_stability.core.provenance import config_digest, dataset_digest, package_versions
from yolo_stability.core.types import BlockSpec, RunHeader
from yolo_stability.gradients.optimizers import momentum
from yolo_stability.guard.distributed import is_distributed
from yolo_stability.interventions.switches import Switches
from yolo_stability.trace import SCHEMA_VERSION

__all__ = ["as_first_written", "build_header", "own_in_force", "possible", "requested_settings"]

_ARGUMENTS = (
    "task",
    "model",
    "data",
    "imgsz",
    "epochs",
    "seed",
    "deterministic",
    "nbs",
    "warmup_epochs",
    "time",
)


def build_header(
    trainer: Trainer,
    blocks: tuple[BlockSpec, ...],
    requested: Mapping[str, Any],
    own: Mapping[str, Any],
) -> RunHeader:
    """Describe a run at the start of its training.

    Args:
        trainer: The trainer, after its set-up.
        blocks: Its blocks.
        requested: What the user asked for.
        own: Settings of this package that are in force.
    """
    return RunHeader(
        schema_version=SCHEMA_VERSION,
        run_id=uuid.uuid4().hex[:12],
        config_digest=config_digest(requested),
        seed=int(trainer.args.seed),
        requested=dict(requested),
        effective={**effective_settings(trainer), **own},
        versions=package_versions(),
        device=_device(trainer.device),
        dataset_digest=_dataset_digest(trainer),
        blocks=blocks,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def as_first_written(header: RunHeader, first: RunHeader) -> RunHeader:
    """Return the header of a resumed run, which keeps its name and what was first asked for.

    Args:
        header: As this sitting would write it.
        first: As the first one did.
    """
    return replace(
        header,
        run_id=first.run_id,
        config_digest=first.config_digest,
        requested=first.requested,
        started=first.started,
    )


def possible(
    trainer: Trainer, settings: StabilitySettings, *, owns_step: bool
) -> StabilitySettings:
    """Return settings without what cannot be had: a guard for a step that is not ours, a rescue on several processes.

    Args:
        trainer: The trainer.
        settings: What was asked for.
        owns_step: The optimizer step is ours.
    """
    guard = settings.guard if owns_step else "off"
    rescue = "off" if guard == "off" or is_distributed(trainer) else settings.rescue
    return settings.model_copy(update={"guard": guard, "rescue": rescue})


def own_in_force(settings: StabilitySettings, switches: Switches) -> dict[str, Any]:
    """Return our own settings as they are in force, and what the switches have changed."""
    return {
        "guard": settings.guard,
        "rescue": settings.rescue,
        "clip": str(switches.clip),
        "clip_max_norm": switches.clip.max_norm(),
        "switches": dict(switches.done),
        "warnings": list(switches.warnings),
    }


def requested_settings(trainer: Trainer) -> dict[str, Any]:
    """Return the arguments of a trainer that differ from Ultralytics' defaults."""
    return {
        k: v
        for k, v in vars(trainer.args).items()
        if k not in {"save_dir", "mode"} and v != DEFAULT_CFG_DICT.get(k)
    }


def effective_settings(trainer: Trainer) -> dict[str, Any]:
    """Return optimizer, learning rates, accumulation, clip, norm layers and frozen parameters in force."""
    model, optimizer = inner_model(trainer), trainer.optimizer
    asked = [group.get("initial_lr", group["lr"]) for group in optimizer.param_groups]
    rates = getattr(getattr(trainer, "scheduler", None), "base_lrs", asked)
    groups = zip(group_names(optimizer), optimizer.param_groups, rates, strict=True)
    arguments = {k: getattr(trainer.args, k, None) for k in _ARGUMENTS}
    return {
        **arguments,
        "batch": trainer.batch_size,
        "batches_per_epoch": len(trainer.train_loader),
        "images": len(trainer.train_loader.dataset),
        "images_listed": _images_listed(trainer.train_loader.dataset),
        "optimizer": type(optimizer).__name__,
        "momentum": momentum(optimizer),
        "groups": {
            name: {
                # of the scheduler: a resumed group may have been lowered by a rescue
                "lr": float(rate),
                "weight_decay": float(group.get("weight_decay", 0.0)),
                "tensors": len(group["params"]),
            }
            for name, group, rate in groups
        },
        "accumulate": int(trainer.accumulate),
        "amp": bool(trainer.amp),
        "ema": trainer.ema is not None,
        "norm_layers": dict(Counter(type(m).__name__ for m in model.modules() if _is_norm(m))),
        "frozen": [n for n, p in model.named_parameters() if not p.requires_grad],
        "parameters": sum(p.numel() for p in model.parameters()),
        "torch_threads": torch.get_num_threads(),
        "world_size": int(trainer.world_size or 1),
    }


def _images_listed(dataset: Any) -> int | None:
    """Return how many images the dataset had before Ultralytics left out those with a bad label; None if unknown."""
    listed = getattr(dataset, "label_files", None)
    return len(listed) if isinstance(listed, list) else None


def _is_norm(module: nn.Module) -> bool:
    """Return whether a module normalises, by the naming all of torch's norm layers share."""
    return "Norm" in type(module).__name__


def _device(device: torch.device) -> str:
    """Return the device in words."""
    return (
        f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
    )


def _dataset_digest(trainer: Trainer) -> str | None:
    """Return the digest of the train set, or None for a dataset that does not tell its labels."""
    dataset = trainer.train_loader.dataset
    labels = getattr(dataset, "labels", None)
    if (
        not isinstance(labels, list)
        or not labels
        or not isinstance(labels[0], Mapping)
        or "im_file" not in labels[0]
    ):
        return None
    return dataset_digest(_label_bytes(labels))


def _label_bytes(labels: list[dict[str, Any]]) -> Iterator[tuple[str, bytes]]:
    """Yield each image's path and its class, box and keypoint arrays as bytes."""
    for label in labels:
        arrays = (label.get(key) for key in ("cls", "bboxes", "keypoints"))
        yield (
            str(label["im_file"]),
            b"|".join(np.asarray(a, dtype=np.float32).tobytes() for a in arrays if a is not None),
        )
