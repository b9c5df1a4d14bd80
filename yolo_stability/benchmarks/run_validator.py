"""Validates the settings of all planned runs before the first one starts, each value once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yolo_stability.compat.cfg import check_keys, check_model, check_task, check_values
from yolo_stability.config import OWN_KEYS, StabilitySettings, make_settings
from yolo_stability.interventions.switches import Switches

__all__ = ["RunValidator"]


class RunValidator:
    """Validates the settings of runs and caches the accepted ones.

    Ultralytics validates each value by its key alone, so a value accepted for one run is valid for
    every other. The yolo_stability options depend on each other and are validated together, each
    combination once.
    """

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], Any] = {}
        self._settings: dict[frozenset[tuple[str, str]], StabilitySettings] = {}
        self._switched: set[StabilitySettings] = set()
        self._models: set[tuple[str, str | None]] = set()

    def run(self, keys: Mapping[str, Any]) -> None:
        """Validate all settings of one run except its model, as its training would.

        Args:
            keys: Ultralytics arguments and yolo_stability options.

        Raises:
            ConfigError: A key is unknown or a value is invalid.
        """
        new = {k: v for k, v in keys.items() if k not in OWN_KEYS and not self._accepted(k, v)}
        if new:
            self.values(check_keys(new, OWN_KEYS))
        settings = self.settings(keys)
        if settings not in self._switched:
            Switches(settings)
            self._switched.add(settings)

    def values(self, keys: Mapping[str, Any]) -> dict[str, Any]:
        """Validate the values of Ultralytics arguments.

        Args:
            keys: Ultralytics arguments with known names.

        Returns:
            The same keys with values normalized by Ultralytics.

        Raises:
            ConfigError: A value is invalid.
        """
        known = {k: self._values[_pair(k, v)] for k, v in keys.items() if self._accepted(k, v)}
        new = {k: v for k, v in keys.items() if k not in known}
        checked = check_values(new) if new else {}
        for key, value in checked.items():
            self._values[_pair(key, value)] = self._values[_pair(key, keys.get(key, value))] = value
        return {**known, **checked}

    def settings(self, keys: Mapping[str, Any]) -> StabilitySettings:
        """Validate the yolo_stability options among the settings of a run.

        Args:
            keys: Settings of a run.

        Returns:
            The yolo_stability options.

        Raises:
            ConfigError: A value is invalid or incompatible with another.
        """
        own = {key: value for key, value in keys.items() if key in OWN_KEYS}
        pairs = frozenset(_pair(key, value) for key, value in own.items())
        if pairs not in self._settings:
            self._settings[pairs] = make_settings(**own)
        return self._settings[pairs]

    def model(self, model: str, task: str | None = None) -> None:
        """Check that a model exists and, where a task is given, that it is for that task.

        Args:
            model: Path or name of the model.
            task: The task; None to check the name only.

        Raises:
            ConfigError: The model does not exist, or it is for another task.
        """
        if (model, task) not in self._models:
            check_model(model)
            if task is not None:
                check_task(model, task)
            self._models.add((model, task))

    def _accepted(self, key: str, value: Any) -> bool:
        """Return whether this value of an Ultralytics argument has been accepted before."""
        return _pair(key, value) in self._values


def _pair(key: str, value: Any) -> tuple[str, str]:
    """Return a hashable pair of key and value, in which 1, 1.0 and True differ."""
    return key, repr(value)
