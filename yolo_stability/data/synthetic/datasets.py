"""Embedded sets: drawn from a seed in seconds, stored in the cache as COCO JSON and PNG."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolo_stability.core.resources import resource
from yolo_stability.data.cache import cache_root, publish

__all__ = [
    "EMBEDDED",
    "EmbeddedSpec",
    "checksum",
    "draw_embedded",
    "embedded_folder",
    "embedded_spec",
]

EMBEDDED = ("shapes", "figures")
"""Names that `data=` accepts."""

SPLITS = ("train", "val")
Picture = tuple[str, NDArray[np.uint8], list[dict[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedSpec:
    """Content of `datasets/<name>.yaml`.

    Attributes:
        name: `shapes` or `figures`.
        tasks: Tasks it can train, the primary one first.
        description: One sentence.
        seed: Seed of all randomness.
        size: Side of an image, pixels.
        train: Number of training images.
        val: Number of validation images.
        checksum: SHA-256 of the drawings, see `checksum`.
        control: Scenario file below `configs/` that learns the set.
    """

    name: str
    tasks: tuple[str, ...]
    description: str
    seed: int
    size: int
    train: int
    val: int
    checksum: str
    control: str


def embedded_spec(name: str) -> EmbeddedSpec:
    """Read the description of an embedded set.

    Args:
        name: One of `EMBEDDED`.

    Returns:
        The content of its YAML.

    Example:
        >>> embedded_spec("shapes").tasks
        ('detect', 'segment')
    """
    import yaml

    content = yaml.safe_load(resource("datasets", f"{name}.yaml").read_text(encoding="utf-8"))
    return EmbeddedSpec(**{**content, "tasks": tuple(content["tasks"])})


def _drawer(name: str) -> ModuleType:
    """Return the module that draws a set; imports OpenCV."""
    from yolo_stability.data.synthetic import figures, shapes

    return {"figures": figures, "shapes": shapes}[name]


def draw_embedded(spec: EmbeddedSpec, split: str) -> Iterator[Picture]:
    """Draw the images of a split, each with its own generator, so that they are independent.

    Args:
        spec: The set.
        split: `train` or `val`.

    Yields:
        File name, image (size, size, 3) uint8 BGR, COCO annotations without ids.
    """
    module = _drawer(spec.name)
    for index in range(spec.train if split == "train" else spec.val):
        rng = np.random.Generator(np.random.PCG64([spec.seed, SPLITS.index(split), index]))
        image, annotations = module.draw(rng, spec.size)
        yield f"{index:06d}.png", image, annotations


def embedded_folder(name: str) -> tuple[Path, str | None]:
    """Return the folder of an embedded set in COCO's layout, drawing it on the first call.

    Args:
        name: One of `EMBEDDED`.

    Returns:
        The folder, and a notice when this machine draws different pixels than the release did
        (another OpenCV version): the set is equivalent, but results are not comparable bit for bit.

    Raises:
        DataError: The cache cannot be written.
    """
    spec = embedded_spec(name)
    target = cache_root() / "embedded" / f"{name}-{spec.checksum[:12]}"
    if not _complete(target, spec):
        publish(target, lambda folder: _write(spec, folder), lambda folder: _complete(folder, spec))
    found = json.loads((target / "set.json").read_text(encoding="utf-8"))["checksum"]
    if found == spec.checksum:
        return target, None
    return target, (
        f"{name}: the drawings differ from the released ones (checksum {found[:12]}, released "
        f"{spec.checksum[:12]}), probably because of another OpenCV version; results are not "
        "comparable bit for bit"
    )


def checksum(folder: Path) -> str:
    """Return the SHA-256 of decoded pixels and canonical JSON, independent of image encoders.

    Args:
        folder: A folder with `train/`, `val/` and `annotations/`.

    Returns:
        64 hexadecimal digits.
    """
    import cv2

    digest = hashlib.sha256()
    for split in SPLITS:
        for path in sorted((folder / split).glob("*.png")):
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if image is None:  # damaged file: matches no released checksum
                return "0" * 64
            digest.update(f"{split}/{path.name} {image.shape}\n".encode())
            digest.update(np.ascontiguousarray(image).tobytes())
    for path in sorted((folder / "annotations").glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        digest.update(
            f"{path.name}\n{json.dumps(content, sort_keys=True, separators=(',', ':'))}\n".encode()
        )
    return digest.hexdigest()


def _complete(folder: Path, spec: EmbeddedSpec) -> bool:
    counts = [len(list((folder / split).glob("*.png"))) for split in SPLITS]
    return (folder / "set.json").is_file() and counts == [spec.train, spec.val]


def _write(spec: EmbeddedSpec, folder: Path) -> None:
    """Fill `folder` with the drawings, their annotations and `set.json`."""
    import cv2

    module = _drawer(spec.name)
    (folder / "annotations").mkdir()
    for split in SPLITS:
        (folder / split).mkdir()
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for name, image, found in draw_embedded(spec, split):
            cv2.imwrite(str(folder / split / name), image)
            images.append(
                {"id": len(images) + 1, "file_name": name, "width": spec.size, "height": spec.size}
            )
            for annotation in found:
                annotations.append(
                    annotation | {"id": len(annotations) + 1, "image_id": len(images)}
                )
        info = {"description": f"yolo_stability {spec.name}, {split}, drawn from seed {spec.seed}"}
        content = {
            "info": info,
            "images": images,
            "annotations": annotations,
            "categories": module.CATEGORIES,
        }
        for kind in _kinds(spec):
            path = folder / "annotations" / f"{kind}_{split}.json"
            path.write_text(json.dumps(content), encoding="utf-8")
    (folder / "set.json").write_text(
        json.dumps({"name": spec.name, "checksum": checksum(folder)}), encoding="utf-8"
    )


def _kinds(spec: EmbeddedSpec) -> tuple[str, ...]:
    return ("instances", "person_keypoints") if "pose" in spec.tasks else ("instances",)
