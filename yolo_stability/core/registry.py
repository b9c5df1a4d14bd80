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
from functools import cache, cached_property
from importlib.metadata import EntryPoint, distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar

from yolo_stability.core.errors import ConfigError, nearest

__all__ = ["Registry", "entry_name", "is_plugin"]

T = TypeVar("T")
_NAME = "_entry_name"


def entry_name(cls: type) -> str:
    """Return the name under which a class is registered.

    Args:
        cls: A class of this package, registered by its file, or one that came through an entry point.

    Returns:
        The entry point's name, else the name of the file that defines the class.
    """
    return str(vars(cls).get(_NAME) or cls.__module__.rpartition(".")[2])


def is_plugin(cls: type) -> bool:
    """Return whether a class came through an entry point of another package."""
    return _NAME in vars(cls)


@cache
def _entry_points() -> Mapping[str, tuple[EntryPoint, ...]]:
    """Read the entry points of all installed packages once, by group; it takes some 10 ms."""
    found: dict[str, list[EntryPoint]] = {}
    seen = set()
    for dist in distributions():
        points = [p for p in dist.entry_points if p.group.startswith("yolo_stability.")]
        if not points or dist.name in seen:  # else hidden by one that comes earlier on the path
            continue
        seen.add(dist.name)
        for point in points:
            found.setdefault(point.group, []).append(point)
    return {group: tuple(sorted(points, key=_origin)) for group, points in found.items()}


def _origin(point: EntryPoint) -> str:
    """Name the distribution that an entry point belongs to."""
    return point.dist.name if point.dist else point.value


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
        for point in _entry_points().get(self._group, ()):
            if point.name in self._files or point.name in taken:
                why = f"there is another {self.noun} of that name"
            elif not point.name.isidentifier() or point.name.startswith("_"):
                why = "a name is letters, digits and underscores"
            else:
                taken[point.name] = point
                continue
            warnings.warn(
                f"{self.noun} '{point.name}' of the package {_origin(point)} is ignored: {why}",
                stacklevel=2,
            )
        return taken

    @cached_property
    def summaries(self) -> dict[str, str]:
        """First line of each entry's docstring by name, read from the file; of another package's with its name."""
        return {name: self._summary(name) for name in self.names}

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

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    @cached_property
    def _folders(self) -> list[Path]:
        """Where the modules lie; the package itself is not imported, only what it lies in."""
        spec = find_spec(self._package)
        if spec is None or not spec.submodule_search_locations:
            raise TypeError(f"{self._package} is no package, so it can hold no {self.noun}")
        return [Path(place) for place in spec.submodule_search_locations]

    def _summary(self, name: str) -> str:
        """Return the first line of a module's docstring without importing it; empty where it has none."""
        if name in self._plugins:
            point = self._plugins[name]
            line = _first_line(_source_of(point))
            return f"{line} (from {_origin(point)})".strip()
        return _first_line(
            next(f for f in (folder / f"{name}.py" for folder in self._folders) if f.is_file())
        )

    def _load(self, name: str) -> type[T]:
        """Import an entry and check what it is."""
        home, _, attribute = self._base.rpartition(".")
        base = getattr(importlib.import_module(home), attribute)
        if name in self._plugins:
            return self._load_plugin(self._plugins[name], base)
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

    def _load_plugin(self, point: EntryPoint, base: type[Any]) -> type[T]:
        """Import the class of another package.

        Raises:
            ConfigError: It cannot be imported, or is no whole subclass of the base; the text names the package.
        """
        who = f"The {self.noun} '{point.name}' of the package {_origin(point)}"
        try:
            found = point.load()
        except Exception as error:
            raise ConfigError(
                f"{who} cannot be imported ({type(error).__name__}: {error}). Update or uninstall that package."
            ) from error
        if not (isinstance(found, type) and issubclass(found, base)) or inspect.isabstract(found):
            raise ConfigError(
                f"{who} must be a subclass of {self._base} with all of its methods; {point.value} is not. "
                "Update or uninstall that package."
            )
        setattr(found, _NAME, point.name)
        return found


def _source_of(point: EntryPoint) -> Path | None:
    """Find the file of an entry point's module without importing it; None where that takes an import."""
    if point.dist is None:
        return None
    path = point.module.replace(".", "/")
    places = (
        Path(str(point.dist.locate_file(name))) for name in (f"{path}.py", f"{path}/__init__.py")
    )
    return next((place for place in places if place.is_file()), None)


def _first_line(file: Path | None) -> str:
    """Return the first line of a file's docstring; empty where there is none."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) if file else None
    return text.splitlines()[0] if text else ""
