"""Parses command lines: any command by its grammar, and the arguments of `train`.

`key=value` pairs are parsed by Ultralytics, so that both programs read them alike.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from yolo_stability.cli.grammar import Grammar, Line
from yolo_stability.cli.output import descriptor_to_stderr
from yolo_stability.config import OWN_FLAGS, OWN_KEYS, StabilitySettings, make_settings
from yolo_stability.core.command_line import bare
from yolo_stability.core.errors import ConfigError
from yolo_stability.core.suggestions import did_you_mean, nearest, unknown
from yolo_stability.core.text import listing

__all__ = [
    "KNOWN_TASKS",
    "TrainRequest",
    "arrange",
    "is_true",
    "parse",
    "read_with_json",
    "read_words",
    "train_request",
    "wants_help",
]

KNOWN_TASKS = ("detect", "segment", "semantic", "depth", "classify", "pose", "obb")
HELP_WORDS = frozenset({"-h", "--help", "-help", "help", "--h"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """The checked arguments of a `train` line.

    Attributes:
        task: The task, if given.
        model: Value of `model=`, or the default of the task.
        data: Value of `data=`; None only if a run is resumed.
        settings: The yolo_stability options.
        overrides: Ultralytics keys, as its own check normalizes them.
        json: Whether stdout is reserved for JSON.
        notes: Sentences to print before the run starts.
    """

    task: str | None
    model: str
    data: str | list[str] | None
    settings: StabilitySettings
    overrides: dict[str, Any]
    json: bool
    notes: tuple[str, ...]


def wants_help(args: Sequence[str]) -> bool:
    """Return whether one of the arguments requests help."""
    return any(args[i] in HELP_WORDS for i, _ in bare(args))


def read_words(args: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Parse arguments in yolo grammar; return the bare words and the values by key."""
    # without a settings file, Ultralytics prints to stdout that it creates one
    with descriptor_to_stderr():
        from yolo_stability.compat import cfg

    return cfg.read(args)


def read_with_json(args: Sequence[str]) -> tuple[list[str], dict[str, Any], bool]:
    """Parse arguments in yolo grammar and separate the JSON flag.

    Args:
        args: The arguments as typed, without the verb.

    Returns:
        The bare words, the values by key, and whether `--json`, `json` or `json=True` was given.

    Raises:
        ConfigError: If `json=` is neither True nor False.
    """
    words, pairs = read_words(args)
    asked = is_true("json", pairs.pop("json", False))
    return [word for word in words if word != "json"], pairs, asked or "json" in words


def parse(grammar: Grammar, args: Sequence[str]) -> Line:
    """Parse the line of a command and check it against its grammar.

    Args:
        grammar: Grammar of the command.
        args: The arguments as typed, without the verb.

    Returns:
        The line; only with `args` if the command parses the line itself.

    Raises:
        ConfigError: If a word, key or value does not fit.
    """
    if grammar.free:
        return Line(args=args)
    words, pairs, as_json = (_read_light if grammar.light else read_with_json)(args)
    return arrange(grammar, Line(words=words, keys=pairs, json=as_json, args=args))


def arrange(grammar: Grammar, line: Line) -> Line:
    """Check a parsed line and assign its words and values to keywords of the API.

    Args:
        grammar: Grammar of the command.
        line: Words and values by key, as typed.

    Returns:
        Words, and values by keyword.

    Raises:
        ConfigError: If a word, key or value does not fit.
    """
    _check_words(grammar, line.words)
    _check_keys(grammar, line.keys)
    words, keys, tasks = _sort(grammar, line)
    keys = _check_values(grammar, keys)
    if grammar.one and (len(words) != 1 or len(set(tasks)) > 1):
        raise ConfigError(grammar.one)
    return replace(line, words=words, keys={**keys, **({"task": tasks[0]} if tasks else {})})


def _read_light(args: Sequence[str]) -> tuple[list[str], dict[str, Any], bool]:
    """Parse arguments like `read_with_json`; import Ultralytics only if some are not bare words."""
    typed = [word for _, word in bare(args)]
    as_json = "json" in typed
    words = [word for word in typed if word != "json"]
    return (words, {}, as_json) if len(words) + as_json == len(args) else read_with_json(args)


def _check_words(grammar: Grammar, words: Sequence[str]) -> None:
    """Raise ConfigError for a word that is not valid."""
    for word in words if grammar.words else ():
        if word not in grammar.words:
            hint = nearest(word, grammar.words)
            raise ConfigError(grammar.unknown_word.format(word=word, hint=hint))


def _check_keys(grammar: Grammar, pairs: Mapping[str, Any]) -> None:
    """Raise ConfigError for a key that the command does not have."""
    known = [key.name for key in grammar.keys]
    for key in pairs if grammar.unknown_key else ():
        if key not in known:
            hint = nearest(key, grammar.hints or known)
            raise ConfigError(grammar.unknown_key.format(key=key, hint=hint))


def _sort(grammar: Grammar, line: Line) -> tuple[list[str], dict[str, Any], list[str]]:
    """Return the words other than tasks, the values incl. the first word, and the tasks."""
    keys = dict(line.keys)
    tasks = [word for word in line.words if word in grammar.tasks]
    if grammar.tasks and "task" in keys:
        tasks.append(str(keys.pop("task")))
    names = [word for word in line.words if word not in grammar.tasks]
    if not grammar.first:
        return names, keys, tasks
    if names and grammar.first not in keys:
        keys[grammar.first] = names.pop(0)
    if grammar.other_task and names and names[-1] in KNOWN_TASKS:
        raise ConfigError(grammar.other_task.format(word=names[-1]))
    if names or len(set(tasks)) > 1:
        raise ConfigError(grammar.surplus.format(word=(names or tasks)[-1]))
    if grammar.first not in keys:
        near = {key: nearest(key, [grammar.first]) for key in keys}
        hints = "".join(f" Unknown key '{key}'.{hint}" for key, hint in near.items() if hint)
        raise ConfigError(f"{grammar.missing}{hints}")
    return names, keys, tasks


