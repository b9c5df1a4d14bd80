"""The settings that differ between the arms and the control."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from yolo_stability.core.text import clean, listing, setting
from yolo_stability.report.outline import Outline

__all__ = ["Difference", "differences", "flatten"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A setting of an arm that differs from the control; `where` is empty for all tasks."""

    arm: str
    key: str
    control: str
    value: str
    where: str


def differences(outline: Outline) -> tuple[Difference, ...]:
    """Return the effective settings of arms that differ from the control, without repetitions."""
    found: dict[tuple[str, str, str, str], list[str]] = {}
    ran: Counter[str] = Counter()
    for group in outline.groups:
        for section in group.sections:
            if not section.runs or not section.control:
                continue
            ran[section.arm.name] += 1
            there, here = section.control[0][0].effective, section.runs[0][0].effective
            for key in sorted({*there, *here} - _PLACES):
                old, new = (
                    setting(side[key]) if key in side else "not set" for side in (there, here)
                )
                if old != new:
                    found.setdefault((section.arm.name, key, old, new), []).append(group.title)
    return tuple(
        Difference(
            arm=clean(arm),
            key=clean(key),
            control=old,
            value=new,
            where="" if len(where) == ran[arm] else listing(where),
        )
        for (arm, key, old, new), where in found.items()
    )


def flatten(values: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Flatten nested values to pairs of name and text.

    Examples:
        >>> flatten({"versions": {"torch": "2.8.0"}, "seed": 0})
        [('versions.torch', '2.8.0'), ('seed', '0')]
    """
    lines: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            lines += flatten(value, f"{prefix}{clean(key)}.")
        else:
            lines.append((f"{prefix}{clean(key)}", setting(value)))
    return lines


# these differ between any two runs
_PLACES = frozenset({"name", "project", "save_dir", "seed", "exist_ok", "resume"})
