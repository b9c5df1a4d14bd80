"""Readers of untrusted files return a result or one sentence: nothing is run, nothing hangs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from mutants import outcomes
from readers import BANG, DOES, READERS

from yolo_stability import api

SECONDS = 30
"""Time limit of the slowest mutant, in seconds, on a busy machine."""
CASES = [pytest.param(name, READERS[name][1], id=name) for name in READERS] + [
    pytest.param(name, READERS[name][2], id=f"{name}, {READERS[name][2]:,}", marks=pytest.mark.full)
    for name in READERS
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a working folder; check that nothing is written beside it and no payload runs."""
    place = tmp_path / "in" / "here"
    place.mkdir(parents=True)
    monkeypatch.chdir(place)
    monkeypatch.setenv("YOLO_STABILITY_CACHE", str(place / "cache"))
    for name in DOES:  # what a reader stubs out is put back
        monkeypatch.setattr(api, name, getattr(api, name))
    yield place
    assert not list(tmp_path.rglob(BANG.name))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["here"]


@pytest.mark.parametrize(("name", "mutants"), CASES)
def test_a_mutant_is_read_or_told_in_one_sentence(
    name: str, mutants: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read = READERS[name][0](folder)

    counts = outcomes(mutants, read)
    assert counts.pop("seconds") < SECONDS
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    if file := os.environ.get("FUZZ_COUNTS"):
        with Path(file).open("a", encoding="utf-8") as log:
            log.write(json.dumps({"reader": name, "mutants": mutants, **counts}) + "\n")


def test_the_counts_in_the_documentation_are_these() -> None:
    page = Path(__file__).parents[2] / "docs" / "pages" / "measured" / "hostile-files.md"
    text = page.read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\w. ]+) \| ([\d,]+) \| ([\d,]+) \|$", text, re.MULTILINE)
    sums = [sum(case[i] for case in READERS.values()) for i in (1, 2)]
    expected = {name: (quick, whole) for name, (_, quick, whole) in READERS.items()} | {
        "all": (sums[0], sums[1])
    }
    assert {
        name: tuple(int(n.replace(",", "")) for n in numbers) for name, *numbers in rows
    } == expected
