"""Generic registry: every module of a folder and every entry point of its group is one entry.

A new entry of this package takes one new file, named as users type it, and no other edit. Another
package adds entries through entry points
(`[project.entry-points."yolo_stability.clips"]`, `name = "package.module:Class"`).
Names and summaries are read without importing an entry, so that help and settings checks stay fast;
the class is imported and checked on first use.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import Generic, TypeVar

from yolo_stability.core.errors import ConfigError
from yolo_stability.core.plugins import (
    ENTRY_NAME,
    load_plugin,
    plugin_points,
    plugin_source,
    plugin_summary,
)
from yolo_stability.core.suggestions import nearest

__all__ = ["Registry", "entry_name"]

T = TypeVar("T")


def entry_name(cls: type) -> str:
    """Return the name of a registered class.

    Args:
        cls: A class of this package, registered by its file, or one from an entry point.

    Returns:
        The entry point's name, else the name of the file that defines the class.
    """
    return str(vars(cls).get(ENTRY_NAME) or cls.__module__.rpartition(".")[2])


class Registry(Generic[T]):
    """Entries of one folder; each module must define exactly one public subclass of `base`.

    Args:
        noun: Kind of entry, for messages, such as `clip`.
        package: Dotted name of the folder, such as `yolo_stability.interventions.clips`.
        base: Dotted name of the base class; imported on first use.

    Other packages add entries through the entry-point group named after the folder, such as
    `yolo_stability.clips`.

    Example:
        >>> clips = Registry(
        ...     "clip",
        ...     "yolo_stability.interventions.clips",
        ...     "yolo_stability.interventions.clips._base.Clip",
        ... )
        >>> "agc" in clips.names
        True
    """

    def __init__(self, noun: str, package: str, base: str) -> None:
        self.noun = noun
        self._package, self._base = package, base
        self._group = f"yolo_stability.{package.rpartition('.')[2]}"
        self._found: dict[str, type[T]] = {}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all entries, sorted."""
        return tuple(sorted({*self._files, *self._plugins}))

    @cached_property
    def _files(self) -> tuple[str, ...]:
        """Names of the entries that are files in the folder."""
        modules = pkgutil.iter_modules([str(folder) for folder in self._folders])
        return tuple(m.name for m in modules if not m.name.startswith("_"))

    @cached_property
    def _plugins(self) -> Mapping[str, EntryPoint]:
        """Entry points by name, except those with a taken or invalid name; warns about each."""
        taken: dict[str, EntryPoint] = {}
        for point in plugin_points().get(self._group, ()):
            if point.name in self._files or point.name in taken:
                why = f"another {self.noun} has that name"
            elif not point.name.isidentifier() or point.name.startswith("_"):
                why = "a name must consist of letters, digits and underscores"
            else:
                taken[point.name] = point
                continue
            warnings.warn(
                f"{self.noun} '{point.name}' of the package {plugin_source(point)} "
                f"is ignored: {why}",
                stacklevel=2,
            )
        return taken

    @cached_property
    def summaries(self) -> dict[str, str]:
        """First docstring line of each entry, read from its file; plugins name their package."""
        return {name: self.summary(name) for name in self.names}

    def check(self, name: str, where: str) -> None:
        """Reject an unknown name, without importing anything.

        Args:
            name: Name that the user typed.
            where: Setting it was typed in, such as `clip=nrom:10`.

        Raises:
            ConfigError: No entry has that name; the message lists the nearest one and all others.
        """
        if name not in self.names:
            choices = f"{nearest(name, self.names)} Choose from {', '.join(self.names)}."
            raise ConfigError(f"{where}: there is no {self.noun} '{name}'.{choices}")

    def __getitem__(self, name: str) -> type[T]:
        """Return the class of an entry.

        Raises:
            KeyError: No such entry; call `check` first for names that users type.
            TypeError: The module does not define exactly one concrete subclass of the base.
        """
        if name not in self.names:
            raise KeyError(name)
        if name not in self._found:
            self._found[name] = self._load(name)
        return self._found[name]

    def make_all(self) -> list[T]:
        """Create every entry without arguments; a failing plugin is skipped with a warning."""
        made = []
        for name in self.names:
            try:
                made.append(self[name]())
            except Exception as error:
                if name not in self._plugins:
                    raise
                source = plugin_source(self._plugins[name])
                warnings.warn(
                    f"{self.noun} '{name}' of the package {source} is skipped: {error}",
                    stacklevel=2,
                )
        return made

    def source(self, name: str) -> str | None:
        """Return name and version of a plugin's package; None for an entry of this package."""
        return plugin_source(self._plugins[name]) if name in self._plugins else None

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    @cached_property
    def _folders(self) -> list[Path]:
        """Folders of the modules; only the parent of the package is imported, not the package."""
        spec = find_spec(self._package)
        if spec is None or not spec.submodule_search_locations:
            raise TypeError(f"{self._package} is not a package, so it cannot hold a {self.noun}")
        return [Path(place) for place in spec.submodule_search_locations]

    def summary(self, name: str) -> str:
        """Return the first line of a module's docstring without importing it; empty if none."""
        if name in self._plugins:
            return plugin_summary(self._plugins[name])
        return _first_line(
            next(f for f in (folder / f"{name}.py" for folder in self._folders) if f.is_file())
        )

    def _load(self, name: str) -> type[T]:
        """Import an entry and check its class."""
        home, _, attribute = self._base.rpartition(".")
        base = getattr(importlib.import_module(home), attribute)
        if name in self._plugins:
            return load_plugin(self._plugins[name], base, self.noun)
        module = importlib.import_module(f"{self._package}.{name}")
        classes = [
            value
            for key, value in vars(module).items()
            if isinstance(value, type)
            and issubclass(value, base)
            and value.__module__ == module.__name__
            and not key.startswith("_")
        ]
        if len(classes) != 1:
            raise TypeError(
                f"{module.__name__} must define exactly one public subclass of {self._base}, but "
                f"defines {len(classes)}: {', '.join(c.__name__ for c in classes) or 'none'}"
            )
        if inspect.isabstract(classes[0]):
            missing = ", ".join(sorted(getattr(classes[0], "__abstractmethods__", ())))
            raise TypeError(
                f"{module.__name__}.{classes[0].__name__} does not implement {missing} of "
                f"{self._base}"
            )
        return classes[0]


def _first_line(file: Path) -> str:
    """Return the first line of a file's docstring; empty if it has none."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    return text.splitlines()[0] if text else ""
