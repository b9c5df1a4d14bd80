"""Checks the arguments of a frontier before the first run: axis, ends, settings, seeds, recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from yolo_stability.benchmarks.run_validator import RunValidator
from yolo_stability.benchmarks.scenario import load_scenario
from yolo_stability.benchmarks.suite import Limits
from yolo_stability.compat.cfg import DEFAULT_CFG_DICT, check_keys
from yolo_stability.config import OWN_KEYS
from yolo_stability.core.errors import ConfigError
from yolo_stability.core.ignored_settings import ignored_by_auto
from yolo_stability.core.suggestions import nearest
from yolo_stability.studies.frontier.bisection import log_values, steps_for, whole_values
from yolo_stability.studies.frontier.grid import Setting, make_grid, split_values

__all__ = ["SEARCH_KEYS", "Request", "make_request"]

SEARCH_KEYS = (
    "axis",
    "from",
    "to",
    "resolution",
    "grid",
    "seeds",
    "jobs",
    "executor",
    "address",
    "out",
)
"""Keys of the search on the command line; in Python, `from` is `start` and `to` is `end`."""

CONTROL = "control"
RESOLUTION = 1.5
_SET_HERE = frozenset(
    {"seed", "project", "name", "exist_ok", "resume", "save_dir", "mode", "fail_on", "cfg"}
)
_ONE_VALUE = frozenset({"data", "device"})
# default of `to`, as a multiple of `from`
_REACH = {
    "lr_mult": 1e3,
    "lr0": 1e3,
    "weight_decay": 1e4,
    "depth_mult": 4.0,
}
_LAST = {"batch": 1.0}  # default of `to`: the small end is unstable
_MOST_VALUES, _MOST_SEEDS = 1000, 1000
_EXAMPLES = "lr_mult, lr0, batch or depth_mult"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The checked arguments of a search.

    Attributes:
        axis: The key that is varied.
        whole: Whether it takes only whole numbers.
        values: The values that may be probed, stable end first.
        resolution: The requested largest factor between adjacent values; None for a full grid.
        mode: `bisection`, or `grid` for all values.
        task: detect or pose.
        recipe: The keys that all runs share.
        settings: The grid of settings.
        seeds: Seeds of the runs.
        limits: Limits of each run.
    """

    axis: str
    whole: bool
    values: tuple[float, ...]
    resolution: float | None
    mode: Literal["bisection", "grid"]
    task: str
    recipe: Mapping[str, Any]
    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]
    limits: Limits = field(default_factory=Limits)

    def arguments(self, setting: Setting, place: int, seed: int) -> dict[str, Any]:
        """Return all keys of one run.

        Args:
            setting: The setting.
            place: Position of the value in `values`.
            seed: The seed.
        """
        value = self.values[place]
        own = {self.axis: int(value) if self.whole else value, "seed": seed, "fail_on": "critical"}
        return {**self.recipe, **setting.overrides, **own}


def make_request(
    axis: str,
    *,
    task: str | None = None,
    start: float | None = None,
    end: float | None = None,
    resolution: float | None = None,
    grid: int | None = None,
    seeds: int | Sequence[int] = 1,
    **overrides: Any,
) -> Request:
    """Check the arguments of `yolo_stability.frontier`.

    Raises:
        ConfigError: A key or value is invalid.
    """
    whole = _check_axis(axis)
    for key in sorted(_SET_HERE & set(overrides)):
        raise ConfigError(
            f"'frontier' sets {key}= for each run. Remove {key}=.{nearest(key, SEARCH_KEYS)}"
        )
    if axis in overrides:
        raise ConfigError(
            f"{axis} is the axis, but also has a value. Remove {axis}=, or set its ends with from= "
            "and to=."
        )
    validator = RunValidator()
    overrides = _check_names(overrides)
    axes = {key: split_values(key, typed) for key, typed in overrides.items()}
    task = task or ("pose" if "-pose" in str(axes.get("model", [""])[0]) else "detect")
    shared = {**load_scenario(CONTROL).arguments(task), "guard": "stop", "incidents": 0}
    shared.update({key: values[0] for key, values in axes.items() if len(values) == 1})
    shared = {key: value for key, value in shared.items() if key not in {axis, "seed"}}
    shared = _normalized(validator, shared)
    several = {key: values for key, values in axes.items() if len(values) > 1}
    settings = make_grid(
        {k: [_normalized(validator, {k: v})[k] for v in values] for k, values in several.items()}
    )
    standard = {**DEFAULT_CFG_DICT, **{k: own.default for k, own in OWN_KEYS.items()}}
    default = load_scenario(CONTROL).arguments(task).get(axis, standard[axis])
    first, last = _ends(axis, default, start, end, whole=whole)
    if grid is not None and resolution is not None:
        raise ConfigError(
            "grid= and resolution= exclude each other: grid= already sets the number of values. "
            "Remove one of them."
        )
    request = Request(
        axis=axis,
        whole=whole,
        values=_spread(first, last, resolution, whole=whole)
        if grid is None
        else log_values(first, last, _counted(grid), whole=whole),
        resolution=(resolution or RESOLUTION) if grid is None else None,
        mode="bisection" if grid is None else "grid",
        task=task,
        recipe=shared,
        settings=settings,
        seeds=_seeds(seeds),
    )
    for setting in settings:
        _check_runs(validator, request, setting)
    return request


def _axes() -> dict[str, bool]:
    """Return all keys that can be an axis, and whether each takes only whole numbers."""
    known = {**DEFAULT_CFG_DICT, **{name: key.default for name, key in OWN_KEYS.items()}}
    numbers = {
        k: v for k, v in known.items() if isinstance(v, int | float) and not isinstance(v, bool)
    }
    return {key: isinstance(value, int) for key, value in numbers.items() if key not in _SET_HERE}


