"""From what the user typed to what `api.train` takes: task, our settings, and the rest for Ultralytics.

Reading `key=value` pairs is left to Ultralytics' own parser, so both programs read a line alike.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from yolo_stability.config import OWN_FLAGS, OWN_KEYS, StabilitySettings, make_settings
from yolo_stability.core.command_line import bare
from yolo_stability.core.errors import ConfigError, nearest

__all__ = [
    "KNOWN_TASKS",
    "TrainRequest",
    "is_true",
    "read",
    "read_with_json",
    "train_request",
    "wants_help",
]

KNOWN_TASKS = ("detect", "segment", "semantic", "depth", "classify", "pose", "obb")
HELP_WORDS = frozenset({"-h", "--help", "-help", "help", "--h"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """What a `train` line asks for, checked.

    Attributes:
        task: The task, when the user named one.
        model: Value of `model=`, or the default of the task.
        data: Value of `data=`; None only when a run is resumed.
        settings: Our own settings.
        overrides: Ultralytics' keys, as its own check normalises them.
        json: Whether stdout is for JSON only.
        notes: What the user should know before the run starts, a sentence each.
    """

    task: str | None
    model: str
    data: str | list[str] | None
    settings: StabilitySettings
    overrides: dict[str, Any]
    json: bool
    notes: tuple[str, ...]


def wants_help(args: Sequence[str]) -> bool:
    """Tell whether one of the arguments asks for help."""
    return any(args[i] in HELP_WORDS for i, _ in bare(args))


def read(args: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Read arguments in yolo grammar; return the bare words and the values by key."""
    from yolo_stability.compat import cfg as yolo

    return yolo.read(args)


def read_with_json(args: Sequence[str]) -> tuple[list[str], dict[str, Any], bool]:
    """Read arguments in yolo grammar, and take out whether stdout is for JSON only.

    Args:
        args: What the user typed, without the verb.

    Returns:
        The bare words, the values by key, and whether `--json`, `json` or `json=True` was among them.

    Raises:
        ConfigError: If `json=` is neither True nor False.
    """
    words, pairs = read(args)
    asked = is_true("json", pairs.pop("json", False))
    return [word for word in words if word != "json"], pairs, asked or "json" in words


def train_request(args: Sequence[str]) -> TrainRequest:
    """Read and check the arguments of `train`.

    Args:
        args: What the user typed, without the verb.

    Returns:
        The request, ready for `api.train`.

    Raises:
        ConfigError: If a word, key, value or model cannot be used.
    """
    from yolo_stability.compat import cfg as yolo

    words, typed = yolo.read(args)
    tasks = [word for word in words if word in yolo.TASKS]
    for word in words:
        if word not in yolo.TASKS:
            typed[_flag(word)] = True
    given = _with_cfg_file(typed)
    as_json = is_true("json", given.pop("json", False))
    given = yolo.check_keys(given, OWN_KEYS)
    settings = make_settings(**{key: given.pop(key) for key in OWN_KEYS if key in given})
    task = _task(tasks, given.pop("task", None))
    if given.pop("mode", "train") != "train":
        raise ConfigError("mode= contradicts the verb 'train'; leave it out.")
    overrides = yolo.check_values(given)
    model, notes = _model(overrides, task)
    data = overrides.pop("data", None)
    if data is None and not overrides.get("resume"):
        raise ConfigError(
            "data= is missing; try data=shapes (embedded, nothing to download), a folder in COCO's layout, "
            "or a dataset YAML."
        )
    return TrainRequest(
        task=task,
        model=model,
        data=data if data is None or isinstance(data, list) else str(data),
        settings=settings,
        overrides=overrides,
        json=as_json,
        notes=tuple(notes),
    )


def _flag(word: str) -> str:
    """Return the key that a bare word switches on, or say what is wrong with it."""
    from yolo_stability.compat import cfg as yolo

    if word in OWN_FLAGS:
        return word
    if word in yolo.MODES:
        hint = f"; for the key write {word}=True" if yolo.is_flag(word) else ""
        raise ConfigError(f"'{word}' is another verb beside 'train'; give one{hint}.")
    if yolo.is_flag(word):
        return word
    if word in OWN_KEYS:
        raise ConfigError(f"'{word}' needs a value: {word}= takes {OWN_KEYS[word].valid}.")
    if word in yolo.DEFAULT_CFG_DICT:
        default = yolo.DEFAULT_CFG_DICT[word]
        raise ConfigError(
            f"'{word}' needs a value, such as {word}={'...' if default is None else default}."
        )
    if os.path.exists(word):  # noqa: PTH110 - Path.exists raises on odd text
        key = "model" if word.endswith(".pt") else "data"
        raise ConfigError(f"'{word}' is a path without a key; write {key}={word}.")
    hint = nearest(word, [*yolo.TASKS, *yolo.DEFAULT_CFG_DICT, *OWN_KEYS, *OWN_FLAGS])
    raise ConfigError(f"Unknown word '{word}'.{hint} A task or key=value was expected.")


def _with_cfg_file(typed: dict[str, Any]) -> dict[str, Any]:
    """Put the content of `cfg=FILE` under what the user typed, as `yolo` does."""
    from yolo_stability.compat import cfg as yolo

    file = typed.pop("cfg", None)
    return dict(typed) if file is None else {**yolo.load_cfg(str(file)), **typed}


def is_true(key: str, value: Any) -> bool:
    """Return the value of one of our own flags, or say that it is neither True nor False."""
    if not isinstance(value, bool):
        raise ConfigError(f"'{key}={value}' is not possible: {key} is True or False.")
    return value


def _task(words: Sequence[str], key: Any) -> str | None:
    """Return the one task the user named, as a word or as `task=`."""
    from yolo_stability.compat import cfg as yolo

    named = dict.fromkeys([*words, *([] if key is None else [str(key)])])
    for task in named:
        if task not in yolo.TASKS:
            raise ConfigError(
                f"Unknown task '{task}'.{nearest(task, yolo.TASKS)} Tasks are {', '.join(yolo.TASKS)}."
            )
    if len(named) > 1:
        raise ConfigError(f"Two tasks, {' and '.join(named)}; give one.")
    return next(iter(named), None)


def _model(overrides: dict[str, Any], task: str | None) -> tuple[str, list[str]]:
    """Take the model out of the overrides, or the one that `yolo` would take, and a note about it."""
    from yolo_stability.compat import cfg as yolo

    model = overrides.pop("model", None)
    resume = overrides.get("resume")
    notes = []
    if model is None and isinstance(resume, str):  # resume=path/to/last.pt names the model as well
        model, overrides["resume"] = resume, True
    if model is None:
        model = yolo.default_model(task)
        notes.append(f"model= is not given: taking {model}, as yolo does.")
    yolo.check_model(str(model))
    if task is not None:
        yolo.check_task(str(model), task)
    return str(model), notes
