"""Entries that other packages add through entry points; a failure names the package.

Nothing of another package is imported before it is used, and a broken package affects only its own
entries.
"""

from __future__ import annotations

import ast
import inspect
import warnings
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from typing import Any

from yolo_stability.core.errors import ConfigError

__all__ = ["is_plugin", "load_plugin", "plugin_points", "plugin_source", "plugin_summary"]

ENTRY_NAME = "_entry_name"
"""Attribute that holds the registered name of a class of another package."""


@cache
def plugin_points() -> Mapping[str, tuple[EntryPoint, ...]]:
    """Read the entry points of all installed packages once, by group; takes about 10 ms."""
    found: dict[str, list[EntryPoint]] = {}
    seen = set()
    for dist in distributions():
        try:
            points = [p for p in dist.entry_points if p.group.startswith("yolo_stability.")]
        except Exception as error:  # malformed metadata of another package
            warnings.warn(
                f"the entry points of {dist.name or 'a package'} cannot be read: {error}",
                stacklevel=2,
            )
            continue
        if not points or dist.name in seen:  # seen: shadowed by one earlier on the path
            continue
        seen.add(dist.name)
        for point in points:
            found.setdefault(point.group, []).append(point)
    return {group: tuple(sorted(points, key=plugin_source)) for group, points in found.items()}


def plugin_source(point: EntryPoint) -> str:
    """Return name and version of an entry point's distribution, such as `my-rules 1.2`."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def is_plugin(cls: type) -> bool:
    """Return whether a class came from an entry point of another package."""
    return ENTRY_NAME in vars(cls)


def plugin_summary(point: EntryPoint) -> str:
    """Return the first line of a plugin's docstring, read from its file, and its package."""
    try:
        text = ast.get_docstring(ast.parse(_file_of(point).read_bytes())) or ""
    except Exception:  # missing or invalid file: reported when the plugin is used
        text = ""
    return f"{text.partition(chr(10))[0]} (from {plugin_source(point)})".strip()


def _file_of(point: EntryPoint) -> Path:
    """Find the file of an entry point's module without importing it."""
    if point.dist is None:
        raise FileNotFoundError(point.value)
    path = point.module.replace(".", "/")
    places = [
        Path(str(point.dist.locate_file(name))) for name in (f"{path}.py", f"{path}/__init__.py")
    ]
    return next(place for place in places if place.is_file())


def load_plugin(point: EntryPoint, base: type[Any], noun: str) -> type[Any]:
    """Import a class of another package and give it the name of its entry point.

    Args:
        point: The entry point.
        base: Required base class.
        noun: Kind of entry, for messages, such as `clip`.

    Raises:
        ConfigError: It cannot be imported or registered; the message names the package.
    """
    who = f"The {noun} '{point.name}' of the package {plugin_source(point)}"
    try:
        found = point.load()
    except Exception as error:
        raise ConfigError(
            f"{who} cannot be imported ({type(error).__name__}: {error}). Update or uninstall that "
            "package."
        ) from error
    if not (isinstance(found, type) and issubclass(found, base)) or inspect.isabstract(found):
        home = base.__module__.removesuffix("._base")
        raise ConfigError(
            f"{who} must be a subclass of {home}.{base.__name__} that implements all of its "
            f"methods; {point.value} is not. Update or uninstall that package."
        )
    if vars(found).get(ENTRY_NAME, point.name) != point.name or _is_ours(found):
        raise ConfigError(
            f"{who} is already registered under another name; each name needs its own class. "
            "Update or uninstall that package."
        )
    setattr(found, ENTRY_NAME, point.name)
    return found


def _is_ours(cls: type) -> bool:
    """Return whether a class belongs to this package."""
    return cls.__module__.partition(".")[0] == __name__.partition(".")[0]
