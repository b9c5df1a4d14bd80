"""Every name that users meet has an example in its docstring, and every example runs."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import yolo_stability
from yolo_stability.benchmarks import executors, statistics
from yolo_stability.diagnosis import base
from yolo_stability.interventions import clips, faults, inits, norms
from yolo_stability.trainer import loggers

NO_EXAMPLE = {"__version__"}
FINDER = doctest.DocTestFinder(exclude_empty=True, recurse=True)


def modules() -> list[str]:
    """Names of all modules whose source holds an example."""
    found = []
    for info in pkgutil.walk_packages(yolo_stability.__path__, "yolo_stability."):
        spec = info.module_finder.find_spec(info.name, None)  # type: ignore[call-arg]
        if spec and spec.origin and ">>> " in Path(spec.origin).read_text(encoding="utf-8"):
            found.append(info.name)
    return found


@pytest.mark.parametrize("name", modules())
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    failed, tried = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert tried > 0
    assert failed == 0


def public(module: ModuleType) -> list[Any]:
    """Functions and classes that a module defines and exports."""
    return [
        item
        for item in (getattr(module, name) for name in module.__all__)
        if inspect.isfunction(item) and item.__module__ == module.__name__
    ]


def gradient_functions() -> list[Any]:
    """Pure functions of gradients/."""
    from yolo_stability import gradients

    return [
        item
        for info in pkgutil.iter_modules(gradients.__path__, f"{gradients.__name__}.")
        for item in public(importlib.import_module(info.name))
    ]


def base_classes() -> list[Any]:
    """What a package of someone else derives from, of each kind of extension."""
    return [
        *(clips.Clip, norms.Norm, inits.Init, faults.Fault),
        *(base.Rule, loggers.Sink, executors.Executor),
    ]


def lacking(items: list[Any]) -> list[str]:
    """Names of those without an example."""
    return [
        f"{item.__module__}.{item.__qualname__}"
        for item in items
        if ">>> " not in (inspect.getdoc(item) or "")
        and not (inspect.isclass(item) and ">>> " in (inspect.getdoc(item.__init__) or ""))
    ]


def test_every_public_name_has_an_example() -> None:
    names = [name for name in yolo_stability.__all__ if name not in NO_EXAMPLE]
    assert lacking([getattr(yolo_stability, name) for name in names]) == []


def test_every_base_class_of_an_extension_has_an_example() -> None:
    assert lacking(base_classes()) == []


def test_every_pure_function_of_gradients_and_statistics_has_an_example() -> None:
    assert lacking([*gradient_functions(), *public(statistics)]) == []


def test_every_clip_has_an_example() -> None:
    assert lacking([clips.CLIPS[name] for name in clips.CLIPS.names]) == []
