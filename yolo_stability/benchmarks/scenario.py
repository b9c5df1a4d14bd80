"""A named recipe from `configs/scenarios/*.yaml`: everything a run was told, nothing hidden in code."""

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
    """What is known to be wrong with a recipe, or that nothing is: the truth that a diagnosis is scored against.

    Attributes:
        healthy: Nothing is wrong.
        cause: What is wrong, in the words of a diagnosis.
        also: Other causes that the recipe combines with it; naming one of them is right, too.
        onset: Whether it creeps in, or strikes at a moment.
        step: Step at which it strikes; None where the data or the run itself decides.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    healthy: bool = False
    cause: FaultCause | None = None
    also: tuple[FaultCause, ...] = ()
    onset: Literal["gradual", "sudden"] | None = None
    step: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """Check that a fault has cause and onset, and that what is healthy has neither."""
        if self.healthy and (self.cause or self.onset or self.step is not None):
            raise ValueError("a healthy recipe has no cause, onset or step")
        if not self.healthy and not (self.cause and self.onset):
            raise ValueError(
                "a fault needs cause and onset; write healthy: true where nothing is wrong"
            )
        return self


class Scenario(BaseModel):
    """A recipe.

    Attributes:
        name: Name of the file.
        description: One sentence.
        kind: control, a cause of trouble, a remedy, or both: a cause together with a remedy.
        claim: The textbook claim that it tests, in one sentence.
        expects: What is expected of it, in one sentence.
        overrides: Keys for every task.
        tasks: Keys per task, over those.
        label: What is known to be wrong with it, for a fault benchmark; None in others.
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
        """Return the keys for one task, `model` and `data` among them.

        Args:
            task: detect or pose.
            partial: It is an arm, which need not say anything about the task.

        Raises:
            ConfigError: The recipe has nothing to say about this task.
        """
        if partial:
            return {**self.overrides, **self.tasks.get(task, {})}
        if task not in self.tasks:
            raise ConfigError(
                f"Scenario '{self.name}' has no task '{task}'. It has {', '.join(self.tasks)}."
            )
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
    return Scenario.model_validate(load_yaml(text, f"scenario '{name}'"))
