"""Operations on one preprocessed batch: image names, labels, selection of images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "blank",
    "exclude_images",
    "image_files",
    "image_name",
    "images_not_finite",
    "labels_of",
    "mixes_files",
    "select",
    "tensor_bytes",
]

_LABELS = ("cls", "bboxes", "keypoints")
_SMALL = 32  # images of this size shrink to one pixel at the largest stride
_MIXING = ("mosaic", "mixup", "cutmix", "copy_paste")


def image_files(batch: dict[str, Any]) -> list[str]:
    """Return the path of each image file; empty strings if the task does not name them."""
    count = len(batch["img"]) if "img" in batch else len(batch.get("im_file", ()))
    return [str(file) for file in batch.get("im_file") or [""] * count]


def image_name(batch: dict[str, Any], image: int) -> str:
    """Return the file name of an image without its folder, or its position if unnamed."""
    return PurePath(image_files(batch)[image]).name or f"image {image}"


def mixes_files(arguments: Mapping[str, Any], epochs: int, epoch: int) -> bool:
    """Return whether an epoch's images combine several files; a batch names only the first.

    Args:
        arguments: Arguments of the training.
        epochs: Number of epochs.
        epoch: Epoch, counted from 0; Ultralytics does not mix in the last `close_mosaic` epochs.
    """
    if arguments.get("rect", False) or not any(
        float(arguments.get(key, 0) or 0) > 0 for key in _MIXING
    ):
        return False
    closed = int(arguments.get("close_mosaic", 0) or 0)
    return not closed or epoch < epochs - closed


def images_not_finite(batch: dict[str, Any]) -> list[int]:
    """Return the positions of images with NaN or Inf in a pixel or a label."""
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
        batch: The batch; it is not changed.
        images: Positions of the images.
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


def exclude_images(batch: dict[str, Any], names: set[str]) -> None:
    """Remove images from a preprocessed batch in place, unless too few for BatchNorm would remain.

    Args:
        batch: The batch.
        names: Names of image files, without folders.
    """
    files = [PurePath(file).name for file in image_files(batch)]
    kept = [i for i, name in enumerate(files) if name not in names]
    least = 2 if batch["img"].shape[-1] <= _SMALL else 1  # deep layers see one pixel per image
    if least <= len(kept) < len(files):
        chosen = select(batch, kept)
        batch.clear()
        batch.update(chosen)


def blank(batch: dict[str, Any]) -> dict[str, Any]:
    """Return the batch with gray images, on which only failures of the model itself remain."""
    return {**batch, "img": torch.full_like(batch["img"], 0.5)}


def labels_of(batch: dict[str, Any]) -> list[list[list[float | str]]]:
    """Return each image's labels as rows of class, box and keypoints; NaN and Inf as strings."""
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
    """Return the memory of a batch's tensors, in bytes."""
    return sum(v.numel() * v.element_size() for v in batch.values() if isinstance(v, Tensor))


def _owners(batch: dict[str, Any]) -> list[int]:
    """Return the position of the image that each label belongs to."""
    return [int(i) for i in batch["batch_idx"].flatten().tolist()] if "batch_idx" in batch else []


def _is_label(batch: dict[str, Any], key: str, values: Tensor) -> bool:
    """Return whether a tensor has one row per label, not one per image.

    Masks occur in both forms; with as many labels as images they count as one per image, the
    default.
    """
    if (
        "batch_idx" not in batch
        or key == "img"
        or not values.ndim
        or len(values) != len(batch["batch_idx"])
    ):
        return False
    return key not in {"masks", "sem_masks"} or len(values) != len(batch["img"])
