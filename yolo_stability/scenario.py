"""A named recipe from `configs/scenarios/*.yaml`: everything a run was told, nothing hidden in code."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from yolo_stability.errors import ConfigError, nearest
from yolo_stability.resources import resource

__all__ = ["Scenario", "load_scenario", "scenario_names"]


class Scenario(BaseModel):
    """A recipe.

    Attributes:
        name: Name of the file.
        description: One sentence.
        overrides: Keys for every task.
        tasks: Keys per task, over those.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    description: str
    overrides: dict[str, Any] = Field(default_factory=dict)
    tasks: dict[str, dict[str, Any]] = Field(default_factory=dict)

    def arguments(self, task: str) -> dict[str, Any]:
        """Return the keys for one task, `model` and `data` among them.

        Raises:
            ConfigError: The recipe has nothing to say about this task.
        """
        if task not in self.tasks:
            raise ConfigError(f"Scenario '{self.name}' has no task '{task}'. It has {', '.join(self.tasks)}.")
        return {**self.overrides, **self.tasks[task]}


def scenario_names() -> list[str]:
    """Return the names of all scenarios."""
    return sorted(file.stem for file in resource("configs", "scenarios").glob("*.yaml"))


def load_scenario(name: str) -> Scenario:
    """Read a scenario by name.

    Raises:
        ConfigError: There is no such scenario.
    """
    if name not in scenario_names():
        raise ConfigError(f"No scenario '{name}'.{nearest(name, scenario_names())}")
    text = resource("configs", "scenarios", f"{name}.yaml").read_text(encoding="utf-8")
    return Scenario.model_validate(yaml.safe_load(text))
