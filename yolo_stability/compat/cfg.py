"""Ultralytics' command-line grammar and configuration checks, with readable errors.

The grammar is theirs (`merge_equals_args`, `parse_key_value_pair`), so a line that works after
`yolo` works here; only the reports of mistakes differ: one sentence instead of a help page.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ultralytics.cfg import (
    CFG_FLOAT_KEYS,
    CFG_FRACTION_KEYS,
    CFG_INT_KEYS,
    DEFAULT_CFG_DICT,
    MODES,
    TASK2MODEL,
    TASKS,
    check_dict_alignment,
    get_cfg,
    merge_equals_args,
    parse_key_value_pair,
    smart_value,
)
from ultralytics.utils import LOGGER, ROOT, SETTINGS, YAML
from ultralytics.utils.checks import check_yaml, check_yolov5u_filename
from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES

from yolo_stability.compat.late_values import check_late
from yolo_stability.core.errors import ConfigError
from yolo_stability.core.suggestions import nearest, unknown

__all__ = [
    "DEFAULT_CFG_DICT",
    "MODES",
    "TASKS",
    "check_keys",
    "check_model",
    "check_task",
    "check_values",
    "default_model",
    "is_flag",
    "load_cfg",
    "read",
]

BARE_FLAGS = frozenset({"half", "int8", "end2end", "nms"})
SCALE = re.compile(r"(\d+)([nslmx])(.+)?$")
NO_TRAINING = re.compile(r"sam2?(\.1)?_|mobile_sam|fastsam|yolo_nas", re.IGNORECASE)
UNTRAINABLE = frozenset({".onnx", ".engine", ".torchscript", ".tflite", ".pb", ".mlpackage"})


def read(args: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Read arguments as `yolo` does, in any order.

    Spaces around '=', leading dashes, trailing commas and brackets are accepted.

    Args:
        args: Arguments after the verb.

    Returns:
        The positional words in order, and the values by key; the last value of a repeated key
        counts.

    Raises:
        ConfigError: An argument cannot be read.
    """
    words: list[str] = []
    pairs: dict[str, Any] = {}
    for arg in _merge(args):
        text = arg.removeprefix("--").removesuffix(",")
        if "=" in text:
            key, value = _pair(text)
            pairs[key] = value
        elif text:
            words.append(text)
    return words, pairs


def _merge(args: Sequence[str]) -> list[str]:
    """Join what the shell split at '=' and inside brackets."""
    try:
        return list(merge_equals_args(list(args)))
    except SyntaxError as error:
        raise ConfigError(_one_line(error)) from None
    except IndexError:
        raise ConfigError("An '=' has no key before it; write key=value.") from None


