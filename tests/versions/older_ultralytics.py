"""A pytest plugin: lets the seam tests run on older versions of Ultralytics. On newer ones it does nothing.

What is tested stays as it is; what is adapted is the ground the tests stand on:

- They ask for `fraction=[32, 4]` (that many train and val images). Older versions know a share of the train set only,
  so the plugin writes shorter image lists and leaves the key out.
- There the first stock run on a dataset ends with other weights than the second and all later ones (seen on 8.4.60 and
  8.4.120 without any of our code), so one run is thrown away first.
- Tests of what stock itself does, or of what it did not have yet, are skipped with the reason.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parents[1]
NOT_THERE = {  # first patch version of 8.4 on which a test says something, and why not before
    "test_stock_body_is_the_one": (
        100,
        "an older form without a branch for NPU; test_canary.py knows it",
    ),
    "test_conv2_keeps_both_its_branches": (
        121,
        "forward_fuse of Conv2 asks for its BatchNorm; no model uses Conv2",
    ),
    "test_without_the_guard": (121, "stock died in another way, or not at all"),
    "test_distillation_is_watched_and_guarded": (100, "no distill_model= yet"),
    "test_several_datasets_one_after_the_other": (100, "no data=[...] yet"),
    "test_one_monitor_follows_several_trainings_of_a_model": (
        100,
        "a second train() of one YOLO object raises KeyError",
    ),
}


def pytest_sessionstart(session: pytest.Session) -> None:
    """Replace `training.overrides` before any test module takes it; after conftest.py has isolated Ultralytics."""
    from ultralytics.cfg import check_cfg

    try:
        check_cfg({"fraction": [32, 4]})
    except TypeError:
        sys.path.insert(0, str(TESTS / "integration"))
        import training

        training.overrides = without_fraction(training.overrides)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Throw the first runs away; skip what says nothing about this version."""
    from ultralytics import __version__

    adapted = getattr(sys.modules.get("training"), "overrides", None)
    if getattr(adapted, "__name__", "") == "older" and any(
        item.get_closest_marker("trains") for item in items
    ):
        for task in ("detect", "pose"):
            run_once(task)
    patch = int(__version__.split(".")[2])
    for item in items:
        for name, (first, why) in NOT_THERE.items():
            if item.name.startswith(name) and patch < first:
                item.add_marker(pytest.mark.skip(reason=f"ultralytics {__version__}: {why}"))


def without_fraction(overrides: Any) -> Any:
    """Wrap `overrides` so that counts of images become image lists."""

    def older(task: str, folder: Path, **changed: Any) -> dict[str, Any]:
        arguments: dict[str, Any] = overrides(task, folder, **changed)
        counts = arguments.pop("fraction", None)
        if isinstance(counts, list) and isinstance(arguments["data"], str):
            arguments["data"] = shortened(Path(arguments["data"]), task, *counts)
        return arguments

    return older


def shortened(data: Path, task: str, train: int, val: int) -> str:
    """Write a dataset YAML of the first images of each split beside the given one; return its path."""
    import yaml

    short = data.with_name(f"{data.stem}-{train}-{val}.yaml")
    if short.exists():
        return str(short)
    content = yaml.safe_load(data.read_text(encoding="utf-8"))
    for split, count in {"train": train, "val": val}.items():
        images = (data.parent / content[split]).read_text(encoding="utf-8").splitlines()[:count]
        listed = data.with_name(f"{split}-{count}.txt")
        listed.write_text("\n".join(images) + "\n", encoding="utf-8")
        content[split] = listed.name
    short.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(short)


def run_once(task: str) -> None:
    """Train with stock for one epoch and forget it."""
    import tempfile

    import training
    from ultralytics import YOLO

    with tempfile.TemporaryDirectory() as folder:
        YOLO(training.MODELS[task]).train(**training.overrides(task, Path(folder), epochs=1))
