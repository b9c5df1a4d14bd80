"""One preprocessed batch: its images by name, its labels, and a batch made of some of its images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "blank",
    "image_files",
    "image_name",
    "images_not_finite",
    "labels_of",
    "leave_out",
    "mixes_files",
    "select",
    "tensor_bytes",
]

_LABELS = ("cls", "bboxes", "keypoints")
_SMALL = 32  # images of this size are one pixel at the largest stride
_MIXING = ("mosaic", "mixup", "cutmix", "copy_paste")


def image_files(batch: dict[str, Any]) -> list[str]:
    """Return the path of each image's file; empty texts where the task does not name them."""
    count = len(batch["img"]) if "img" in batch else len(batch.get("im_file", ()))
    return [str(file) for file in batch.get("im_file") or [""] * count]


def image_name(batch: dict[str, Any], image: int) -> str:
    """Return the file name of an image without its folder, or its place in the batch where the task has no names."""
    return PurePath(image_files(batch)[image]).name or f"image {image}"


def mixes_files(arguments: Mapping[str, Any], epochs: int, epoch: int) -> bool:
    """Return whether images of an epoch are made of several files each, of which a batch names but the first.

    Args:
        arguments: Arguments of the training.
        epochs: How many epochs it has.
        epoch: Counted from 0; Ultralytics mixes no more in the last `close_mosaic` of them.
    """
    if arguments.get("rect", False) or not any(
        float(arguments.get(key, 0) or 0) > 0 for key in _MIXING
    ):
        return False
    closed = int(arguments.get("close_mosaic", 0) or 0)
    return not closed or epoch < epochs - closed


def images_not_finite(batch: dict[str, Any]) -> list[int]:
    """Return the images that hold a NaN or Inf themselves: in a pixel or in a label."""
    found = {i for i, image in enumerate(batch["img"]) if not bool(torch.isfinite(image).all())}
    owners = _owners(batch)
    for key, values in batch.items():
        if (
            isinstance(values, Tensor)
            and values.is_floating_point()
            and _is_label(batch, key, values)
        ):
            bad = (~torch.isfinite(values.reshape(len(values), -1))).any(dim=1).tolist()
            found |= {owner for owner, is_bad in zip(owners, bad, strict=True) if is_bad}
    return sorted(found)


def select(batch: dict[str, Any], images: Sequence[int]) -> dict[str, Any]:
    """Return a batch of some of the images of a batch, with their labels.

    Args:
        batch: The batch; stays as it is.
        images: Places of the images.
    """
    count, owners = len(batch["img"]), _owners(batch)
    new_place = {old: new for new, old in enumerate(images)}
    rows = [row for row, owner in enumerate(owners) if owner in new_place]
    chosen: dict[str, Any] = {}
    for key, values in batch.items():
        if isinstance(values, Tensor) and _is_label(batch, key, values):
            chosen[key] = values[rows]
        elif isinstance(values, Tensor) and values.ndim and len(values) == count:
            chosen[key] = values[list(images)]
        elif isinstance(values, list | tuple) and len(values) == count:
            chosen[key] = [values[i] for i in images]
        else:
            chosen[key] = values
    if "batch_idx" in batch:
        places = [new_place[owners[row]] for row in rows]
        chosen["batch_idx"] = (
            batch["batch_idx"].new_tensor(places).reshape(-1, *batch["batch_idx"].shape[1:])
        )
    return chosen


def leave_out(batch: dict[str, Any], names: set[str]) -> None:
    """Take images out of a preprocessed batch, in place; one that would be empty, or too small for BatchNorm, stays.

    Args:
        batch: The batch.
        names: Names of image files, without folders.
    """
    files = [PurePath(file).name for file in image_files(batch)]
    kept = [i for i, name in enumerate(files) if name not in names]
    least = 2 if batch["img"].shape[-1] <= _SMALL else 1  # deep layers see one pixel an image
    if least <= len(kept) < len(files):
        chosen = select(batch, kept)
        batch.clear()
        batch.update(chosen)


def blank(batch: dict[str, Any]) -> dict[str, Any]:
    """Return the batch with plain grey images: what it does to a model is the model's own doing."""
    return {**batch, "img": torch.full_like(batch["img"], 0.5)}


def labels_of(batch: dict[str, Any]) -> list[list[list[float | str]]]:
    """Return the labels of each image as rows of numbers: class, box, then keypoints; NaN and Inf as text."""
    parts = [batch[key] for key in _LABELS if isinstance(batch.get(key), Tensor)]
    found: list[list[list[float | str]]] = [[] for _ in image_files(batch)]
    if not parts:
        return found
    owners = _owners(batch) if "batch_idx" in batch else list(range(len(parts[0])))
    joined = torch.cat(
        [part.detach().float().reshape(len(part), -1).cpu() for part in parts], dim=1
    )
    for owner, row in zip(owners, joined.tolist(), strict=False):
        if owner < len(found):
            found[owner].append([round(v, 6) if math.isfinite(v) else str(v) for v in row])
    return found


def tensor_bytes(batch: dict[str, Any]) -> int:
    """Return how much memory the tensors of a batch hold."""
    return sum(v.numel() * v.element_size() for v in batch.values() if isinstance(v, Tensor))


def _owners(batch: dict[str, Any]) -> list[int]:
    """Return the place of the image that each label belongs to."""
    return [int(i) for i in batch["batch_idx"].flatten().tolist()] if "batch_idx" in batch else []


def _is_label(batch: dict[str, Any], key: str, values: Tensor) -> bool:
    """Return whether a tensor has one row a label, not one an image.

    Masks come either way; where labels are as many as images they count as one an image, which is the default.
    """
    if (
        "batch_idx" not in batch
        or key == "img"
        or not values.ndim
        or len(values) != len(batch["batch_idx"])
    ):
        return False
    return key not in {"masks", "sem_masks"} or len(values) != len(batch["img"])