def _pair(text: str) -> tuple[str, Any]:
    """Read one `key=value`."""
    key, value = (part.strip() for part in text.split("=", 1))
    if not key:
        raise ConfigError(f"'{text}' has no key before the '='; write key=value.")
    if not value:
        raise ConfigError(f"'{key}=' has no value; write {key}=VALUE.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # literal_eval warns about odd text such as '1is'
        parsed: tuple[str, Any] = parse_key_value_pair(text)
    return parsed


def is_flag(word: str) -> bool:
    """Return whether a positional word switches on a boolean key of Ultralytics."""
    return word in BARE_FLAGS or isinstance(DEFAULT_CFG_DICT.get(word), bool)


def load_cfg(file: str) -> dict[str, Any]:
    """Read the YAML file given as `cfg=`.

    Args:
        file: Path or name of a YAML file.

    Returns:
        Its keys and values; numbers that YAML reads as text, such as 1e-3, are converted.

    Raises:
        ConfigError: The file is missing or has no keys.
    """
    try:
        path = check_yaml(file)
    except Exception as error:
        raise ConfigError(f"cfg={file} cannot be read: {_one_line(error)}") from None
    try:
        content = YAML.load(path)
    except Exception:
        content = None
    if not isinstance(content, dict):
        raise ConfigError(f"cfg={file} has no 'key: value' lines in YAML.")
    numeric = CFG_FLOAT_KEYS | CFG_FRACTION_KEYS | CFG_INT_KEYS
    return {
        str(key): smart_value(value) if key in numeric and isinstance(value, str) else value
        for key, value in content.items()
        if key != "cfg"
    }


def check_keys(overrides: dict[str, Any], options: Iterable[str]) -> dict[str, Any]:
    """Check that every key is known, and translate deprecated ones as Ultralytics does.

    Args:
        overrides: Values by key, of this package and of Ultralytics.
        options: yolo_stability options, which are valid and suggested too.

    Returns:
        The values with deprecated keys replaced; Ultralytics logs its warning about them.

    Raises:
        ConfigError: A key is unknown; the message names the nearest valid one.
    """
    base = {**DEFAULT_CFG_DICT, **dict.fromkeys(options)}
    custom = dict(overrides)
    try:
        with _without_help_page():
            check_dict_alignment(base, custom)
    except SyntaxError:
        named = " ".join(unknown("key", key, base) for key in custom if key not in base)
        raise ConfigError(
            f"{named} 'yolo-stability help train' lists the yolo_stability options, "
            "'yolo cfg' those of Ultralytics."
        ) from None
    except (TypeError, ValueError) as error:
        raise ConfigError(_one_line(error)) from None
    return custom


@contextlib.contextmanager
def _without_help_page() -> Iterator[None]:
    """Suppress Ultralytics' help page, which it logs at INFO before it raises."""

    def keep(record: logging.LogRecord) -> bool:
        return record.levelno > logging.INFO

    LOGGER.addFilter(keep)
    try:
        yield
    finally:
        LOGGER.removeFilter(keep)


def check_values(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Check values with Ultralytics' `get_cfg`, and those it would only reject during the run.

    Args:
        overrides: Values of Ultralytics keys.

    Returns:
        The same keys with the values as Ultralytics normalizes them, such as `epochs=1e2` -> 100.

    Raises:
        ConfigError: A value is invalid; the message names the valid ones.
    """
    for key, value in overrides.items():
        check_late(key, value)
    given = dict(overrides)
    try:
        values = vars(get_cfg(overrides=given))
    except (TypeError, ValueError, OverflowError, AttributeError, SyntaxError) as error:
        raise ConfigError(_one_line(error)) from None
    return {key: values[key] for key in given}


def default_model(task: str | None) -> str:
    """Return the model that `yolo` uses when none is given."""
    return str(TASK2MODEL[task or "detect"])


@cache
def _shipped_yamls() -> tuple[str, ...]:
    """Return the model YAMLs shipped with Ultralytics, as '/folder/.../name.yaml'."""
    root = Path(ROOT)
    return tuple(
        f"/{path.relative_to(root).as_posix()}"
        for path in (root / "cfg" / "models").rglob("*.yaml")
    )


@cache
def _model_names() -> tuple[str, ...]:
    """Return every model name worth suggesting; YAML names with each scale letter."""
    yamls = {path.rpartition("/")[2] for path in _shipped_yamls()}
    scaled = {
        re.sub(r"^(yolov?\d+)", rf"\g<1>{scale}", name) for name in yamls for scale in "nsmlx"
    }
    names = yamls | {name for name in scaled if _is_shipped(name)} | _weights()
    return tuple(sorted(name for name in names if not NO_TRAINING.match(name)))


@cache
def _weights() -> frozenset[str]:
    """Return the names of the weights that Ultralytics can download."""
    return frozenset(name for name in GITHUB_ASSETS_NAMES if name.endswith(".pt"))


def _is_shipped(model: str) -> bool:
    """Return whether Ultralytics ships this YAML, with or without the scale letter."""
    names = {model, SCALE.sub(r"\1\3", model)}
    return any(path.endswith(f"/{name}") for path in _shipped_yamls() for name in names)


def _is_download(model: str) -> bool:
    """Return whether Ultralytics would download these weights, to an existing folder."""
    path = Path(str(check_yolov5u_filename(model, verbose=False)))
    return {path.name, f"{path.name}.pt"} & _weights() != set() and os.path.isdir(path.parent)  # noqa: PTH112


def check_model(model: str) -> None:
    """Check that a model is a file, a link, or a name that Ultralytics ships or downloads.

    Args:
        model: Value of `model=`.

    Raises:
        ConfigError: There is no such model, or it is of a kind that cannot be trained.
    """
    suffix = Path(model).suffix.lower()
    name = re.split(r"[/\\]", model)[-1]
    folders = ("", f"{SETTINGS['weights_dir']}/")
    is_file = any(os.path.isfile(f"{folder}{model}") for folder in folders)  # noqa: PTH113
    if "://" in model:
        return
    if os.path.isdir(model):  # noqa: PTH112 - Path.is_dir raises on odd text
        raise ConfigError(f"model={model} is a folder; name the .pt or .yaml file in it.")
    if (is_file and suffix not in {".pt", ".yaml", ".yml"}) or suffix in UNTRAINABLE:
        raise ConfigError(
            f"model={model} cannot be trained; Ultralytics trains .pt and .yaml files."
        )
    if is_file:
        return
    if NO_TRAINING.match(name) and _is_download(model):
        raise ConfigError(
            f"model={model} cannot be trained by Ultralytics; use a YOLO or RT-DETR model."
        )
    if not (_is_shipped(model) if suffix in {".yaml", ".yml"} else _is_download(model)):
        raise ConfigError(
            f"model={model} is neither a file nor a model that Ultralytics ships."
            f"{nearest(name, _model_names())}"
        )


def check_task(model: str, task: str) -> None:
    """Check that a model YAML has the head of the task; Ultralytics fails later and obscurely.

    Args:
        model: Value of `model=`, checked by `check_model`.
        task: Task that the user named.

    Raises:
        ConfigError: The YAML describes a model for another task.
    """
    from ultralytics.nn.tasks import guess_model_task, yaml_model_load

    if Path(model).suffix.lower() not in {".yaml", ".yml"} or "://" in model:
        return
    try:
        built_for = guess_model_task(yaml_model_load(model))
    except Exception as error:
        raise ConfigError(f"model={model} cannot be read as a model: {_one_line(error)}") from None
    if built_for not in {task, None}:  # None: an unknown head, such as RT-DETR's
        other = Path(default_model(task)).with_suffix(".yaml")
        raise ConfigError(
            f"model={model} is for {built_for}; for {task} use a model such as {other}."
        )


def _one_line(error: BaseException) -> str:
    """Return the text of an error on one line."""
    return " ".join(str(error).split()) or type(error).__name__
