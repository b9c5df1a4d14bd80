"""Scenarios: named training recipes from `configs/scenarios/*.yaml`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from yolo_stability.core.errors import ConfigError
from yolo_stability.core.resources import resource
from yolo_stability.core.strict_yaml import load_yaml
from yolo_stability.core.suggestions import nearest
from yolo_stability.core.types import FaultCause

__all__ = ["FaultLabel", "Scenario", "load_scenario", "scenario_names"]


class FaultLabel(BaseModel):
    """Ground truth about a recipe, against which a diagnosis is scored.

    Attributes:
        healthy: Whether the recipe has no fault.
        cause: Cause of the fault, as named by a diagnosis.
        also: Other causes that the recipe combines with it; diagnosing one of them is also correct.
        onset: Whether the fault develops gradually or occurs suddenly.
        step: Step at which a sudden fault occurs; None if it depends on the data or the run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    healthy: bool = False
    cause: FaultCause | None = None
    also: tuple[FaultCause, ...] = ()
    onset: Literal["gradual", "sudden"] | None = None
    step: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """Check that a fault has cause and onset, and that a healthy recipe has neither."""
        if self.healthy and (self.cause or self.onset or self.step is not None):
            raise ValueError("a healthy recipe has no cause, onset or step")
        if not self.healthy and not (self.cause and self.onset):
            raise ValueError(
                "a fault needs cause and onset; write healthy: true for a recipe without a fault"
            )
        return self


class Scenario(BaseModel):
    """A training recipe.

    Attributes:
        name: Name of the file, without its extension.
        description: One sentence.
        kind: control, a cause of instability, a remedy, or both: a cause together with a remedy.
        claim: Textbook claim that the recipe tests, one sentence.
        expects: Expected result, one sentence.
        overrides: Keys for every task.
        tasks: Keys per task, which override those for every task.
        label: Ground truth for a fault benchmark; None for other recipes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    description: str
    kind: Literal["control", "cause", "remedy", "both"] = "control"
    claim: str = ""
    expects: str = ""
    overrides: dict[str, Any] = Field(default_factory=dict)
    tasks: dict[str, dict[str, Any]] = Field(default_factory=dict)
    label: FaultLabel | None = None

    def arguments(self, task: str, *, partial: bool = False) -> dict[str, Any]:
        """Return the keys for one task, including `model` and `data`.

        Args:
            task: detect or pose.
            partial: Whether the recipe is an arm, which needs no keys for the task.

        Raises:
            ConfigError: The recipe does not support the task.
        """
        if partial:
            return {**self.overrides, **self.tasks.get(task, {})}
        if task not in self.tasks:
            raise ConfigError(
                f"Scenario '{self.name}' has no task '{task}': expected {' or '.join(self.tasks)}."
            )
        return {**self.overrides, **self.tasks[task]}


def scenario_names() -> list[str]:
    """Return the names of all scenarios."""
    return sorted(file.stem for file in resource("configs", "scenarios").glob("*.yaml"))


def load_scenario(name: str) -> Scenario:
    """Read a scenario by name.

    Args:
        name: Name of the scenario.

    Raises:
        ConfigError: There is no such scenario.
    """
    if name not in scenario_names():
        raise ConfigError(f"No scenario '{name}'.{nearest(name, scenario_names())}")
    text = resource("configs", "scenarios", f"{name}.yaml").read_text(encoding="utf-8")
    return Scenario.model_validate(load_yaml(text, f"scenario '{name}'"))
