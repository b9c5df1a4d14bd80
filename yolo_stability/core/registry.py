"""One generic registry: every module of a folder is one entry, named after its file.

A new entry takes one new file and no other edit. Names and summaries are read from the folder without importing an
entry, so that help and the check of settings stay fast; the module is imported, and checked, when it is first used.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Generic, TypeVar

from yolo_stability.core.errors import ConfigError, nearest

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """The entries of one folder; each module must define exactly one public subclass of `base`.

    Args:
        noun: What an entry is, for messages, such as `clip`.
        package: Dotted name of the folder, such as `yolo_stability.interventions.clips`.
        base: Dotted name of the base class; imported on first use.
    """

    def __init__(self, noun: str, package: str, base: str) -> None:
        self.noun = noun
        self._package, self._base = package, base
        self._found: dict[str, type[T]] = {}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all entries, sorted."""
        modules = pkgutil.iter_modules([str(folder) for folder in self._folders])
        return tuple(sorted(m.name for m in modules if not m.name.startswith("_")))

    @cached_property
    def summaries(self) -> dict[str, str]:
        """First line of each entry's docstring by name, read from the file."""
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
        file = next(f for f in (folder / f"{name}.py" for folder in self._folders) if f.is_file())
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
        return text.splitlines()[0] if text else ""

    def _load(self, name: str) -> type[T]:
        """Import an entry's module and check what it defines."""
        home, _, attribute = self._base.rpartition(".")
        base = getattr(importlib.import_module(home), attribute)
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
