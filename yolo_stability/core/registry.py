"""One generic registry: every module of a folder is one entry, and so is every entry point of its group.

A new entry of this package takes one new file, named as users write it, and no other edit. Another package adds
entries through entry points (`[project.entry-points."yolo_stability.clips"]`, `name = "package.module:Class"`).
Names and summaries are read without importing an entry, so that help and the check of settings stay fast; the class
is imported, and checked, when it is first used.
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
    """Return the name under which a class is registered.

    Args:
        cls: A class of this package, registered by its file, or one that came through an entry point.

    Returns:
        The entry point's name, else the name of the file that defines the class.
    """
    return str(vars(cls).get(ENTRY_NAME) or cls.__module__.rpartition(".")[2])


class Registry(Generic[T]):
    """The entries of one folder; each module must define exactly one public subclass of `base`.

    Args:
        noun: What an entry is, for messages, such as `clip`.
        package: Dotted name of the folder, such as `yolo_stability.interventions.clips`.
        base: Dotted name of the base class; imported on first use.

    Other packages add entries through the group of entry points that is called after the folder, such as
    `yolo_stability.clips`.
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
        """Names of the entries that are files of the folder."""
        modules = pkgutil.iter_modules([str(folder) for folder in self._folders])
        return tuple(m.name for m in modules if not m.name.startswith("_"))

    @cached_property
    def _plugins(self) -> Mapping[str, EntryPoint]:
        """Entry points by name, without those whose name is taken or cannot be typed; a warning names each."""
        taken: dict[str, EntryPoint] = {}
        for point in plugin_points().get(self._group, ()):
            if point.name in self._files or point.name in taken:
                why = f"there is another {self.noun} of that name"
            elif not point.name.isidentifier() or point.name.startswith("_"):
                why = "a name is letters, digits and underscores"
            else:
                taken[point.name] = point
                continue
            warnings.warn(
                f"{self.noun} '{point.name}' of the package {plugin_source(point)} is ignored: {why}",
                stacklevel=2,
            )
        return taken

    @cached_property
    def summaries(self) -> dict[str, str]:
        """First line of each entry's docstring by name, read from the file; of another package's with its name."""
        return {name: self.summary(name) for name in self.names}

    def check(self, name: str, where: str) -> None:
        """Refuse a name that is no entry, without importing anything.

        Args:
            name: What the user typed.
            where: The setting it was typed in, such as `clip=nrom:10`.

        Raises:
            ConfigError: No entry has that name; the text holds the nearest one and all of them.
        """
        if name not in self.names:
            choices = f"{nearest(name, self.names)} Choose from {', '.join(self.names)}."
            raise ConfigError(f"{where}: there is no {self.noun} '{name}'.{choices}")

    def __getitem__(self, name: str) -> type[T]:
        """Return the class of an entry.

        Raises:
            KeyError: There is no such entry; ask `check` first where a user typed the name.
            TypeError: The module does not define exactly one subclass of the base that can be made; the text names it.
        """
        if name not in self.names:
            raise KeyError(name)
        if name not in self._found:
            self._found[name] = self._load(name)
        return self._found[name]

    def make_all(self) -> list[T]:
        """Make every entry, without arguments; one of another package that fails is left out with a warning."""
        made = []
        for name in self.names:
            try:
                made.append(self[name]())
            except Exception as error:
                if name not in self._plugins:
                    raise
                source = plugin_source(self._plugins[name])
                warnings.warn(
                    f"{self.noun} '{name}' of the package {source} is left out: {error}",
                    stacklevel=2,
                )
        return made

    def source(self, name: str) -> str | None:
        """Return name and version of the package that adds an entry; None for an entry of this package."""
        return plugin_source(self._plugins[name]) if name in self._plugins else None

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    @cached_property
    def _folders(self) -> list[Path]:
        """Where the modules lie; the package itself is not imported, only what it lies in."""
        spec = find_spec(self._package)
        if spec is None or not spec.submodule_search_locations:
            raise TypeError(f"{self._package} is no package, so it can hold no {self.noun}")
        return [Path(place) for place in spec.submodule_search_locations]

    def summary(self, name: str) -> str:
        """Return the first line of a module's docstring without importing it; empty where it has none."""
        if name in self._plugins:
            return plugin_summary(self._plugins[name])
        return _first_line(
            next(f for f in (folder / f"{name}.py" for folder in self._folders) if f.is_file())
        )

    def _load(self, name: str) -> type[T]:
        """Import an entry and check what it is."""
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
                f"{module.__name__} must define exactly one public subclass of {self._base}, and defines "
                f"{len(classes)}: {', '.join(c.__name__ for c in classes) or 'none'}"
            )
        if inspect.isabstract(classes[0]):
            missing = ", ".join(sorted(getattr(classes[0], "__abstractmethods__", ())))
            raise TypeError(
                f"{module.__name__}.{classes[0].__name__} leaves out {missing} of {self._base}"
            )
        return classes[0]


def _first_line(file: Path) -> str:
    """Return the first line of a file's docstring; empty where there is none."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    return text.splitlines()[0] if text else ""
