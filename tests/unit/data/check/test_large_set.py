"""A set of 10,000 images: every image is read, and memory grows by little per image."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from data_set_builders import Builder, boxes_of, picture

from yolo_stability.data.check.check import check_data

IMAGES = 10_000
BYTES = 8192
"""Largest growth of peak memory per image."""


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.full
def test_ten_thousand_images(tmp_path: Path) -> None:
    check_data(Builder(tmp_path / "small").build().write())  # imports torch and Ultralytics
    builder = Builder(tmp_path / "set")
    for i in range(IMAGES):
        split = "val" if i % 10 == 0 else "train"
        rows = [(j % 2, *box) for j, box in enumerate(boxes_of(i))]
        builder.add(split, f"{i:06}", picture(i), rows, ".jpg")
    before = peak()
    report = check_data(builder.write())
    assert sum(split.images_kept for split in report.splits) == IMAGES
    assert not report.damaged
    assert peak() - before < BYTES * IMAGES
