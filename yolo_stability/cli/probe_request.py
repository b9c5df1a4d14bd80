"""Parses the arguments of `probe` into a checked request."""

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
    """The checked arguments of a `probe` line.

    Attributes:
        request: The probe to run.
        out: Folder for the picture.
        json: Whether stdout is reserved for JSON.
    """

    request: ProbeRequest
    out: Path
    json: bool


def read_probe_line(args: Sequence[str]) -> ProbeLine:
    """Parse and check the arguments of `probe`.

    Args:
        args: The arguments as typed, without the verb.

    Returns:
        The request, the folder for the picture, and the JSON flag.

    Raises:
        ConfigError: If a word, key, value, model or folder cannot be used.
    """
    from yolo_stability.compat import cfg

    words, typed, as_json = read_with_json(args)
    file = typed.pop("cfg", None)
    given = typed if file is None else {**cfg.load_cfg(str(file)), **typed}
    as_json |= is_true("json", given.pop("json", False))  # from a cfg file
    task = _task(words, given.pop("task", None))
    out = Path(str(given.pop("out", OUT)))
    axes = {key: _values(key, given.pop(key)) for key in OWN_KEYS if key in given}
    given = cfg.check_keys(given, (*OWN_KEYS, "out", "json"))
    model = given.pop("model", None)
    if model is None:
        model = cfg.default_model(task).replace(".pt", ".yaml")
        print(f"model= is not given: using {model}, with random weights.", file=sys.stderr)
    data = given.pop("data", None)
    if data is None or isinstance(data, list):
        raise ConfigError(
            "data= needs one dataset, such as data=shapes (embedded, nothing to download)."
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
    """Return the task that is given as a word or as `task=`; None without one."""
    for word in words:
        if word not in KNOWN_TASKS:
            known = (*KNOWN_TASKS, "json", *OWN_KEYS)
            raise ConfigError(f"{unknown('word', word, known)} Expected a task or key=value.")
    named = list(dict.fromkeys([*words, *([] if key is None else [str(key)])]))
    if len(named) > 1:
        raise ConfigError(f"Two tasks, {' and '.join(named)}. Remove one of them.")
    if named and named[0] not in KNOWN_TASKS:
        raise ConfigError(unknown("task", named[0], KNOWN_TASKS))
    return named[0] if named else None


def _values(key: str, typed: Any) -> list[Any]:
    """Split the value of an option at commas and parse each part on its own."""
    if isinstance(typed, list | tuple):
        return list(typed)
    if not isinstance(typed, str) or "," not in typed:
        return [typed]
    pieces = [piece.strip() for piece in typed.split(",")]
    if not all(pieces):
        raise ConfigError(
            f"Invalid value {key}={typed}: a value between its commas is empty. Write {key}=A,B."
        )
    return [read_words([f"{key}={piece}"])[1][key] for piece in pieces]


def _grid(axes: Mapping[str, Sequence[Any]]) -> tuple[dict[str, Any], ...]:
    """Return every distinct combination of the values, the last key varying fastest."""
    grid: list[dict[str, Any]] = []
    for values in itertools.product(*axes.values()):
        setting = dict(zip(axes, values, strict=True))
        if setting not in grid:
            grid.append(setting)
    return tuple(grid)


def _check_folder(folder: Path) -> None:
    """Raise ConfigError for a folder that cannot be created; nothing is created yet."""
    try:
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        if there.is_dir() and os.access(there, os.W_OK):
            return
        why = f"{there} is not {'writable' if there.is_dir() else 'a folder'}"
    except (OSError, ValueError):  # the name is too long or contains NUL
        why = "the file system does not accept this name"
    raise ConfigError(f"Cannot create the folder out={folder}: {why}. Choose another one.")
