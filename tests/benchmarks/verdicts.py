"""What the figures say: whether the goal is met, and whether one build is dearer than another.

What is clocked decides, since only that can be measured to a tenth of a percent on a busy machine.
The rest of the step counts as soon as it is slower beyond its own noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from estimate import CLOCKED, REST, Estimate, Row
from table import from_json, percent, ratio
from variants import BUILDS, FULL

GOAL = 1.02
ENOUGH_TURNS = 20
MARGIN = 0.001  # share of a step below which a difference does not matter
RESOLUTION = 0.003  # half width of an interval beyond which "no different" would say nothing
WIDER = 1.5  # of the interval of each part: there are ten of them, and none may cry wolf
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


def clear(found: Estimate) -> bool:
    """Return whether a difference is beyond its own noise, and matters."""
    low = found.value - WIDER * (found.value - found.low)
    high = found.value + WIDER * (found.high - found.value)
    return (low > 0 or high < 0) and abs(found.value) > MARGIN


@dataclass(frozen=True)
class Verdict:
    """How one build compares with another.

    Attributes:
        word: Dearer, cheaper, no different, or that it cannot be said.
        clocked: By how much what is clocked differs, as a share of a step.
        parts: The parts that differ clearly, and by how much.
    """

    word: str
    clocked: Estimate
    parts: Mapping[str, Estimate]

    @classmethod
    def of(cls, clocked: Estimate, parts: Mapping[str, Estimate]) -> Verdict:
        """Return the verdict: the sum of the parts that differ clearly decides.

        Args:
            clocked: By how much what is clocked differs.
            parts: The same by part, and the rest of the step.
        """
        sure = {part: found for part, found in parts.items() if clear(found)}
        total = sum(found.value for found in sure.values())
        vague = max(clocked.high - clocked.value, clocked.value - clocked.low) > RESOLUTION
        same = OPEN if vague else SAME
        word = DEARER if total > MARGIN else CHEAPER if total < -MARGIN else same
        return cls(word, clocked, sure)

    def __str__(self) -> str:
        parts = ", ".join(f"{part} {percent(found)}" for part, found in self.parts.items())
        return f"{self.word}: {percent(self.clocked)} of a step{f' ({parts})' if parts else ''}"


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


def verdicts_on(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Return the verdict on each changed build, held against the default in the same turns.

    Args:
        rows: Of one case.
    """
    default = next(row for row in rows if row.variant == FULL)
    found = {}
    for row in rows:
        if row.variant in CHANGED:
            parts = {
                part: Estimate.of(row.draws[part] - default.draws[part])
                for part in default.draws
                if part in row.draws
            }
            found[row.variant] = asdict(Verdict.of(parts.pop(CLOCKED), parts))
    return found


def verdict_on_files(new: Row, old: Row) -> Verdict:
    """Return the verdict on a build that was measured by itself.

    Args:
        new: Its row.
        old: That of the build to compare with.
    """
    assert new.clocked and old.clocked and new.rest and old.rest  # noqa: PT018 - both are ours
    none = Estimate(0.0, 0.0, 0.0)
    parts = {
        part: difference(new.parts.get(part, none), old.parts.get(part, none))
        for part in {**old.parts, **new.parts}
    }
    parts[REST] = difference(new.rest, old.rest)
    return Verdict.of(difference(new.clocked, old.clocked), parts)


def builds_code(cases: Sequence[Mapping[str, Any]]) -> int:
    """Print the verdict on each build; return 0 if the bench saw all that was changed, and nothing else.

    Args:
        cases: As they are written to the file.
    """
    seen = []
    for case in cases:
        print(f"{case['title']}\n{FULL}: {goal_line(full_row(case))}")
        for row in map(from_json, case["rows"]):
            if row.variant in CHANGED:
                verdict = verdict_from_json(case["verdicts"][row.variant])
                print(f"{row.variant}: {goal_line(row)}; {verdict}")
                seen.append(verdict.word == CHANGED[row.variant])
    return 0 if all(seen) else OPEN_CODE


def verdict_from_json(data: Mapping[str, Any]) -> Verdict:
    """Return a verdict from plain data."""
    parts = {part: Estimate(**found) for part, found in data["parts"].items()}
    return Verdict(data["word"], Estimate(**data["clocked"]), parts)


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
            verdict = verdict_on_files(row, before[case["title"]])
            words.append(verdict.word)
            print(f"{case['title']}: {goal_line(row)}; {verdict}")
    if not words:
        print("The two files have no case in common.")
        return OPEN_CODE
    if DEARER in words:
        return MISSED_CODE
    return OPEN_CODE if OPEN in words else 0
