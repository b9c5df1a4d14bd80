"""Effective settings of a trainer, as opposed to the requested ones."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from yolo_stability.compat.criterion import sums_over_images
from yolo_stability.compat.ultralytics import (
    DEFAULT_CFG_DICT,
    Trainer,
    group_names,
    inner_model,
    warmup_iterations,
)
from yolo_stability.config import StabilitySettings
from yolo_stability.core.errors import TraceError
from yolo_stability.core.provenance import config_digest, dataset_digest, package_versions
from yolo_stability.core.types import BlockSpec, RunHeader
from yolo_stability.gradients.optimizers import momentum
from yolo_stability.guard.distributed import is_distributed
from yolo_stability.interventions.switches import Switches
from yolo_stability.trace import SCHEMA_VERSION, read_header
from yolo_stability.trace.arrays import PER_IMAGE
from yolo_stability.trainer.settings.start import facts_at_start

__all__ = [
    "as_first_recorded",
    "build_header",
    "first_header",
    "has_loaded_weights",
    "labeled_objects",
    "largest_share",
    "loss_factor",
    "options_in_force",
    "requested_settings",
    "supported",
    "trainable_share",
]

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
    "warmup_bias_lr",
    "lrf",
    "cos_lr",
    "time",
)

_NEW = 16  # batches that a model may have seen before its first training


def build_header(
    trainer: Trainer,
    blocks: tuple[BlockSpec, ...],
    requested: Mapping[str, Any],
    options: Mapping[str, Any],
    version: int = SCHEMA_VERSION,
) -> RunHeader:
    """Return the header of a run at the start of its training.

    Args:
        trainer: The trainer, after its setup.
        blocks: Blocks of the model.
        requested: Settings the user requested.
        options: Effective yolo_stability options.
        version: Version of the trace.
    """
    return RunHeader(
        schema_version=version,
        run_id=uuid.uuid4().hex[:12],
        config_digest=config_digest(requested),
        seed=int(trainer.args.seed),
        requested=dict(requested),
        effective={**effective_settings(trainer), **facts_at_start(trainer), **options},
        versions=package_versions(),
        device=_device(trainer.device),
        dataset_digest=_dataset_digest(trainer),
        blocks=blocks,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def loss_factor(trainer: Trainer, version: int) -> str | None:
    """Return how the recorded loss is divided, beside the world size.

    Args:
        trainer: The trainer, after its setup.
        version: Version of the trace.

    Returns:
        `images` where the criterion multiplies by the images of a batch, else `none`; None for the
        undivided loss of version 1.
    """
    if version < 2:
        return None
    return PER_IMAGE if sums_over_images(trainer.model) else "none"


def first_header(folder: Path, warn: Callable[[str], None]) -> RunHeader | None:
    """Return the header that the first session of a resumed run wrote; None if it is damaged.

    Args:
        folder: The `stability/` folder.
        warn: Receives a warning, one sentence.
    """
    try:
        return read_header(folder)
    except TraceError as error:
        warn(str(error))
        return None


def as_first_recorded(header: RunHeader, first: RunHeader) -> RunHeader:
    """Return the header of a resumed run with the ID and requested settings of its first session.

    Args:
        header: Header of the current session.
        first: Header of the first session.
    """
    return replace(
        header,
        run_id=first.run_id,
        config_digest=first.config_digest,
        requested=first.requested,
        started=first.started,
    )


def supported(
    trainer: Trainer, settings: StabilitySettings, *, owns_step: bool
) -> StabilitySettings:
    """Return the settings with unsupported options turned off.

    The guard needs a trainer whose optimizer step the mixin replaces; the rescue needs the guard
    and a single process.

    Args:
        trainer: The trainer.
        settings: Requested settings.
        owns_step: Whether the mixin replaces the trainer's optimizer step.
    """
    guard = settings.guard if owns_step else "off"
    rescue = "off" if guard == "off" or is_distributed(trainer) else settings.rescue
    return settings.model_copy(update={"guard": guard, "rescue": rescue})


def options_in_force(
    settings: StabilitySettings, switches: Switches, loss_factor: str | None, *, owns_step: bool
) -> dict[str, Any]:
    """Return the effective yolo_stability options, and what the switches have changed.

    Args:
        settings: Effective settings.
        switches: Switches of the run.
        loss_factor: How the recorded loss is divided; None for an undivided one.
        owns_step: Whether the mixin replaces the trainer's optimizer step, and with it the clip.
    """
    return {
        **({} if loss_factor is None else {"loss_factor": loss_factor}),
        "own_step": not owns_step,
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
    """Return the effective optimizer, learning rates, accumulation, layers and environment."""
    model, optimizer = inner_model(trainer), trainer.optimizer
    initial = [group.get("initial_lr", group["lr"]) for group in optimizer.param_groups]
    rates = getattr(getattr(trainer, "scheduler", None), "base_lrs", initial)
    groups = zip(group_names(optimizer), optimizer.param_groups, rates, strict=True)
    arguments = {k: getattr(trainer.args, k, None) for k in _ARGUMENTS}
    return {
        **arguments,
        "batch": trainer.batch_size,
        "batches_per_epoch": len(trainer.train_loader),
        "warmup_iterations": warmup_iterations(trainer),
        "images": len(trainer.train_loader.dataset),
        "images_listed": _images_listed(trainer.train_loader.dataset),
        "optimizer": type(optimizer).__name__,
        "momentum": momentum(optimizer),
        "groups": {
            name: {
                # from the scheduler, because a rescue may have lowered the rates of a resumed group
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
        "trainable_share": trainable_share(model),
        "loaded": has_loaded_weights(trainer),
        "nc": _classes(trainer),
        "objects": labeled_objects(trainer.train_loader.dataset),
        "val_largest_share": largest_share(getattr(trainer, "test_loader", None)),
        "torch_threads": torch.get_num_threads(),
        "world_size": int(trainer.world_size or 1),
    }


def _images_listed(dataset: Any) -> int | None:
    """Return the number of images including those with bad labels; None if unknown."""
    listed = getattr(dataset, "label_files", None)
    return len(listed) if isinstance(listed, list) else None


def trainable_share(model: nn.Module) -> float:
    """Return the share of the weights that are trainable; a teacher's do not count.

    Args:
        model: The model, with a teacher under knowledge distillation.
    """
    trained = getattr(model, "student_model", model)
    sizes = [(p.numel(), p.requires_grad) for p in trained.parameters()]
    return sum(size for size, grad in sizes if grad) / max(sum(size for size, _ in sizes), 1)


def has_loaded_weights(trainer: Trainer) -> bool:
    """Return whether a model is not a new one, before its training.

    The statistics of its BatchNorm layers show it, whatever the weights came from. A few batches
    may have passed through a new model, for its strides or its initialization. Without such layers
    the settings decide.

    Args:
        trainer: The trainer, after its setup.
    """
    seen = [
        (int(m.num_batches_tracked), bool(m.running_mean.any()))
        for m in inner_model(trainer).modules()
        if isinstance(m, _BatchNorm)
        and m.num_batches_tracked is not None
        and m.running_mean is not None
    ]
    if seen:
        batches = max(number for number, _ in seen)
        return batches > _NEW or (batches == 0 and any(changed for _, changed in seen))
    pretrained, model = getattr(trainer.args, "pretrained", None), str(trainer.args.model)
    return isinstance(pretrained, str) or (model.endswith(".pt") and pretrained is not False)


def _classes(trainer: Trainer) -> int | None:
    """Return the number of classes of the data set; None if unknown."""
    data = getattr(trainer, "data", None)
    classes = data.get("nc") if isinstance(data, Mapping) else None
    return classes if isinstance(classes, int) else None


def labeled_objects(dataset: Any) -> int | None:
    """Return the number of objects in the labels of a data set; None if unknown.

    Args:
        dataset: Data set of a loader.
    """
    labels = getattr(dataset, "labels", None)
    if not isinstance(labels, list) or not all(isinstance(x, Mapping) for x in labels):
        return None
    return sum(len(label.get("cls", ())) for label in labels)


def largest_share(loader: Any) -> float | None:
    """Return the share of the largest class of a classification set; None for other sets.

    Args:
        loader: Loader of the validation set; None on processes that do not validate.
    """
    samples = getattr(getattr(loader, "dataset", None), "samples", None)
    if not isinstance(samples, list) or not samples:
        return None
    return max(Counter(sample[1] for sample in samples).values()) / len(samples)


def _is_norm(module: nn.Module) -> bool:
    """Return whether a module is a normalization layer, by torch's naming convention."""
    return "Norm" in type(module).__name__


def _device(device: torch.device) -> str:
    """Return the device as text, with the name of a GPU."""
    return (
        f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
    )


def _dataset_digest(trainer: Trainer) -> str | None:
    """Return the digest of the training set; None for a dataset that does not expose its labels."""
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
    """Yield the path of each image with its class, box and keypoint arrays as bytes."""
    for label in labels:
        arrays = (label.get(key) for key in ("cls", "bboxes", "keypoints"))
        yield (
            str(label["im_file"]),
            b"|".join(np.asarray(a, dtype=np.float32).tobytes() for a in arrays if a is not None),
        )
