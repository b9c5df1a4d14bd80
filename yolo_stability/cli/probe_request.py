"""From what the user typed after `probe` to a checked request, and where its picture goes."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolo_stability.cli.parser import KNOWN_TASKS, is_true, read_with_json, read_words
from yolo_stability.config import OWN_KEYS
from yolo_stability.core.errors import ConfigError
from yolo_stability.core.suggestions import unknown

if TYPE_CHECKING:
    from yolo_stability.studies.probe.request import ProbeRequest

__all__ = ["ProbeLine", "read_probe_line"]

OUT = "runs/probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeLine:
    """What a `probe` line asks for, checked.

    Attributes:
        request: What to probe.
        out: Folder of the picture.
        json: Whether stdout is for JSON only.
    """

    request: ProbeRequest
    out: Path
    json: bool


def read_probe_line(args: Sequence[str]) -> ProbeLine:
    """Read and check the line.

    Args:
        args: What the user typed, without the verb.

    Returns:
        What it asks for.

    Raises:
        ConfigError: If a word, key, value, model or folder cannot be used.
    """
    from yolo_stability.compat import cfg

    words, typed, as_json = read_with_json(args)
    file = typed.pop("cfg", None)
    given = typed if file is None else {**cfg.load_cfg(str(file)), **typed}
    as_json |= is_true("json", given.pop("json", False))  # of a cfg file
    task = _task(words, given.pop("task", None))
    out = Path(str(given.pop("out", OUT)))
    axes = {key: _values(key, given.pop(key)) for key in OWN_KEYS if key in given}
    given = cfg.check_keys(given, (*OWN_KEYS, "out", "json"))
    model = given.pop("model", None)
    if model is None:
        model = cfg.default_model(task).replace(".pt", ".yaml")
        print(f"model= is not given: taking {model}, with new weights.", file=sys.stderr)
    data = given.pop("data", None)
    if data is None or isinstance(data, list):
        raise ConfigError(
            "data= takes one dataset, such as data=shapes (embedded, nothing to download)."
        )
    grid, overrides = _grid(axes), cfg.check_values(given)
    _check_folder(out)
    from yolo_stability.studies.probe.request import checked_probe_request, grid_monitors  # torch

    request = checked_probe_request(
        model=str(model),
        data=str(data),
        task=task,
        monitors=grid_monitors(grid),
        overrides=overrides,
    )
    return ProbeLine(request=request, out=out, json=as_json)


def _task(words: Sequence[str], key: Any) -> str | None:
    """Return the one task that was named, as a word or as `task=`."""
    for word in words:
        if word not in KNOWN_TASKS:
            known = (*KNOWN_TASKS, "json", *OWN_KEYS)
            raise ConfigError(f"{unknown('word', word, known)} A task or key=value was expected.")
    named = list(dict.fromkeys([*words, *([] if key is None else [str(key)])]))
    if len(named) > 1:
        raise ConfigError(f"Two tasks, {' and '.join(named)}; give one.")
    if named and named[0] not in KNOWN_TASKS:
        raise ConfigError(unknown("task", named[0], KNOWN_TASKS))
    return named[0] if named else None


def _values(key: str, typed: Any) -> list[Any]:
    """Split the values of one of our keys at commas, each read as if it stood alone."""
    if isinstance(typed, list | tuple):
        return list(typed)
    if not isinstance(typed, str) or "," not in typed:
        return [typed]
    pieces = [piece.strip() for piece in typed.split(",")]
    if not all(pieces):
        raise ConfigError(
            f"'{key}={typed}' has an empty place between its commas; write {key}=A,B."
        )
    return [read_words([f"{key}={piece}"])[1][key] for piece in pieces]


def _grid(axes: Mapping[str, Sequence[Any]]) -> tuple[dict[str, Any], ...]:
    """Return every combination of the values, the last key changing fastest, each once."""
    grid: list[dict[str, Any]] = []
    for values in itertools.product(*axes.values()):
        setting = dict(zip(axes, values, strict=True))
        if setting not in grid:
            grid.append(setting)
    return tuple(grid)


def _check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be made, before anything takes time; none is made yet, for the probe may fail."""
    try:
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        if there.is_dir() and os.access(there, os.W_OK):
            return
        why = f"{there} is {'not writable' if there.is_dir() else 'no folder'}"
    except (OSError, ValueError):  # an overlong name, a NUL
        why = "no file can have this name"
    raise ConfigError(f"out={folder} cannot be made a folder: {why}. Name another one.")
