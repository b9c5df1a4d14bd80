"""What the figures say: whether the goal is met, and whether one build is dearer than another.

What is clocked decides, since only that can be measured to a tenth of a percent on a busy machine. The rest of the step
counts as soon as it is slower beyond its own noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from estimate import Estimate, Row
from table import from_json, percent, ratio
from variants import BUILDS, FULL

GOAL = 1.02
ENOUGH_TURNS = 20
MARGIN = 0.001  # share of a step below which a difference does not matter
MET, MISSED, OPEN = "within the goal", "over the goal", "cannot tell"
DEARER, CHEAPER, SAME = "dearer", "cheaper", "no different"
MISSED_CODE, OPEN_CODE = 3, 4
CHANGED = dict(zip(BUILDS, (SAME, DEARER, CHEAPER), strict=True))
"""What the bench must find out about each build."""


def counted(row: Row) -> Estimate:
    """Return the ratio that is held against the goal; on another device than a CPU it is the one by the time of day."""
    if row.clocked is None or row.rest is None:
        return row.wall
    slower = max(0.0, row.rest.low)
    return Estimate(row.clocked.value + slower, row.clocked.low + slower, row.clocked.high + slower)


def goal_of(found: Estimate) -> str:
    """Return whether a ratio is within the goal."""
    if found.high <= GOAL:
        return MET
    return MISSED if found.low > GOAL else OPEN


def difference(new: Estimate, old: Estimate) -> Estimate:
    """Return new minus old; both intervals enter, as those of independent figures."""
    value = new.value - old.value
    low = value - math.hypot(new.value - new.low, old.high - old.value)
    high = value + math.hypot(new.high - new.value, old.value - old.low)
    return Estimate(value, low, high)


def compared(new: Row, old: Row) -> tuple[str, Estimate, Estimate]:
    """Return whether a build is dearer than another, with the difference of what is clocked and that of the rest.

    Args:
        new: Its row.
        old: The row of the build that it is held against.
    """
    assert new.clocked and old.clocked and new.rest and old.rest  # noqa: PT018 - both are ours
    clocked, rest = difference(new.clocked, old.clocked), difference(new.rest, old.rest)
    if clocked.low > MARGIN or rest.low > MARGIN:
        return DEARER, clocked, rest
    if clocked.high < -MARGIN or rest.high < -MARGIN:
        return CHEAPER, clocked, rest
    wide = clocked.high - clocked.low > 4 * MARGIN
    return (OPEN if wide else SAME), clocked, rest


def build_line(new: Row, old: Row) -> str:
    """Return the verdict on a build in words."""
    word, clocked, rest = compared(new, old)
    return (
        f"{new.variant}: {goal_line(new)}; {word}: {percent(clocked)} of a step, "
        f"and of the rest of the step {percent(rest)}"
    )


def goal_line(row: Row) -> str:
    """Return a ratio and whether it is within the goal, in words."""
    if row.turns < ENOUGH_TURNS or row.unseen:
        return f"{ratio(counted(row))}, too few turns ({row.turns}): {OPEN}"
    return f"{ratio(counted(row))}, {goal_of(counted(row))} of {GOAL}"


def goal_code(cases: Sequence[Mapping[str, Any]]) -> int:
    """Print whether each case meets the goal with everything on; return the exit code.

    Args:
        cases: As they are written to the file.
    """
    words = []
    for case in cases:
        row = full_row(case)
        few = row.turns < ENOUGH_TURNS or row.unseen
        words.append(OPEN if few else goal_of(counted(row)))
        print(f"{case['title']}: {goal_line(row)}")
    if MISSED in words:
        return MISSED_CODE
    return OPEN_CODE if OPEN in words else 0


def builds_code(cases: Sequence[Mapping[str, Any]]) -> int:
    """Print the verdict on each build; return 0 if the bench saw all that was changed, and nothing else.

    Args:
        cases: As they are written to the file.
    """
    seen = []
    for case in cases:
        default = full_row(case)
        print(f"{case['title']}\n{default.variant}: {goal_line(default)}")
        for row in map(from_json, case["rows"]):
            if row.variant in CHANGED:
                print(build_line(row, default))
                seen.append(compared(row, default)[0] == CHANGED[row.variant])
    return 0 if all(seen) else OPEN_CODE


def full_row(case: Mapping[str, Any]) -> Row:
    """Return the row of the default."""
    return next(from_json(row) for row in case["rows"] if row["variant"] == FULL)


def compare_files(old: Mapping[str, Any], new: Mapping[str, Any]) -> int:
    """Print how the default of one file compares with that of another, case by case; return the exit code.

    Args:
        old: What the bench wrote of the build to compare with.
        new: What it wrote of the other build.
    """
    before = {case["title"]: full_row(case) for case in old["cases"]}
    words = []
    for case in new["cases"]:
        if case["title"] in before:
            row = full_row(case)
            words.append(compared(row, before[case["title"]])[0])
            print(f"{case['title']}: {build_line(row, before[case['title']])}")
    if not words:
        print("The two files have no case in common.")
        return OPEN_CODE
    if DEARER in words:
        return MISSED_CODE
    return OPEN_CODE if OPEN in words else 0
