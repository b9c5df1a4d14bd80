"""Resolution of `data=`: Ultralytics' forms pass unchanged, others are imported first."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from yolo_stability.core.errors import DataError
from yolo_stability.core.suggestions import nearest
from yolo_stability.data.coco.importer import import_coco
from yolo_stability.data.coco.layout import PREFIXES, has_yaml, is_coco
from yolo_stability.data.notices import announce
from yolo_stability.data.synthetic.datasets import EMBEDDED, embedded_folder, embedded_spec

__all__ = ["ResolvedData", "resolve_data"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedData:
    """Dataset to pass to Ultralytics.

    Attributes:
        data: The user's `data=` unchanged, or the absolute path of a data YAML in the cache.
        notes: Short lines on what was imported, dropped or changed.
    """

    data: str
    notes: tuple[str, ...] = ()


def resolve_data(data: str | Path, task: str) -> ResolvedData:
    """Convert `data=` to something that Ultralytics can train on.

    An embedded name takes precedence over a folder of the same name; write `./shapes` for the
    folder. `figures` also trains detect (its boxes, class person), `shapes` also segment.

    Args:
        data: Anything Ultralytics accepts, `shapes`, `figures`, or a folder in COCO's layout.
        task: Task of the model: detect, pose, segment, ...

    Returns:
        The dataset to pass on, with notes.

    Raises:
        DataError: There is no such dataset, or it does not fit the task.
    """
    text = os.fspath(data)
    if text in EMBEDDED:
        return _embedded(text, task)
    if not text.strip():
        raise DataError(
            f"data= is empty. Pass a data YAML, a COCO folder, or {' or '.join(EMBEDDED)}."
        )
    if "://" in text or task == "classify":
        return ResolvedData(data=text)
    path = Path(os.path.expanduser(text))  # noqa: PTH111 - pathlib raises on an unknown user
    if text.startswith("~"):  # Ultralytics does not expand it
        text = str(path)
    if os.path.isdir(path):  # noqa: PTH112 - pathlib raises on an overlong name
        return _folder(path, text, task)
    if os.path.exists(path):  # noqa: PTH110
        return _file(path, text, task)
    from yolo_stability.compat.ultralytics import finds_dataset

    if finds_dataset(text):
        return ResolvedData(data=text, notes=announce(text, task))
    raise _missing(path, text)


def _embedded(name: str, task: str) -> ResolvedData:
    spec = embedded_spec(name)
    if task not in spec.tasks:
        fits = next((n for n in EMBEDDED if task in embedded_spec(n).tasks), None)
        hint = f"use data={fits}" if fits else f"pass a dataset made for {task}"
        raise DataError(
            f"The embedded set {name} trains {' and '.join(spec.tasks)}, not {task}; {hint}."
        )
    folder, notice = embedded_folder(name)
    report = import_coco(folder, task)
    images = {split.split: split.images_kept for split in report.splits}
    note = (
        f"{name}: {images['train']} training and {images['val']} validation images of "
        f"{spec.size} px, drawn from seed {spec.seed}"
    )
    return ResolvedData(data=str(report.data), notes=(note, *([notice] if notice else [])))


def _folder(path: Path, text: str, task: str) -> ResolvedData:
    """Resolve a folder: with a data YAML it is passed on, else it must have COCO's layout."""
    if has_yaml(path):
        return ResolvedData(data=text, notes=announce(text, task))
    if is_coco(path):
        report = import_coco(path, task)
        return ResolvedData(data=str(report.data), notes=report.lines())
    if any(name.endswith((".yaml", ".yml")) for _, _, names in os.walk(path) for name in names):
        return ResolvedData(data=text, notes=announce(text, task))
    wanted = f"annotations/{PREFIXES.get(task, 'instances_')}train*.json"
    there = ", ".join(sorted(p.name for p in path.iterdir())[:5]) or "nothing"
    raise DataError(
        f"The folder {text} has neither a data YAML nor {wanted} (it contains {there})."
        " Pass a data YAML, or a folder in COCO's layout."
    )


def _file(path: Path, text: str, task: str) -> ResolvedData:
    """Resolve a file: Ultralytics accepts YAML, NDJSON and archives, but no COCO JSON alone."""
    if path.suffix.lower() == ".json":
        raise DataError(
            f"{text} is a JSON file; pass the folder with annotations/ and the images, such as"
            f" data={path.resolve().parent.parent}."
        )
    if path.suffix.lower() in {".yaml", ".yml"}:
        return ResolvedData(data=text, notes=announce(text, task))
    return ResolvedData(data=text)


def _missing(path: Path, text: str) -> DataError:
    """Return the error for a path or name that does not exist."""
    from yolo_stability.compat.ultralytics import dataset_names

    shipped = dataset_names()
    choices = [*EMBEDDED, *shipped, *(name.removesuffix(".yaml") for name in shipped)]
    parent = path.parent
    siblings = sorted(p.name for p in parent.iterdir()) if parent.is_dir() else []
    hint = (
        nearest(path.name, [*siblings, *choices])
        if parent == Path()
        else nearest(path.name, siblings)
    )
    where = f"in {parent.resolve()}" if parent.is_dir() else f"since {parent} does not exist"
    return DataError(
        f"There is no dataset {text!r}: no file or folder of this name {where}, and Ultralytics "
        f"ships none.{hint} Pass a data YAML, a folder in COCO's layout, or an embedded set "
        f"({', '.join(EMBEDDED)})."
    )
