"""Comparison of images by content: equal files by hash, equal pictures by their pixels.

Only files of equal size are hashed. Near-duplicates are images whose difference hashes (the signs
of the horizontal gradient of a 9 x 8 thumbnail, as in the package imagehash) differ in at most
three bits and whose thumbnails are nearly equal.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from multiprocessing.pool import ThreadPool

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Thumbnail", "equal_files", "near_pairs", "thumbnail", "unalike"]

SIDE = 32
BITS = 3
"""Largest number of differing bits of two hashes."""
ALIKE = 6.0
"""Largest mean difference of two thumbnails, in gray levels."""
CONTRAST = 4.0
"""Smallest standard deviation of a thumbnail that is compared: uniform images are all alike."""
BUCKET = 200
"""Largest number of images with equal bits of a hash that are compared with each other."""
WORKERS = min(8, os.cpu_count() or 1)

Gray = NDArray[np.uint8]


class Thumbnail:
    """A small gray copy of an image, and its hash.

    Args:
        pixels: Gray image of `SIDE` x `SIDE` pixels.
    """

    __slots__ = ("bits", "pixels")

    def __init__(self, pixels: Gray) -> None:
        self.pixels = pixels
        small = cv2.resize(pixels, (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
        self.bits = int.from_bytes(np.packbits(small[:, 1:] > small[:, :-1]).tobytes(), "big")

    def difference(self, other: Thumbnail) -> float:
        """Return the mean difference of the pixels, in gray levels."""
        return float(np.abs(self.pixels.astype(np.int16) - other.pixels).mean())


def thumbnail(path: str) -> Thumbnail | None:
    """Return a thumbnail; None for an image that cannot be decoded or is uniform.

    Args:
        path: Path of the image; JPEGs are decoded at an eighth of their size.
    """
    try:
        gray = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
        if gray is not None and min(gray.shape) < SIDE:
            gray = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE)
    except (cv2.error, OSError):
        return None
    if gray is None:
        return None
    pixels = cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return Thumbnail(np.asarray(pixels, np.uint8)) if pixels.std() >= CONTRAST else None


def equal_files(files: Iterable[tuple[str, int]]) -> list[list[int]]:
    """Return groups of files with the same content, as indices.

    Args:
        files: Path and size in bytes of each; a negative size is not compared.

    Returns:
        Groups of at least two, in order of their first file.
    """
    listed = list(files)
    by_size: dict[int, list[int]] = defaultdict(list)
    for i, (_, size) in enumerate(listed):
        if size >= 0:
            by_size[size].append(i)
    suspects = [i for group in by_size.values() if len(group) > 1 for i in group]
    with ThreadPool(WORKERS) as pool:
        digests = pool.map(_digest, [listed[i][0] for i in suspects], chunksize=64)
    equal: dict[bytes, list[int]] = defaultdict(list)
    for i, digest in zip(suspects, digests, strict=True):
        if digest:
            equal[digest].append(i)
    return sorted(group for group in equal.values() if len(group) > 1)


def _digest(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - called for many files
            return hashlib.file_digest(file, "blake2b").digest()
    except OSError:
        return b""


def unalike(first: str, second: str) -> bool:
    """Return whether two files hold clearly different pictures."""
    one, two = thumbnail(first), thumbnail(second)
    if one is None or two is None:
        return one is not two
    return one.difference(two) > ALIKE


def near_pairs(paths: Sequence[str]) -> list[tuple[int, int, float]]:
    """Return pairs of nearly equal images: their indices, lower one first, and their difference.

    Args:
        paths: Paths of the images.
    """
    with ThreadPool(WORKERS) as pool:
        thumbs = pool.map(thumbnail, paths, chunksize=64)
    found: dict[tuple[int, int], float] = {}
    for i, j in _candidates([None if t is None else t.bits for t in thumbs]):
        one, two = thumbs[i], thumbs[j]
        if one is not None and two is not None and (i, j) not in found:
            apart = one.difference(two)
            if apart <= ALIKE:
                found[i, j] = apart
    return [(i, j, apart) for (i, j), apart in sorted(found.items())]


def _candidates(hashes: Sequence[int | None]) -> Iterator[tuple[int, int]]:
    """Yield pairs of hashes that differ in at most `BITS` bits: one of four quarters is equal."""
    for quarter in range(BITS + 1):
        buckets: dict[int, list[int]] = defaultdict(list)
        for i, bits in enumerate(hashes):
            if bits is not None:
                buckets[bits >> (16 * quarter) & 0xFFFF].append(i)
        for members in buckets.values():
            for i, j in combinations(members[:BUCKET], 2):
                if ((hashes[i] or 0) ^ (hashes[j] or 0)).bit_count() <= BITS:
                    yield i, j
