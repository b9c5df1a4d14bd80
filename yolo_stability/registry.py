"""One generic registry: every module of a folder is one entry, named after its file.

A new entry takes one new file and no other edit. Names are read from the folder without importing anything, so that
help and the check of settings stay fast; the module is imported, and checked, when it is first used.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

from yolo_stability.errors import ConfigError, nearest

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
        *_, folder = self._package.split(".")
        place = Path(__file__).parent.joinpath(*self._package.split(".")[1:])
        assert place.name == folder
        return tuple(sorted(m.name for m in pkgutil.iter_modules([str(place)]) if not m.name.startswith("_")))

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
            TypeError: The module does not define exactly one subclass of the base; the text names the module.
        """
        if name not in self._found:
            self._found[name] = self._load(name)
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

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
        return classes[0]
