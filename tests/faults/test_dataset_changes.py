"""The dataset changes during a run, which continues, or ends with a message and resumes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from inside import Ended, Inside
from plan import BAD_LABELS, DATA_CHANGES
from process import loads

from yolo_stability.data.resolve import resolve_data

pytestmark = [pytest.mark.trains, pytest.mark.full]
KEYS: dict[str, Any] = {"fraction": "[64,2]", "epochs": 4, "incidents": 0}
# Steps per epoch; Ultralytics caches the last 32 images, so that half of them are read again.
STEPS = 16
Change = Callable[[Path], None]


def own_copy(folder: Path) -> Path:
    """Copy the embedded set, so that it can be damaged; return its folder."""
    source, data = Path(resolve_data("shapes", "detect").data).parent, folder / "data"
    shutil.copytree(source, data, ignore=shutil.ignore_patterns("*.cache"))
    for listed in [*data.glob("*.txt"), *data.glob("*.yaml")]:
        listed.write_text(listed.read_text().replace(str(source), str(data)))
    return data


def images(data: Path) -> list[Path]:
    """Return every second of the images that are trained on."""
    return sorted(p for p in (data / "images" / "train").iterdir() if p.suffix != ".npy")[:64:2]


def labels(data: Path) -> list[Path]:
    return [data / "labels" / "train" / f"{p.stem}.txt" for p in images(data)]


def each(files: Callable[[Path], list[Path]], do: Callable[[Path], object]) -> Change:
    def change(data: Path) -> None:
        for file in files(data):
            do(file)

    return change


CHANGES: dict[str, Change] = {
    "image deleted": each(images, Path.unlink),
    "image garbage": each(images, lambda p: p.write_bytes(b"no image at all" * 20)),
    "image cut short": each(
        images, lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2])
    ),
    "image of another size": each(
        images, lambda p: cv2.imwrite(str(p), np.full((31, 64, 3), 90, np.uint8))
    ),
    "image empty": each(images, lambda p: p.write_bytes(b"")),
    "label deleted": each(labels, Path.unlink),
    "label garbage": each(labels, lambda p: p.write_text("nothing of the kind\n")),
    "label cache deleted": each(lambda data: list(data.rglob("*.cache")), Path.unlink),
    "folder gone": lambda data: shutil.rmtree(data / "images"),
}
READ_ONCE = ("label deleted", "label garbage", "label cache deleted")


def changed_in_epoch(data: Path, change: Change) -> Callable[[Any], None]:
    """Return a hand that changes the dataset when the second epoch begins."""

    def hand(trainer: Any) -> None:
        if trainer.epoch == 1 and not trainer.resume:
            change(data)

    return hand


def check_end(name: str, run: Ended) -> str:
    """Check how a run with a damaged dataset ended; return that in words."""
    steps = run.trace.steps.height
    assert "Traceback" not in run.said
    assert run.code in {0, 2}, (name, run.code, run.last_line)
    if run.code == 0:
        assert steps == 4 * STEPS
        assert loads(run.last) == -1
        return "trained on to its end"
    assert "Image Not Found" in run.said or "No such file" in run.said, run.said
    assert loads(run.last) == 0  # that of the first epoch; the second was never finished
    assert STEPS <= steps < 2 * STEPS
    return f"exit 2 after {steps} steps: {run.last_line.strip()[-90:]}"


def test_as_many_changes_as_the_docs_say() -> None:
    assert tuple(CHANGES) == DATA_CHANGES


@pytest.mark.parametrize("name", CHANGES)
def test_the_dataset_changes_during_a_run(name: str, inside: Inside, tmp_path: Path) -> None:
    data = own_copy(tmp_path)
    kept = tmp_path / "kept"
    shutil.copytree(data, kept)
    hands = {"on_train_epoch_start": changed_in_epoch(data, CHANGES[name])}
    run = inside.train(hands=hands, data=data / "data.yaml", **KEYS)
    inside.tell(f"{name}: {check_end(name, run)}")
    if name in READ_ONCE:
        assert run.code == 0
    if run.code == 0:
        return
    before = run.trace.steps.height
    shutil.rmtree(data)
    shutil.copytree(kept, data)
    again = inside.resume(run)
    assert again.code == 0, again.said
    assert again.trace.steps["step"].to_list() == list(range(before + 3 * STEPS))


@pytest.mark.parametrize("value", BAD_LABELS)
def test_a_bad_number_in_a_label_file_costs_its_image_and_is_told(
    value: str, inside: Inside, tmp_path: Path
) -> None:
    """Ultralytics excludes the whole image, `data check` names the file, and the run continues."""
    data = own_copy(tmp_path)
    file = labels(data)[1]
    lines = file.read_text().splitlines()
    file.write_text("\n".join([f"0 {value} 0.5 0.1 0.1", *lines[1:]]) + "\n")
    run = inside.train(data=data / "data.yaml", **{**KEYS, "epochs": 1})
    assert run.code == 0, run.said
    assert f"{file.stem}.png: ignoring corrupt image/label" in run.said
    assert run.trace.steps.height == STEPS
    assert loads(run.last) == -1
    checked = inside(["data", "check", str(data / "data.yaml")])
    assert checked.code == 3
    assert file.name in checked.said