def _check_values(grammar: Grammar, typed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given values and the defaults by keyword; raise ConfigError for an invalid one."""
    keys = dict(typed)
    for key in grammar.keys:
        if key.keyword and key.keyword in keys:
            raise ConfigError(f"Unknown key '{key.keyword}'. {did_you_mean(key.name)}")
        if key.name not in keys:
            if key.default is not None:
                keys[key.keyword or key.name] = key.default
            continue
        value = keys.pop(key.name) if key.keyword else keys[key.name]
        if key.is_valid is not None and not key.is_valid(value):
            raise ConfigError(f"Invalid value {key.name}={value}: expected {key.valid}.")
        keys[key.keyword or key.name] = value if key.read is None else key.read(value)
        if key.read is not None and keys[key.keyword or key.name] is None:
            del keys[key.keyword or key.name]
    return keys


def train_request(args: Sequence[str]) -> TrainRequest:
    """Parse and check the arguments of `train`.

    Args:
        args: The arguments as typed, without the verb.

    Returns:
        The request, ready for `api.train`.

    Raises:
        ConfigError: If a word, key, value or model cannot be used.
    """
    words, typed = read_words(args)
    from yolo_stability.compat import cfg

    tasks = [word for word in words if word in cfg.TASKS]
    for word in words:
        if word not in cfg.TASKS:
            typed[_flag(word)] = True
    given = _with_cfg_file(typed)
    as_json = is_true("json", given.pop("json", False))
    given = cfg.check_keys(given, OWN_KEYS)
    settings = make_settings(**{key: given.pop(key) for key in OWN_KEYS if key in given})
    task = _task(tasks, given.pop("task", None))
    if given.pop("mode", "train") != "train":
        raise ConfigError("mode= contradicts the verb 'train'. Remove mode=.")
    overrides = cfg.check_values(given)
    model, notes = _model(overrides, task)
    data = overrides.pop("data", None)
    if data is None and not overrides.get("resume"):
        raise ConfigError(
            "data= is missing. Try data=shapes (embedded, nothing to download), a folder in COCO "
            "layout, or a dataset YAML."
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
    """Return the flag that a bare word sets; raise ConfigError if it is not a flag."""
    from yolo_stability.compat import cfg

    if word in OWN_FLAGS:
        return word
    if word in cfg.MODES:
        hint = f" For the key, write {word}=True." if cfg.is_flag(word) else ""
        raise ConfigError(f"Two verbs, 'train' and '{word}'. Remove one of them.{hint}")
    if cfg.is_flag(word):
        return word
    if word in OWN_KEYS:
        raise ConfigError(f"'{word}' needs a value: {word}= takes {OWN_KEYS[word].valid}.")
    if word in cfg.DEFAULT_CFG_DICT:
        default = cfg.DEFAULT_CFG_DICT[word]
        raise ConfigError(
            f"'{word}' needs a value, such as {word}={'...' if default is None else default}."
        )
    if os.path.exists(word):  # noqa: PTH110 - Path.exists raises on odd text
        key = "model" if word.endswith(".pt") else "data"
        raise ConfigError(f"'{word}' is a path without a key. Write {key}={word}.")
    known = [*cfg.TASKS, *cfg.DEFAULT_CFG_DICT, *OWN_KEYS, *OWN_FLAGS]
    raise ConfigError(f"{unknown('word', word, known)} Expected a task or key=value.")


def _with_cfg_file(typed: dict[str, Any]) -> dict[str, Any]:
    """Merge the typed values over the content of `cfg=FILE`, as `yolo` does."""
    from yolo_stability.compat import cfg

    file = typed.pop("cfg", None)
    return dict(typed) if file is None else {**cfg.load_cfg(str(file)), **typed}


def is_true(key: str, value: Any) -> bool:
    """Return the value of a flag; raise ConfigError unless it is a bool."""
    if not isinstance(value, bool):
        raise ConfigError(f"Invalid value {key}={value}: expected True or False.")
    return value


def _task(words: Sequence[str], key: Any) -> str | None:
    """Return the task that is given as a word or as `task=`; None without one."""
    from yolo_stability.compat import cfg

    named = dict.fromkeys([*words, *([] if key is None else [str(key)])])
    for task in named:
        if task not in cfg.TASKS:
            raise ConfigError(
                f"{unknown('task', task, cfg.TASKS)} Expected {listing(cfg.TASKS, 'or')}."
            )
    if len(named) > 1:
        raise ConfigError(f"Two tasks, {' and '.join(named)}. Remove one of them.")
    return next(iter(named), None)


def _model(overrides: dict[str, Any], task: str | None) -> tuple[str, list[str]]:
    """Remove the model from the overrides and return it, or the default of `yolo`, with notes."""
    from yolo_stability.compat import cfg

    model = overrides.pop("model", None)
    resume = overrides.get("resume")
    notes = []
    if model is None and isinstance(resume, str):  # resume=path/to/last.pt names the model as well
        model, overrides["resume"] = resume, True
    if model is None:
        model = cfg.default_model(task)
        notes.append(f"model= is not given: using {model}, like yolo.")
    cfg.check_model(str(model))
    if task is not None:
        cfg.check_task(str(model), task)
    return str(model), notes
