"""Suites: the arms, tasks, models, datasets and seeds of a benchmark."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from yolo_stability.benchmarks.arms import (
    SIGN,
    arm_scenario,
    canonical_settings,
    crossed_names,
    is_arm,
)
from yolo_stability.benchmarks.scenario import Scenario, load_scenario, scenario_names
from yolo_stability.config import OWN_KEYS, StabilitySettings
from yolo_stability.core.errors import ConfigError
from yolo_stability.core.resources import resource
from yolo_stability.core.strict_yaml import load_yaml
from yolo_stability.core.suggestions import nearest

__all__ = ["Limits", "Suite", "load_suite", "option_schemas", "schemas", "suite_names"]

_MAX_SEEDS = 1000


class Limits(BaseModel):
    """Limits of a single run; a run that exceeds one is ended and counts as a result.

    Attributes:
        minutes: Wall time of a run, in minutes.
        gigabytes: Resident memory of a run, in GB.
        zero_loss_steps: Consecutive batches with a loss of exactly 0 after which a run is stopped
            at the end of its epoch.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    minutes: Annotated[float, Field(gt=0)] = 15.0
    gigabytes: Annotated[float, Field(gt=0)] = 8.0
    zero_loss_steps: Annotated[int, Field(ge=1)] = 16


class Suite(BaseModel):
    """Definition of a benchmark.

    Attributes:
        schema_version: Version of the file format.
        name: Name of the suite.
        description: Purpose of the suite, one sentence.
        control: Arm that all other arms are compared with; its scenario is the recipe that all arms
            share.
        arms: Names of scenarios, or of two scenarios joined by `+`, in which case keys of the
            second override those of the first. May be omitted if causes and remedies are given: the
            arms are then the control, each cause, each remedy on the healthy recipe, and each cause
            with each remedy, without arms equivalent to an earlier one.
        causes: Scenarios that destabilize the training, the rows of a matrix.
        remedies: Scenarios that may help, the columns of a matrix.
        tasks: detect, pose or both.
        seeds: Number of seeds, counted from 0.
        models: Model by task; by default that of the control's scenario.
        data: Dataset by task; by default that of the control's scenario.
        overrides: Ultralytics arguments and yolo_stability options for every arm; they override the
            recipe and are overridden by the arm.
        limits: Limits of each run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    schema_version: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    description: str = ""
    control: str
    # The empty default is for matrices and not validated: a file may not contain an empty list.
    arms: Annotated[list[str], Field(min_length=1)] = []
    causes: list[str] = []
    remedies: list[str] = []
    tasks: Annotated[list[Literal["detect", "pose"]], Field(min_length=1)] = ["detect", "pose"]
    seeds: Annotated[int, Field(ge=1, le=_MAX_SEEDS)] = 1
    models: dict[Literal["detect", "pose"], str] = Field(default_factory=dict)
    data: dict[Literal["detect", "pose"], str] = Field(default_factory=dict)
    overrides: dict[str, Any] = Field(default_factory=dict)
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _arms_exist(self) -> Self:
        """Check that all arms are scenarios and that the control is among them."""
        problems = [*self._unknown(), *self._matrix_problems()]
        if not problems and not self.arms:
            object.__setattr__(self, "arms", self.matrix_arms())  # frozen, but under construction
        problems += [
            f"arms: '{arm}' is listed twice"
            for arm in sorted({a for a in self.arms if self.arms.count(a) > 1})
        ]
        if self.arms and self.control not in self.arms:
            problems.append(
                f"control: '{self.control}' is not among the arms {', '.join(self.arms)}"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _unknown(self) -> list[str]:
        """Return an error message for each name that is not a scenario."""
        lists = {"arms": self.arms, "causes": self.causes, "remedies": self.remedies}
        names = [*scenario_names(), *crossed_names(self.control, self.causes, self.remedies)]
        return [
            f"{key}: unknown scenario '{name}'.{nearest(name, [n for n in names if is_arm(n)])}"
            for key, listed in lists.items()
            for name in listed
            if not is_arm(name) or (key != "arms" and SIGN in name)
        ]

    def _matrix_problems(self) -> list[str]:
        """Return an error message for each problem of the causes and remedies of a matrix."""
        if not (self.causes or self.remedies):
            return [] if self.arms else ["arms: Field required"]
        problems = (
            [] if self.causes and self.remedies else ["causes and remedies: a matrix needs both"]
        )
        if self.control not in scenario_names():
            problems.append(
                f"control: unknown scenario '{self.control}'."
                f"{nearest(self.control, scenario_names())}"
            )
        for key, kind, listed in (
            ("causes", "cause", self.causes),
            ("remedies", "remedy", self.remedies),
        ):
            known = [name for name in listed if name in scenario_names()]
            problems += [
                f"{key}: '{name}' is not a {kind}"
                for name in known
                if load_scenario(name).kind != kind
            ]
            problems += [
                f"{key}: '{name}' is listed twice"
                for name in sorted({n for n in known if known.count(n) > 1})
            ]
        return problems

    def matrix_arms(self) -> list[str]:
        """Return the arms of the matrix of causes and remedies, without equivalent ones."""
        return list(dict.fromkeys(self.equivalent_arms().values()))

    def equivalent_arms(self) -> dict[str, str]:
        """Return, for each arm of the matrix, the first arm with the same settings.

        A remedy that only sets defaults makes the arm equivalent to the cause alone; one that
        overrides all keys of a cause makes it equivalent to the remedy alone.
        """
        first: dict[str, str] = {}
        names = crossed_names(self.control, self.causes, self.remedies)
        return {
            name: first.setdefault(
                canonical_settings([self.settings(name, t, 0) for t in self.tasks]), name
            )
            for name in names
        }

    def scenario(self, arm: str) -> Scenario:
        """Return the scenario of an arm."""
        return arm_scenario(arm)

    def changed(self, changes: Mapping[str, Any]) -> Suite:
        """Return the suite with some fields replaced and validated like those of a file.

        Args:
            changes: New values by field name.

        Raises:
            ConfigError: A value is invalid.
        """
        content = self.model_dump()
        if self.causes and self.arms == self.matrix_arms():
            del content["arms"]  # computed again, because the changes may affect equivalence
        return _checked({**content, **changes}, f"suite '{self.name}'")

    def settings(self, arm: str, task: str, seed: int) -> dict[str, Any]:
        """Return all settings of one run: recipe, then the suite's overrides, then the arm's.

        Args:
            arm: Name of the arm.
            task: detect or pose.
            seed: Random seed.
        """
        recipe = self.scenario(self.control).arguments(task)
        own = {} if arm == self.control else self.scenario(arm).arguments(task, partial=True)
        model = self.models.get(task, recipe["model"])  # type: ignore[call-overload]
        data = self.data.get(task, recipe["data"])  # type: ignore[call-overload]
        return {
            **recipe,
            "guard": "stop",
            **self.overrides,
            **own,
            "model": model,
            "data": data,
            "seed": seed,
        }


def suite_names() -> list[str]:
    """Return the names of the suites that ship with the package."""
    return sorted(file.stem for file in resource("configs", "suites").glob("*.yaml"))


def schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schemas of suites and scenarios, with which editors complete and validate."""
    suite = _described(Suite)
    properties = suite["properties"]
    names = {"enum": scenario_names()}
    properties["control"] |= names
    for key in ("causes", "remedies"):
        properties[key]["items"] |= names
    properties["arms"]["items"] = {
        "anyOf": [names, {"type": "string", "pattern": r"^[a-z0-9-]+\+[a-z0-9-]+$"}]
    }
    del properties["arms"]["default"]
    suite["anyOf"] = [{"required": ["arms"]}, {"required": ["causes", "remedies"]}]
    scenario = _described(Scenario)
    for keys in (
        properties["overrides"],
        scenario["properties"]["overrides"],
        scenario["properties"]["tasks"]["additionalProperties"],
    ):
        keys["properties"] = {name: {"$ref": f"#/$defs/{name}"} for name in OWN_KEYS}
    for schema in (suite, scenario):
        schema["$defs"] |= option_schemas()
    return {"suite": suite, "scenario": scenario}


