"""kill -9 while a report is written: each file is old, new or absent, and a retry succeeds."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from plan import REPORT_KILLS, SEED
from process import HERE, environment

sys.path.insert(0, str(HERE.parent))

from sample_benchmark import write_sample
from traces import record, write

from yolo_stability.benchmarks.results import RESULTS_FILE, results_to_json
from yolo_stability.report.write import write_report

SMALL = {
    "tasks": ("detect",),
    "seeds": (0,),
    "blocks": ("model.0 Conv", "model.2 C3k2", "model.23.cv2 Detect box"),
}
FILES = 4  # that are written at least: two pictures, the page, the Markdown
Files = dict[str, bytes]


@dataclass
class Case:
    """One `compare` that is killed.

    Attributes:
        kind: See reporter.py.
        moment: When.
    """

    kind: str
    moment: str


def all_cases(count: int) -> list[Case]:
    rng = random.Random(SEED)
    moments = [
        *(f"time:{rng.uniform(0, 0.4):.3f}" for _ in range(count * 2 // 5)),
        *(f"half:{rng.randint(1, FILES)}" for _ in range(count * 2 // 5)),
        *(f"named:{rng.randint(1, FILES)}" for _ in range(count - 2 * (count * 2 // 5))),
    ]
    cases = [Case("again" if i % 2 else "new", moment) for i, moment in enumerate(moments)]
    rng.shuffle(cases)
    return cases


def content(folder: Path) -> Files:
    """Return every file of a report that a reader would see."""
    files = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def run(folder: Path, cases: dict[int, Case]) -> list[int]:
    """Run the cases, by the number of their folder; return their exit codes."""
    words = [
        word for number, case in cases.items() for word in (str(number), case.kind, case.moment)
    ]
    command = [sys.executable, str(HERE / "reporter.py"), str(folder), *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment())
    return [json.loads(line)["code"] for line in done.stdout.splitlines()]


class Bench:
    """A folder for killed reports: an old benchmark report, its new results, and two runs.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.template = folder, folder / "template"
        old = write_sample(self.template, arms=("control", "huge-lr"), **SMALL)
        write_report(self.template)
        self.old = content(self.template)
        text = results_to_json(old).replace('"description": "', '"description": "Written again. ')
        (self.template / RESULTS_FILE).write_text(text, encoding="utf-8")
        for name, factor in (("a", 1.0), ("b", 50.0)):
            write(folder / name, [record(s, (3 * factor, 4.0, 1.0, 12.0)) for s in range(40)])
        self.prepare(0, Case("again", "never"))
        self.prepare(1, Case("new", "never"))
        assert run(folder, {0: Case("again", "never"), 1: Case("new", "never")}) == [0, 0]
        self.new = {"again": content(folder / "0"), "new": content(folder / "1" / "out")}
        assert self.new["again"]["report.html"] != self.old["report.html"]

    def prepare(self, number: int, case: Case) -> None:
        """Set the stage of one case."""
        shutil.rmtree(self.folder / str(number), ignore_errors=True)
        if case.kind == "again":
            shutil.copytree(self.template, self.folder / str(number))
        else:
            (self.folder / str(number)).mkdir()

    def place(self, number: int, case: Case) -> Path:
        """Return where the report of a case is."""
        return self.folder / str(number) / ("" if case.kind == "again" else "out")

    def wrong(self, number: int, case: Case) -> list[str]:
        """Return the files that are neither old nor new, and those that have disappeared."""
        found, new = content(self.place(number, case)), self.new[case.kind]
        old = {**self.old, RESULTS_FILE: new[RESULTS_FILE]} if case.kind == "again" else {}
        bad = [name for name, data in found.items() if data not in (old.get(name), new.get(name))]
        return [*bad, *(f"{name} is gone" for name in old if name not in found)]


def kill_all(folder: Path, cases: list[Case]) -> None:
    bench = Bench(folder)
    for number, case in enumerate(cases):
        bench.prepare(number, case)
    codes = run(folder, dict(enumerate(cases)))
    bad = [f"{case}: {what}" for n, case in enumerate(cases) for what in bench.wrong(n, case)]
    killed = sum(code == -9 for code in codes)
    bad += [
        f"{case}: exit {code}, not killed"
        for case, code in zip(cases, codes, strict=True)
        if code != -9
    ]
    temps = [
        p for n, case in enumerate(cases) if codes[n] for p in bench.place(n, case).rglob(".*")
    ]
    for temp in temps:
        os.utime(temp, (1, 1))  # as if the next try came later than a minute
    again = {number: Case(case.kind, "never") for number, case in enumerate(cases)}
    assert run(folder, again) == [0] * len(again)
    for number, case in again.items():
        if content(bench.place(number, case)) != bench.new[case.kind]:
            bad.append(f"{cases[number]}: the next try made something else")
    left = [p.name for number, case in again.items() for p in bench.place(number, case).rglob(".*")]
    print(
        f"\n{killed} kills (seed {SEED}) "
        f"{dict(Counter(c.moment.partition(':')[0] for c in cases))}, {len(temps)} files"
    )
    print(
        f"left half written; files of a report lost or mixed: {len(bad)}; half files after the "
        f"next try: {left}"
    )
    assert not bad, "\n".join(bad)
    assert left == []


@pytest.mark.full
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reports are forked")
def test_forty_kills(tmp_path: Path) -> None:
    cases = all_cases(REPORT_KILLS)
    assert len(cases) == REPORT_KILLS
    kill_all(tmp_path, cases)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reports are forked")
def test_two_kills(tmp_path: Path) -> None:
    kill_all(tmp_path, [Case("again", "half:3"), Case("new", "named:1")])
