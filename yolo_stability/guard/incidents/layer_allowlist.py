"""Allowlist of the layers that an incident may request, checked before any of them is built.

Ultralytics builds a model from its YAML by evaluating the string of `activation` as Python, by
calling any name of its own module that the YAML gives as a layer, and by downloading weights for a
torchvision model. That is harmless for one's own YAML, but an incident may come from an untrusted
source: here only layer names with plain arguments pass.
"""

from __future__ import annotations

import ast
import importlib
import math
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as hooks
from ultralytics.nn import tasks

from yolo_stability.core.errors import StabilityError

__all__ = ["UnknownLayerError", "checked_yaml", "no_larger_than"]

_MAX_ROWS, _MAX_REPEATS, _MAX_FACTOR, _MAX_CHANNELS = 1000, 1000, 100, 256
_MAX_NUMBER, _MAX_DEPTH = 10**6, 4
_WORD = re.compile(r"(?!\d)[\w.-]{0,60}")
_FACTORS = ("depth_multiple", "width_multiple", "scales")
_FETCHING = "TorchVision"
# parameters that exist only during construction, such as the classifier of a backbone
_SPARE = 10**7


class UnknownLayerError(StabilityError):
    """A layer that is not torch's, torchvision's or Ultralytics': it is not imported."""


def checked_yaml(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the YAML of a model that executes no foreign code and downloads nothing.

    Args:
        content: YAML from an `incident.json` of any origin.

    Raises:
        StabilityError: It requests anything but layers with plain arguments.
    """
    config = dict(content)
    rows = [*_listed(config.get("backbone"), "backbone"), *_listed(config.get("head"), "head")]
    if len(rows) > _MAX_ROWS:
        _refuse(f"it has more than {_MAX_ROWS:,} layers")
    made = [_row(row) for row in rows]
    count = len(config["backbone"])
    _plain(
        {
            key: value
            for key, value in config.items()
            if key not in {"backbone", "head", "activation"}
        },
        "the YAML",
    )
    if not all(abs(n) <= _MAX_FACTOR for n in _factors(config)):
        _refuse(f"it multiplies depth or width by more than {_MAX_FACTOR}")
    if not all(
        isinstance(config.get(key, 3), int) and config.get(key, 3) <= _MAX_CHANNELS
        for key in ("ch", "channels")
    ):
        _refuse(f"its images have more than {_MAX_CHANNELS} channels")
    if config.get("activation"):
        _activation(config["activation"])
    return {**config, "backbone": made[:count], "head": made[count:]}


@contextmanager
def no_larger_than(numel: int) -> Iterator[None]:
    """Stop building a model that is far larger than its weights, before it fills the memory.

    Args:
        numel: Number of elements of its weights.
    """
    left, thread = 2 * numel + _SPARE, threading.get_ident()

    def count(module: nn.Module, name: str, value: Tensor | None) -> None:
        nonlocal left
        if value is not None and threading.get_ident() == thread:
            left -= value.numel()
            if left < 0:
                _refuse("it is far larger than its weights")

    handles = [
        hooks.register_module_parameter_registration_hook(count),
        hooks.register_module_buffer_registration_hook(count),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _refuse(why: str) -> None:
    raise StabilityError(_refusal(why))


def _refusal(why: str) -> str:
    return (
        f"The model of this incident was not built: {why}. Only layers of torch, torchvision and "
        "Ultralytics with plain arguments are allowed; the original findings are in incident.json."
    )


def _listed(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        _refuse(f"its {name} is not a list")
    return list(value)


def _row(row: Any) -> list[Any]:
    """Return a row `[from, repeats, layer, arguments]` after checking layer and arguments."""
    match row:
        case [int() | list() as source, int() as repeats, str() as name, list() as arguments]:
            if not (0 <= repeats <= _MAX_REPEATS and _is_layer(name)):
                why = (
                    f"{name[:60]!r}, {repeats} times, is not a layer of torch, torchvision or "
                    "Ultralytics"
                )
                raise UnknownLayerError(_refusal(why))
            _plain(source, name)
            _plain(arguments, name)
            if name == _FETCHING:  # channels, model, weights, ...: the incident has the weights
                arguments = [*arguments[:2], None, *arguments[3:]]
            return [source, repeats, name, list(arguments)]
    _refuse("one of its layers does not have the form [from, repeats, layer, arguments]")
    raise AssertionError


def _is_layer(name: str) -> bool:
    """Return whether Ultralytics builds a layer, and nothing else, from this name."""
    for prefix, home in (("nn.", "torch.nn"), ("torchvision.ops.", "torchvision.ops")):
        if name.startswith(prefix):
            return _is_module(vars(importlib.import_module(home)).get(name.removeprefix(prefix)))
    found = vars(tasks).get(name)
    return _is_module(found) and found.__module__.startswith("ultralytics.nn.modules.")


def _is_module(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, nn.Module)


def _plain(value: Any, where: str, depth: int = 0) -> None:
    """Raise unless a value is a usual number, a short word, or a list or mapping of such."""
    if depth > _MAX_DEPTH:
        _refuse(f"{where[:60]!r} is nested more than {_MAX_DEPTH} deep")
    if isinstance(value, Mapping):
        value = [item for pair in value.items() for item in pair]
    if isinstance(value, list):
        for item in value:
            _plain(item, where, depth + 1)
    elif isinstance(value, str):
        # A layer's argument is looked up or parsed as a Python literal; other strings are just
        # names.
        if not _WORD.fullmatch(value) and where != "the YAML":
            _refuse(f"{where[:60]!r} has the argument {value[:60]!r}")
    elif value is not None and not (math.isfinite(value) and abs(value) <= _MAX_NUMBER):
        _refuse(f"{where[:60]!r} has a number beyond {_MAX_NUMBER:,}")


def _factors(config: Mapping[str, Any]) -> Iterator[float]:
    """Yield the factors on depth and width; the third number of a scale bounds channels."""
    for key in _FACTORS:
        value = config.get(key)
        for numbers in value.values() if isinstance(value, Mapping) else [[value]]:
            yield from (n for n in list(numbers)[:2] if isinstance(n, int | float))


def _activation(text: Any) -> None:
    """Raise unless an activation has the form `nn.SiLU()` or `torch.nn.LeakyReLU(0.1)`."""
    try:
        call = ast.parse(str(text).strip(), mode="eval").body
        if isinstance(call, ast.Call):
            home, _, name = ast.unparse(call.func).rpartition(".")
            arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
            for argument in arguments:
                _plain(ast.literal_eval(argument), "activation")
            if home in {"nn", "torch.nn"} and _is_module(vars(nn).get(name)):
                return
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        pass
    _refuse(f"its activation is {str(text)[:60]!r}")