def _check_axis(axis: Any) -> bool:
    """Return whether the axis takes only whole numbers; raise ConfigError for an invalid axis."""
    axes = _axes()
    if isinstance(axis, str) and axis in axes:
        return axes[axis]
    if not isinstance(axis, str) or "," in axis:
        named = (
            axis
            if isinstance(axis, str)
            else ",".join(map(str, axis))
            if isinstance(axis, list | tuple)
            else axis
        )
        raise ConfigError(
            f"Invalid value axis={named}: expected one key. Search along one key at a time."
        )
    if axis in {*OWN_KEYS, *DEFAULT_CFG_DICT}:
        why = "is set for each run" if axis in _SET_HERE else "does not take a number"
        raise ConfigError(
            f"Invalid value axis={axis}: {axis} {why}. Expected a numeric key, such as {_EXAMPLES}."
        )
    hint = nearest(axis, axes)
    raise ConfigError(
        f"Invalid value axis={axis}: no such key.{hint} Expected a numeric key, such as "
        f"{_EXAMPLES}."
    )


def _check_names(overrides: dict[str, Any]) -> dict[str, Any]:
    """Return the keys under their current names; raise ConfigError for unknown or multiple ones."""
    known = check_keys(overrides, (*OWN_KEYS, *SEARCH_KEYS))
    if "rescue" in known and known["rescue"] not in {"off", False}:
        raise ConfigError(
            f"Invalid value rescue={known['rescue']}: a frontier measures the stability of the "
            "recipe without rescues. Remove rescue=."
        )
    for key in sorted(_ONE_VALUE & set(known)):
        if isinstance(known[key], list) or len(split_values(key, known[key])) > 1:
            raise ConfigError(
                f"Invalid value {key}={known[key]}: expected a single value in a frontier."
            )
    return known


def _normalized(validator: RunValidator, keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys with validated values, in the same order."""
    checked = validator.settings(keys).model_dump()
    checked |= validator.values({k: v for k, v in keys.items() if k not in OWN_KEYS})
    return {key: checked[key] for key in keys}


def _ends(axis: str, default: Any, start: Any, end: Any, *, whole: bool) -> tuple[float, float]:
    """Return the stable end and the other end of the axis."""
    for key, value in (("from", start), ("to", end)):
        if value is not None and not _is_positive(value, whole=whole):
            kind = (
                "a whole number, 1 or more"
                if whole
                else "a number above 0, because the search is logarithmic"
            )
            raise ConfigError(f"Invalid value {key}={value}: expected {kind}.")
    first = default if start is None else start
    if not _is_positive(first, whole=whole):
        raise ConfigError(
            f"axis={axis} starts at {first} in the recipe. Set from=, the stable end, to a number "
            "above 0."
        )
    if end is None and axis not in {*_REACH, *_LAST}:
        raise ConfigError(
            f"axis={axis} needs to=, the end at which training may be unstable; from= is {first:g}."
        )
    last = _LAST.get(axis, first * _REACH.get(axis, 1.0)) if end is None else end
    if first == last:
        raise ConfigError(
            f"from={first:g} and to={last:g} are equal. Set to= to the end at which training may "
            "be unstable."
        )
    return float(first), float(last)


def _is_positive(value: Any, *, whole: bool) -> bool:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or value <= 0
    ):
        return False
    return not whole or float(value).is_integer()


def _spread(first: float, last: float, resolution: Any, *, whole: bool) -> tuple[float, ...]:
    """Return the values for a given resolution."""
    factor = RESOLUTION if resolution is None else resolution
    if not _is_positive(factor, whole=False) or factor <= 1:
        raise ConfigError(
            f"Invalid value resolution={factor}: expected a factor above 1, such as 1.25."
        )
    steps = steps_for(first, last, factor)
    if steps >= _MOST_VALUES:
        raise ConfigError(
            f"Invalid value resolution={factor}: from={first:g} to={last:g} would need {steps} "
            f"values, at most {_MOST_VALUES} are allowed. Use a larger factor."
        )
    return whole_values(first, last, factor) if whole else log_values(first, last, steps)


def _counted(grid: Any) -> int:
    """Return the number of factors between the values of a full grid."""
    if not _is_positive(grid, whole=True) or not 2 <= grid <= _MOST_VALUES:
        raise ConfigError(
            f"Invalid value grid={grid}: expected a number of values from 2 to {_MOST_VALUES}."
        )
    return int(grid) - 1


def _seeds(seeds: Any) -> tuple[int, ...]:
    """Return the seeds: the given number from 0, or those of a list."""
    if isinstance(seeds, list | tuple):
        if seeds and all(isinstance(s, int) and not isinstance(s, bool) and s >= 0 for s in seeds):
            return tuple(dict.fromkeys(seeds))
    elif isinstance(seeds, int) and not isinstance(seeds, bool) and 1 <= seeds <= _MOST_SEEDS:
        return tuple(range(seeds))
    raise ConfigError(
        f"Invalid value seeds={seeds}: expected a number from 1 to {_MOST_SEEDS}, or a list such "
        "as seeds=[3,4,5]."
    )


def _check_runs(validator: RunValidator, request: Request, setting: Setting) -> None:
    """Raise ConfigError before the first run for keys with which every run would fail."""
    for place in (0, len(request.values) - 1):
        keys = request.arguments(setting, place, 0)
        validator.model(str(keys["model"]), request.task)
        validator.run(keys)
        ignored = ignored_by_auto(keys)
        if ignored and request.axis in {"lr0", "momentum"}:
            raise ConfigError(f"axis={request.axis} would have no effect: {ignored}")
