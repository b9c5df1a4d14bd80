"""What was measured has a page of its own: claim, result, command, date and machine, and what it does not show."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from printed import FENCE, PAGES
from test_docs import COMMAND, MEASURED, WRITTEN

PAGES_MEASURED = sorted(
    path for path in (PAGES / "measured").glob("*.md") if path.name != "index.md"
)
OTHERS = [path for path in WRITTEN if path.parent.name != "measured"]
HEADINGS = ["Result", "Command", "Date and machine", "What it does not show"]
DATE = re.compile(
    r"\b\d{1,2}(?: and \d{1,2})? (?:January|February|March|April|May|June|July|August|September|October|November"
    r"|December)(?: \d{4})?\b"
)
MACHINE = re.compile(r"\bEPYC\b|\bH200\b|\bdriver \d|two (?:busy )?CPU cores")


def lacks(text: str) -> list[str]:
    """Return what a page of a measurement lacks."""
    parts = dict(
        part.split("\n", 1)
        for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]
        if "\n" in part
    )
    order = [name for name in parts if name in HEADINGS]
    found = [] if order == HEADINGS else [f"sections {order}"]
    result = "".join(body for name, body in parts.items() if name not in HEADINGS[1:])
    found += [] if re.search(r"^\|.*\|$", result, re.MULTILINE) else ["a table"]
    found += [] if COMMAND.search(_console(parts.get("Command", ""))) else ["a command"]
    found += [] if DATE.search(parts.get("Date and machine", "")) else ["a date"]
    found += [] if "- " in parts.get("What it does not show", "") else ["what it does not show"]
    return found


def _console(text: str) -> str:
    return "\n".join(body for language, body in FENCE.findall(text) if language == "console")


@pytest.mark.parametrize("page", PAGES_MEASURED, ids=lambda page: page.stem)
def test_a_measurement_is_complete(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert lacks(text) == []
    assert text.partition("\n## ")[0].partition("\n")[2].strip(), "no claim below the title"


GOOD = (
    "# A\n\nClaim.\n\n## Result\n\n| a |\n|---|\n| 1 |\n\n## Command\n\n```console\nmake bench\n```\n\n"
    "## Date and machine\n\n1 May 2026.\n\n## What it does not show\n\n- All.\n"
)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("## Result\n", "## Results\n"),
        ("| 1 |", "1"),
        ("make bench", "true"),
        ("1 May 2026", "Lately"),
        ("- All.", "Nothing."),
        ("## Date and machine", "## Date"),
    ],
)
def test_a_measurement_that_lacks_something_is_found(old: str, new: str) -> None:
    assert lacks(GOOD) == []
    text = GOOD.replace("| a |\n|---|\n| 1 |", "1") if old == "| 1 |" else GOOD.replace(old, new)
    assert lacks(text) != []


def stray(page: Path) -> list[str]:
    """Return dates and machines on a page that measures nothing."""
    text = page.read_text(encoding="utf-8")
    return [*DATE.findall(text), *MACHINE.findall(text)]


@pytest.mark.parametrize(
    "page", [*OTHERS, PAGES.parents[1] / "README.md"], ids=lambda page: page.name
)
def test_dates_and_machines_are_on_the_pages_of_measurements_only(page: Path) -> None:
    assert stray(page) == []


@pytest.mark.parametrize(
    "text", ["On 28 November 2026.", "One NVIDIA H200.", "Two AMD EPYC cores."]
)
def test_a_stray_date_or_machine_is_found(tmp_path: Path, text: str) -> None:
    (tmp_path / "page.md").write_text(f"# A\n\n{text}\n", encoding="utf-8")
    assert stray(tmp_path / "page.md")


def figures(text: str) -> set[tuple[str, ...]]:
    """Return the rows of tables that hold at least two measured figures."""
    rows = re.findall(r"^\|.*\|$", text, re.MULTILINE)
    return {tuple(found) for row in rows if len(found := MEASURED.findall(row)) > 1}


def test_no_row_of_figures_is_on_two_pages() -> None:
    seen: dict[tuple[str, ...], str] = {}
    twice = []
    for page in WRITTEN:
        for row in figures(page.read_text(encoding="utf-8")):
            twice += [(seen[row], page.name, row)] if row in seen else []
            seen[row] = page.name
    assert twice == []
    assert len(seen) > 50
