"""Dataset check: finds what Ultralytics would lose, change, or train and measure wrongly.

The verdict on each image is Ultralytics' own, taken on a copy where it would rewrite the file. This
package adds the reason, the location, and what the scan does not cover: the files of `checks/`, and
files that a training would write. Nothing is changed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolo_stability.core.errors import DataError
from yolo_stability.data.check.class_folders import has_class_folders, scan_class_folders
from yolo_stability.data.check.labels import Layout
from yolo_stability.data.check.page import write_page
from yolo_stability.data.check.report import AuditReport
from yolo_stability.data.check.scan import scan_labels
from yolo_stability.data.coco.importer import import_coco
from yolo_stability.data.coco.layout import has_yaml, is_coco
from yolo_stability.data.files import LABEL_TASKS, plain_config
from yolo_stability.data.resolve import resolve_data
from yolo_stability.data.synthetic.datasets import EMBEDDED, embedded_spec

__all__ = ["IMGSZ", "check_data"]

IMGSZ = 640
"""Default image size of a training, as in Ultralytics."""


def check_data(
    data: str | Path, task: str | None = None, imgsz: int = IMGSZ, out: str | Path | None = None
) -> AuditReport:
    """Check a dataset as Ultralytics would scan it before a training.

    Nothing is written except to the cache of this package, when a COCO folder is imported, and the
    page.

    Args:
        data: A data YAML, a folder with one, a COCO folder, a folder of class folders, an embedded
            set, or a name shipped with Ultralytics.
        task: detect, segment, pose, obb or classify; None for the task that the data is made for.
        imgsz: Image size of the training in pixels.
        out: HTML file for a page with pictures of the findings; None for no page.

    Returns:
        What would be lost, changed, written, and trained or measured wrongly.

    Raises:
        DataError: There is no such dataset, it cannot be read, or the page cannot be written.
    """
    text = os.fspath(data)
    if task not in (None, *LABEL_TASKS, "classify"):
        tasks = ", ".join((*LABEL_TASKS, "classify"))
        raise DataError(f"The check reads datasets for {tasks}, not {task}.")
    if "://" in text or Path(text).suffix.lower() in {".zip", ".tar", ".gz", ".tgz", ".ndjson"}:
        raise DataError(
            f"{text} is not unpacked by this check; download and unpack it, then check its data "
            "YAML."
        )
    report = _checked(text, task, imgsz)
    if out is None:
        return report
    return replace(report, page=str(write_page(report, Path(out))))


def _checked(text: str, task: str | None, imgsz: int) -> AuditReport:
    """Read a dataset in its layout and check it."""
    source = Path(os.path.expanduser(text))  # noqa: PTH111 - pathlib raises on an unknown user
    folder = text not in EMBEDDED and os.path.isdir(source)  # noqa: PTH112 - or an overlong name
    plain = folder and not has_yaml(source)
    by_class = task == "classify" or (plain and task is None and not is_coco(source))
    if folder and by_class and has_class_folders(source):
        return scan_class_folders(source, text, imgsz)
    if task == "classify":
        if text in EMBEDDED:
            resolve_data(text, task)  # raises: none of them trains it
        raise DataError(
            f"{text} is no classification set: pass a folder with train/ and val/, each with a "
            "folder of images per class."
        )
    imported = None
    if plain and is_coco(source):
        task = task or _coco_task(source)
        imported = import_coco(source, task)
        config = plain_config(str(imported.data))
    else:
        task = task or (embedded_spec(text).tasks[0] if text in EMBEDDED else None)
        config = plain_config(resolve_data(text, task or "detect").data)
    layout, task = _layout(config, task, text)
    return replace(scan_labels(config, layout, text, task, imgsz), imported=imported)


def _coco_task(folder: Path) -> str:
    return (
        "detect" if any(True for _ in (folder / "annotations").glob("instances_*.json")) else "pose"
    )


def _layout(config: Mapping[str, Any], task: str | None, text: str) -> tuple[Layout, str]:
    """Return the expected layout of label rows, and the task."""
    shape = config.get("kpt_shape")
    task = task or ("pose" if shape else "detect")
    if shape is None:
        shape = (0, 0)
    good = len(shape) == 2 and all(
        isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 1e4 for v in shape
    )
    if not good or (task == "pose" and (shape[0] == 0 or shape[1] not in {2, 3})):
        found = f"kpt_shape: {list(shape)}" if any(shape) else "no kpt_shape"
        raise DataError(
            f"{text} has {found}, but pose needs 'kpt_shape: [number of keypoints, 2 or 3]'."
        )
    classes = len(config["names"])
    return Layout(
        classes=classes, keypoints=shape[0], dimensions=shape[1], pose=task == "pose"
    ), task
