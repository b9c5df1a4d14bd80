"""A suite: which arms are compared, on what, how often; everything a benchmark runs, nothing hidden in code."""

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
    """What a single run may use before it is ended and counted as a result.

    Attributes:
        minutes: Wall time of a run.
        gigabytes: Resident memory of a run.
        zero_loss_steps: Batches in a row with a loss of exactly 0 after which a run is stopped at the end of its epoch.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    minutes: Annotated[float, Field(gt=0)] = 15.0
    gigabytes: Annotated[float, Field(gt=0)] = 8.0
    zero_loss_steps: Annotated[int, Field(ge=1)] = 16


class Suite(BaseModel):
    """A benchmark to run.

    Attributes:
        schema_version: Of this kind of file.
        name: Name of the suite.
        description: What it asks, in one sentence.
        control: The arm that all others are measured against; its scenario is the recipe that all arms share.
        arms: Names of scenarios, or of two with a `+` between: the keys of the second go over those of the first. With
            causes and remedies they may be left out: the control, each cause, each remedy on the healthy recipe, and
            each cause with each remedy, but none that would only repeat an earlier one.
        causes: Scenarios that destabilise: rows of a matrix.
        remedies: Scenarios that may help: its columns.
        tasks: detect, pose or both.
        seeds: How many seeds, counted from 0.
        models: Model by task; that of the control's scenario where absent.
        data: Dataset by task; that of the control's scenario where absent.
        overrides: Keys of Ultralytics and ours for every arm, over the recipe and under the arm.
        limits: Limits of each run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    schema_version: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    description: str = ""
    control: str
    arms: Annotated[list[str], Field(min_length=1)] = []  # as the file is checked, none is refused
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
        """Check what pydantic cannot know: that arms are scenarios and the control is among them."""
        complaints = [*self._unknown(), *self._unfit()]
        if not complaints and not self.arms:
            object.__setattr__(self, "arms", self.crossing())  # still being made
        complaints += [
            f"arms: '{arm}' is there twice"
            for arm in sorted({a for a in self.arms if self.arms.count(a) > 1})
        ]
        if self.arms and self.control not in self.arms:
            complaints.append(
                f"control: '{self.control}' is not among the arms {', '.join(self.arms)}"
            )
        if complaints:
            raise ValueError("; ".join(complaints))
        return self

    def _unknown(self) -> list[str]:
        """Return a complaint for each name that is no scenario."""
        lists = {"arms": self.arms, "causes": self.causes, "remedies": self.remedies}
        names = [*scenario_names(), *crossed_names(self.control, self.causes, self.remedies)]
        return [
            f"{key}: there is no scenario '{name}'.{nearest(name, [n for n in names if is_arm(n)])}"
            for key, listed in lists.items()
            for name in listed
            if not is_arm(name) or (key != "arms" and SIGN in name)
        ]

    def _unfit(self) -> list[str]:
        """Return a complaint for each way in which causes and remedies make no matrix."""
        if not (self.causes or self.remedies):
            return [] if self.arms else ["arms: Field required"]
        complaints = (
            [] if self.causes and self.remedies else ["causes and remedies: a matrix needs both"]
        )
        if self.control not in scenario_names():
            complaints.append(
                f"control: there is no scenario '{self.control}'.{nearest(self.control, scenario_names())}"
            )
        for key, kind, listed in (
            ("causes", "cause", self.causes),
            ("remedies", "remedy", self.remedies),
        ):
            known = [name for name in listed if name in scenario_names()]
            complaints += [
                f"{key}: '{name}' is no {kind}"
                for name in known
                if load_scenario(name).kind != kind
            ]
            complaints += [
                f"{key}: '{name}' is there twice"
                for name in sorted({n for n in known if known.count(n) > 1})
            ]
        return complaints

    def crossing(self) -> list[str]:
        """Return the arms that causes and remedies ask for, without those that would only repeat an earlier one."""
        return list(dict.fromkeys(self.stand_ins().values()))

    def stand_ins(self) -> dict[str, str]:
        """Return, for each arm of the matrix, the first one whose runs are told the same: itself, or what it repeats.

        A remedy that sets what holds anyway repeats the cause alone; one that takes all of a cause back repeats the
        remedy alone.
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
        """Return the suite with some fields replaced, checked as if they had been in the file.

        Args:
            changes: Fields by name.

        Raises:
            ConfigError: A value is impossible.
        """
        content = self.model_dump()
        if self.causes and self.arms == self.crossing():
            del content["arms"]  # which of them repeat each other may change
        return _checked({**content, **changes}, f"suite '{self.name}'")

    def settings(self, arm: str, task: str, seed: int) -> dict[str, Any]:
        """Return every key of one run: the recipe, under the suite's overrides, under those of the arm.

        Args:
            arm: Name of the arm.
            task: detect or pose.
            seed: The seed.
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
    """Return the JSON Schemas of the files that people write, by kind of file; editors complete and check with them."""
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
    """Return the JSON Schema of each own key, for the files of scenarios and suites."""
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
    """Return the JSON Schema of a model, with what its docstring says about each key, for editors to show."""
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
        for key, said in re.findall(r"^    (\w+): (.+(?:\n     +.+)*)", text, re.MULTILINE):
            content["properties"][key]["description"] = " ".join(said.split())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def load_suite(name: str) -> Suite:
    """Read a suite by name, or from a YAML file of the user.

    Args:
        name: Name of a shipped suite, or a path that ends in `.yaml`.

    Raises:
        ConfigError: There is none, or it says something impossible; all complaints at once, with their paths.
    """
    path = Path(name)
    if path.suffix in {".yaml", ".yml"}:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"suite={name} cannot be read: {error}. Suites here: {', '.join(suite_names())}."
            ) from None
        return _checked(load_yaml(text, name), name)
    if name not in suite_names():
        raise ConfigError(
            f"No suite '{name}'.{nearest(name, suite_names())} There are {', '.join(suite_names())}."
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
        told = "; ".join(_complaint(detail) for detail in error.errors())
        raise ConfigError(f"{where}: {told.removesuffix('.')}.") from None


def _complaint(detail: Any) -> str:
    """Say what is wrong with one value, with its path."""
    path = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"{path}: there is no such key{nearest(str(detail['loc'][-1]), Suite.model_fields).rstrip()}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{path}: {message}" if path else message
