"""Import of a folder in COCO's layout through Ultralytics' converter, once, into the cache."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from yolo_stability.core.errors import DataError
from yolo_stability.data.cache import cache_root, publish
from yolo_stability.data.coco.annotations import Classes, classes_of, read_annotations
from yolo_stability.data.coco.convert import Renumbered, renumber
from yolo_stability.data.coco.import_report import ImportReport
from yolo_stability.data.coco.layout import Split, find_splits, image_listing
from yolo_stability.data.files import unfinished_jpeg

__all__ = ["import_coco"]

IMPORTER_VERSION = 2
"""Increment when the same input gives a different result; otherwise old caches stay in use."""

YAML, REPORT = "data.yaml", "import_report.json"


def import_coco(folder: Path, task: str) -> ImportReport:
    """Import a COCO folder for a task, or return the earlier import of the same content.

    The user's folder is only read: the cache contains links to its images, and copies of those that
    Ultralytics would rewrite.

    Args:
        folder: Folder with `annotations/` and images in `<split>/`, `images/<split>/` or `images/`.
        task: detect, segment or pose.

    Returns:
        What was kept and dropped, and the data YAML for Ultralytics.

    Raises:
        DataError: Annotations or images cannot be used, or the cache cannot be written.
    """
    root = Path(os.path.realpath(folder))
    splits = find_splits(root, task)
    target = cache_root() / "coco" / f"{_slug(root.name)}-{task}-{_key(root, splits, task)}"
    if not _intact(target):
        normalized, classes = _prepare(root, splits, task)

        def build(fresh: Path) -> None:
            _convert(normalized, task, fresh)
            _write(normalized, classes, fresh)
            report = ImportReport(
                source=root,
                task=task,
                data=target / YAML,
                splits=tuple(n.report for n in normalized),
            )
            (fresh / REPORT).write_text(json.dumps(report.to_json(), indent=1), encoding="utf-8")

        publish(target, build, _intact)
    content = json.loads((target / REPORT).read_text(encoding="utf-8"))
    return ImportReport.from_json(content, target / YAML)


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:40].strip(".-") or "coco"


def _key(root: Path, splits: Iterable[Split], task: str) -> str:
    """Return a 16-digit hash of annotations, image files, location, task and importer version."""
    digest = hashlib.sha256(f"{IMPORTER_VERSION} {task} {root}\n".encode(errors="surrogateescape"))
    for split in splits:
        try:
            with split.annotations.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as err:
            raise DataError(f"Cannot read {split.annotations}: {err.strerror}.") from err
        digest.update(
            f"{split.name} {split.annotations.name} {content}\n".encode(errors="surrogateescape")
        )
    for line in image_listing(root):
        digest.update(f"{line}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def _intact(target: Path) -> bool:
    """Return whether an import exists with every image it lists."""
    if not (target / REPORT).is_file() or not (target / YAML).is_file():
        return False
    lists = list(target.glob("*.txt"))
    return bool(lists) and all(
        (target / line).exists()
        for path in lists
        for line in path.read_text(encoding="utf-8").splitlines()
    )


def _prepare(root: Path, splits: tuple[Split, ...], task: str) -> tuple[list[Renumbered], Classes]:
    contents = [(split, read_annotations(split.annotations, task)) for split in splits]
    classes = classes_of([(split.annotations, content) for split, content in contents], task)
    from yolo_stability.compat.ultralytics import scanning

    with scanning():
        normalized = [renumber(split, content, classes, task, root) for split, content in contents]
    masks = any(
        isinstance(a.get("segmentation"), dict)
        for n in normalized
        for a in n.document["annotations"]
    )
    if masks and importlib.util.find_spec("faster_coco_eval") is None:
        raise DataError(
            f"{root} has RLE masks, which need faster-coco-eval to decode: "
            "pip install 'yolo-stability[coco]'."
        )
    return normalized, classes


def _convert(splits: Iterable[Renumbered], task: str, fresh: Path) -> None:
    """Let Ultralytics write `labels/<split>/*.txt`; it sees only a folder of normalized JSON."""
    from yolo_stability.compat.ultralytics import convert_coco, quiet

    with tempfile.TemporaryDirectory(prefix="json-", dir=fresh.parent) as name:
        work = Path(name)
        (work / "json").mkdir()
        for split in splits:
            path = work / "json" / f"{split.report.split}.json"
            path.write_text(json.dumps(split.document), encoding="utf-8")
            # a million annotations take a gigabyte, and the converter reads them again
            split.document.clear()
        with quiet():
            convert_coco(
                labels_dir=str(work / "json"),
                save_dir=str(work / "out"),
                use_segments=task == "segment",
                use_keypoints=task == "pose",
                cls91to80=False,
            )
        (work / "out" / "labels").rename(fresh / "labels")


def _write(splits: Iterable[Renumbered], classes: Classes, fresh: Path) -> None:
    """Write images, image lists and the data YAML."""
    import yaml

    content: dict[str, Any] = {}
    for split in splits:
        name = split.report.split
        folder = fresh / "images" / name
        folder.mkdir(parents=True)
        _place(split.files, folder)
        lines = "".join(f"./images/{name}/{link}\n" for link in split.files)
        (fresh / f"{name}.txt").write_text(lines, encoding="utf-8")
        content[name] = f"{name}.txt"
    content["names"] = dict(enumerate(classes.names))
    if classes.keypoints:
        content["kpt_shape"] = [len(classes.keypoints), 3]
        content["flip_idx"] = classes.flip()
        content["kpt_names"] = {i: list(classes.keypoints) for i in range(len(classes.names))}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    (fresh / YAML).write_text(
        f"# Imported by yolo_stability; see {REPORT}.\n{text}", encoding="utf-8"
    )


def _place(files: Mapping[str, Path], folder: Path) -> None:
    """Link each image into the cache; copy it where a link is impossible or unsafe."""
    for name, source in files.items():
        link = folder / name
        try:
            # Ultralytics would rewrite the user's file through the link
            copied = unfinished_jpeg(source)
        except OSError as err:
            raise DataError(f"Cannot read the image {source}: {err.strerror}.") from err
        if copied:
            shutil.copyfile(source, link)
            continue
        try:
            link.symlink_to(source)
        except OSError:  # a file system or an account without symbolic links
            shutil.copyfile(source, link)
