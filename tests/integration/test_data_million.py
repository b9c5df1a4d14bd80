"""A million annotations: the time and memory that an import takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

ANNOTATIONS, IMAGES = 1_000_000, 5_000
SECONDS, MEGABYTES = 400, 1_200
"""Bounds far above the measured 26 s of CPU and 691 MB beyond torch, 2 busy cores, Python 3.11."""

MEASURE = """
import sys, time
import yolo_stability.compat.ultralytics
from yolo_stability.data import import_coco

def peak():  # of this program alone: getrusage would give that of the parent, where it is larger
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) // 1024

before, start = peak(), time.process_time()
report = import_coco(sys.argv[1], "detect")
print(report.splits[0].annotations_kept, round(time.process_time() - start), peak() - before)
"""


def write(root: Path) -> None:
    """Write the set by hand: building it as objects would take longer than importing it."""
    (root / "annotations").mkdir(parents=True)
    data = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    names = [{"id": i, "name": f"class {i}"} for i in range(1, 81)]
    for split, images, count in (("train2017", IMAGES, ANNOTATIONS), ("val2017", 1, 1)):
        (root / split).mkdir()
        for i in range(images):
            (root / split / f"{i:06d}.jpg").write_bytes(data)
        listed = [
            {"id": i, "file_name": f"{i:06d}.jpg", "width": 64, "height": 48} for i in range(images)
        ]
        with (root / "annotations" / f"instances_{split}.json").open("w") as file:
            file.write(
                f'{{"images": {json.dumps(listed)}, "categories": {json.dumps(names)}, '
                '"annotations": ['
            )
            for i in range(count):
                box = f"[{i % 31}, {i % 23}, {1 + i % 29}.{i % 97}, {1 + i % 19}.5]"
                outline = "[[1.5, 2.5, 9.5, 2.5, 9.5, 8.5, 1.5, 8.5]]"
                file.write(
                    f'{", " if i else ""}{{"id": {i}, "image_id": {i % images}, '
                    f'"category_id": {1 + i % 80},'
                    f' "bbox": {box}, "area": 9.5, "iscrowd": 0, "segmentation": {outline}}}'
                )
            file.write("]}")


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_a_million_annotations_are_imported_in_minutes_and_about_a_gigabyte(tmp_path: Path) -> None:
    write(tmp_path / "set")
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "set")],
        env=os.environ | {"YOLO_STABILITY_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    kept, seconds, megabytes = map(int, run.stdout.split()[-3:])
    print(f"{kept} annotations: {seconds} s of CPU, {megabytes} MB beyond torch's own")
    assert kept == ANNOTATIONS
    assert seconds < SECONDS
    assert megabytes < MEGABYTES
