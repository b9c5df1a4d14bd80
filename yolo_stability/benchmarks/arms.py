"""Arms that combine a cause with a remedy.

`no-norm+group-norm` is the scenario `no-norm` with the keys of `group-norm` on top.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from yolo_stability.benchmarks.scenario import Scenario, load_scenario, scenario_names
from yolo_stability.config import is_default

__all__ = [
    "SIGN",
    "arm_scenario",
    "canonical_settings",
    "crossed_names",
    "is_arm",
    "overridden_keys",
]

SIGN = "+"
"""Separator of cause and remedy in the name of an arm, which is also a folder name."""


def arm_parts(arm: str) -> tuple[str, str | None]:
    """Return the names of an arm's scenarios; the second is None for an arm of one scenario."""
    first, sign, second = arm.partition(SIGN)
    return first, second if sign else None


def is_arm(name: str) -> bool:
    """Return whether a name is a scenario, or a combination of two scenarios."""
    known = scenario_names()
    first, second = arm_parts(name)
    return first in known and (second is None or second in known)


@cache  # called once per run by `make_plan`
def arm_scenario(arm: str) -> Scenario:
    """Return the scenario of an arm.

    Args:
        arm: Name of a scenario, or of two joined by `+`; keys of the second override those of
            first.

    Raises:
        ConfigError: There is no such scenario.
    """
    first, second = arm_parts(arm)
    return (
        load_scenario(first)
        if second is None
        else _over(load_scenario(first), load_scenario(second))
    )


def crossed_names(control: str, causes: Sequence[str], remedies: Sequence[str]) -> Iterator[str]:
    """Yield the names of all arms of a matrix: control, causes, remedies, every pair."""
    yield from (control, *causes, *remedies)
    yield from (f"{cause}{SIGN}{remedy}" for cause in causes for remedy in remedies)


def overridden_keys(cause: Scenario, remedy: Scenario, task: str) -> list[str]:
    """Return the keys of a cause that a remedy overrides, the part of the cause it removes.

    Args:
        cause: Scenario of the cause.
        remedy: Scenario of the remedy.
        task: detect or pose.
    """
    own, other = (scenario.arguments(task, partial=True) for scenario in (cause, remedy))
    return [key for key, value in own.items() if key in other and other[key] != value]


def canonical_settings(runs: Iterable[Mapping[str, Any]]) -> str:
    """Return the settings of runs as one text, independent of keys set to their defaults."""
    changed = [{k: v for k, v in run.items() if not is_default(k, v)} for run in runs]
    return json.dumps(changed, sort_keys=True, default=str)


def _over(cause: Scenario, remedy: Scenario) -> Scenario:
    """Return a cause combined with a remedy.

    The remedy's keys for all tasks also override the cause's keys for a single task.

    Args:
        cause: Scenario of the cause.
        remedy: Scenario of the remedy.
    """
    tasks = {
        task: {k: v for k, v in cause.tasks.get(task, {}).items() if k not in remedy.overrides}
        | remedy.tasks.get(task, {})
        for task in dict.fromkeys((*cause.tasks, *remedy.tasks))
    }
    return Scenario(
        name=f"{cause.name}{SIGN}{remedy.name}",
        description=f"{cause.description} Remedy: {remedy.description}",
        kind="both",
        claim=remedy.claim,
        overrides={**cause.overrides, **remedy.overrides},
        tasks=tasks,
    )