def option_schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of each yolo_stability option, for scenario and suite files."""
    fields = StabilitySettings.model_json_schema()["properties"]
    found = {}
    for name, key in OWN_KEYS.items():
        schema = {part: value for part, value in fields[name].items() if part != "title"}
        if key.bare is not None:
            default = schema.pop("default")
            schema = {"anyOf": [schema, {"const": key.bare[0]}], "default": default}
        found[name] = {**schema, "description": f"{key.help}: {key.valid}."}
    return found


def _described(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of a model, with descriptions from its docstring for editors."""
    schema = model.model_json_schema()
    kinds = [
        k for f in model.model_fields.values() for k in (f.annotation, *get_args(f.annotation))
    ]
    parts = [k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)]
    for kind, content in (
        (model, schema),
        *((part, schema["$defs"][part.__name__]) for part in parts),
    ):
        text = inspect.cleandoc(kind.__doc__ or "")
        content["description"] = text.splitlines()[0]
        for key, words in re.findall(r"^    (\w+): (.+(?:\n     +.+)*)", text, re.MULTILINE):
            content["properties"][key]["description"] = " ".join(words.split())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def load_suite(name: str) -> Suite:
    """Read a suite by name, or from a user's YAML file.

    Args:
        name: Name of a shipped suite, or a path that ends in `.yaml` or `.yml`.

    Raises:
        ConfigError: The suite does not exist, or is invalid; the message lists all errors with
            their paths.
    """
    path = Path(name)
    if path.suffix in {".yaml", ".yml"}:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"suite={name} cannot be read: {error}. "
                f"Shipped suites are {', '.join(suite_names())}."
            ) from None
        return _checked(load_yaml(text, name), name)
    if name not in suite_names():
        raise ConfigError(
            f"No suite '{name}'.{nearest(name, suite_names())} "
            f"Shipped suites are {', '.join(suite_names())}."
        )
    return _checked(
        load_yaml(resource("configs", "suites", f"{name}.yaml").read_text(encoding="utf-8"), name),
        name,
    )


def _checked(content: Mapping[str, Any], where: str) -> Suite:
    """Validate the content of a suite."""
    try:
        return Suite.model_validate(dict(content))
    except ValidationError as error:
        problems = "; ".join(_problem(detail) for detail in error.errors())
        end = "" if problems.endswith((".", "?")) else "."
        raise ConfigError(f"{where}: {problems}{end}") from None


def _problem(detail: Any) -> str:
    """Return an error of pydantic as a message with its path."""
    path = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"{path}: unknown key.{nearest(str(detail['loc'][-1]), Suite.model_fields)}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{path}: {message}" if path else message
