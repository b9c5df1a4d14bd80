"""Provenance of a run: versions, digests of configuration and data."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["config_digest", "dataset_digest", "package_versions"]

_PACKAGES = (
    "yolo-stability",
    "ultralytics",
    "torch",
    "torchvision",
    "numpy",
    "opencv-python",
    "polars",
)
# The location of the results does not change what a run computes.
_NOT_CONFIG = frozenset({"project", "name", "exist_ok", "save_dir", "resume", "verbose", "plots"})


def package_versions() -> dict[str, str]:
    """Return the versions of Python, the platform and the packages that influence a training."""
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def config_digest(settings: Mapping[str, Any]) -> str:
    """Return a hash of settings, independent of their order and of where results are written.

    Args:
        settings: Keys and JSON-able values; other values enter as their text.

    Example:
        >>> config_digest({"lr0": 0.1, "name": "a"}) == config_digest({"name": "b", "lr0": 0.1})
        True
    """
    relevant = {k: v for k, v in settings.items() if k not in _NOT_CONFIG}
    return _sha(json.dumps(relevant, sort_keys=True, default=str).encode())


def dataset_digest(images: Iterable[tuple[str, bytes]]) -> str:
    """Return a hash of image names, sizes and labels, independent of folder and order.

    Pixels enter through the file size only: reading all of COCO would take minutes.

    Args:
        images: Path of each image and its labels as canonical bytes.
    """
    rows = []
    for path, labels in images:
        file = Path(path)
        try:
            size = file.stat().st_size
        except OSError:
            size = -1
        rows.append(f"{file.name}\0{size}\0{hashlib.sha256(labels).hexdigest()}")
    return _sha("\n".join(sorted(rows)).encode())


def _sha(content: bytes) -> str:
    """Return the first 16 hex digits of the SHA-256."""
    return hashlib.sha256(content).hexdigest()[:16]
