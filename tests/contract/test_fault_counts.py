"""The table of faults in the docs states the counts that the tests are configured with."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

REPO = Path(__file__).resolve().parents[2]
FAULTS = REPO / "tests" / "faults"
ROW = re.compile(r"^\| ([^|]+?) \| ([\d,]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
SECOND_ROW = re.compile(
    r"^\| [^|]+ \| (\d+) \| (?:the guard|the last|nothing needs)[^|]* \| [^|]+ \|$", re.MULTILINE
)


def plan() -> ModuleType:
    spec = importlib.util.spec_from_file_location("faults_plan", FAULTS / "plan.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_states_the_counts_of_the_tests() -> None:
    text = (REPO / "docs" / "pages" / "measured" / "faults.md").read_text(encoding="utf-8")
    table = text[: text.index("## NaN and Inf")]
    rows = {name: int(count.replace(",", "")) for name, count, _, _ in ROW.findall(table)}
    module = plan()
    assert rows == module.TRIED
    kills = sum(count for name, count in rows.items() if name.startswith("kill -9"))
    assert kills == module.KILLS >= 200
    assert f"{kills} times in all" in text
    assert module.PLACES >= 30
    assert f"{module.PLACES} places" in text
    assert [int(count) for count in SECOND_ROW.findall(text)] == list(module.NETS.values())


def test_every_count_is_used_by_a_test() -> None:
    """A number that no test takes would be a claim."""
    names = {
        n
        for n in vars(plan())
        if n.isupper() and n not in {"KILLS", "KILL_MOMENTS", "TRIED", "CASES"}
    }
    used = "".join(path.read_text(encoding="utf-8") for path in FAULTS.glob("test_*.py"))
    assert [name for name in sorted(names) if not re.search(rf"\b{name}\b", used)] == []


def test_every_try_that_is_a_case_of_its_own_is_there() -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "-m",
        "",
        "-p",
        "no:cacheprovider",
        str(FAULTS),
    ]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPO).stdout
    names = [line.removeprefix("tests/faults/") for line in listed.splitlines() if "::" in line]
    found = {
        fault: sum(bool(re.match(begin, name)) for name in names)
        for fault, (_, begin) in plan().CASES.items()
    }
    assert found == {fault: count for fault, (count, _) in plan().CASES.items()}
