"""The settings of a frontier: the grid of all combinations of comma-separated values."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yolo_stability.core.errors import ConfigError

__all__ = ["Setting", "make_grid", "split_values"]

_LONGEST = 80
_NORMS = {
    "batch": "BatchNorm",
    "group": "GroupNorm",
    "layer": "LayerNorm",
    "frozen": "frozen BatchNorm",
}
_COMMA = re.compile(r",(?![^\[(]*[\])])")  # outside brackets


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One combination of the grid.

    Attributes:
        name: Name of its folder; depends only on its own keys, so that a larger grid reuses the
            runs of a smaller one.
        label: Label for people, such as `BatchNorm + clip 10`.
        overrides: The keys that distinguish it from other settings.
    """

    name: str
    label: str
    overrides: Mapping[str, Any]


def split_values(key: str, typed: Any) -> list[Any]:
    """Split the value of a key: text with commas and tuples are several values, a list is one.

    Args:
        key: The key.
        typed: Its value, from the command line or from Python.

    Raises:
        ConfigError: A value between commas is empty.
    """
    from yolo_stability.compat.cfg import read

    if isinstance(typed, tuple):
        return list(typed)
    if not isinstance(typed, str) or "," not in typed:
        return [typed]
    pieces = [piece.strip() for piece in _COMMA.split(typed)]
    if not all(pieces):
        raise ConfigError(
            f"Invalid value {key}={typed}: a value between its commas is empty. Write {key}=A,B."
        )
    return [read([f"{key}={piece}"])[1][key] for piece in pieces]


def make_grid(axes: Mapping[str, Sequence[Any]]) -> tuple[Setting, ...]:
    """Return every distinct combination of the values, the last key varying fastest.

    Args:
        axes: Values by key; if empty, there is one setting, the unchanged recipe.
    """
    combinations: list[dict[str, Any]] = []
    for values in itertools.product(*axes.values()):
        keys = dict(zip(axes, values, strict=True))
        if keys not in combinations:
            combinations.append(keys)
    names = [_name(keys) for keys in combinations]
    shared = {name for name, count in Counter(name.lower() for name in names).items() if count > 1}
    return tuple(
        Setting(
            name=_with_digest(name, keys) if name.lower() in shared else name,
            label=_label(keys),
            overrides=keys,
        )
        for name, keys in zip(names, combinations, strict=True)
    )


def _name(keys: Mapping[str, Any]) -> str:
    """Return a name that is valid on every file system."""
    text = "_".join(f"{key}-{value}" for key, value in keys.items()) or "recipe"
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")
    return name if len(name) <= _LONGEST else _with_digest(name[:_LONGEST], keys)


def _with_digest(name: str, keys: Mapping[str, Any]) -> str:
    return f"{name}-{hashlib.sha256(repr(sorted(keys.items())).encode()).hexdigest()[:6]}"


def _label(keys: Mapping[str, Any]) -> str:
    """Return the label of a setting."""
    return " + ".join(_word(key, value) for key, value in keys.items()) or "the recipe"


def _word(key: str, value: Any) -> str:
    text = str(value).lower()
    if key in {"clip", "norm"} and text == "none":
        return f"no {key}"
    if key == "norm":
        return _NORMS.get(text, f"norm {text}")
    if key == "clip":
        kind, _, number = text.partition(":")
        return " ".join(part for part in ("clip", "" if kind == "norm" else kind, number) if part)
    return str(value) if key == "optimizer" else f"{key}={value}"
