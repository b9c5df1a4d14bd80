"""The table of 24 data sets: each finding once, with its count and an example, and silence where it is right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from data_set_builders import DAMAGED, HARMLESS, DataSet

from yolo_stability.data.check.check import check_data
from yolo_stability.data.check.findings import KINDS
from yolo_stability.data.check.report import AuditReport


def loud(report: AuditReport) -> list[tuple[str, str, str]]:
    """Return severity, split and kind of all that is not info; what the scan itself lists is implied by its cause."""
    return [
        (f.severity, f.split, f.kind)
        for f in report.found
        if f.severity != "info" and f.kind not in KINDS
    ]


def answer(given: DataSet, root: Path) -> AuditReport:
    report = check_data(given.build(root), given.task)
    json.dumps(report.to_json())
    assert all(len(line) <= 80 or str(root) in line for line in report.lines())
    return report


def test_there_are_24() -> None:
    assert (len(DAMAGED), len(HARMLESS)) == (14, 10)


@pytest.mark.parametrize("given", DAMAGED, ids=lambda given: given.build.__name__)
def test_damage_is_found_once_with_its_count_and_example(given: DataSet, tmp_path: Path) -> None:
    report = answer(given, tmp_path / "set")
    assert report.damaged
    assert {kind for _, _, kind in loud(report)} == {given.kind}
    (found,) = [f for f in report.found if (f.kind, f.split) == (given.kind, given.split)]
    assert found.severity == "damage"
    assert found.of == given.of
    assert found.count == given.count or (
        given.count == -1 and given.of / 3 <= found.count <= given.of
    )
    shown = found.to_json()
    assert given.names in " ".join([*shown["examples"], shown["message"]])
    assert shown["message"].startswith(f"{found.split}: {found.count}")


@pytest.mark.parametrize("given", HARMLESS, ids=lambda given: given.build.__name__)
def test_odd_but_harmless_sets_stay_silent(given: DataSet, tmp_path: Path) -> None:
    report = answer(given, tmp_path / "set")
    assert not report.damaged
    expected = [(given.severity, given.split, given.kind)] if given.kind else []
    assert loud(report) == expected
