"""Seeds the defects of `defects.py` one at a time and reports which tests catch them.

    python tests/defects/run_defects.py --check             # is each text found once?
    python tests/defects/run_defects.py --touch             # which tests run which line (minutes)
    python tests/defects/run_defects.py --jobs 2            # all defects, two at a time
    python tests/defects/run_defects.py guard-nan-gradient  # some defects, by name
    python tests/defects/run_defects.py --area trace        # the defects of one area
    python tests/defects/run_defects.py --whole 5 --jobs 2  # five at random, all tests for each

For each defect only the tests that touch its line are run, until one fails. All of this happens in
copies of the repository in a temporary folder; the repository itself is not changed. The exit code
is 0 if every selected defect was caught.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import Queue

from defects import AREAS, DEFECTS, Defect

HERE = Path(__file__).resolve().parent
PACKAGE = "yolo_stability"
SUITE = ("-m", "not full")
WHOLE_SEED = 20_261_130
# They check the source text (line counts, imports, layout, words), not behavior.
NOT_COUNTED = tuple(f"tests/contract/test_{name}.py" for name in ("structure", "imports", "words"))
TOUCH_FILE, TIMES_FILE = "YOLO_STABILITY_TOUCH_FILE", "YOLO_STABILITY_TIMES_FILE"
ALL_TRAININGS = "YOLO_STABILITY_ALL_TRAININGS"
REMOVED = ("CI", "PYTEST_CURRENT_TEST", "PYTEST_ADDOPTS", "YOLO_STABILITY_TEST_ROOT")

# What a touch probe calls. It must never raise, and must work where a test replaces `open`.
PROBE = """
import json as _json, os as _os
_seen = set()
_open, _write, _close = _os.open, _os.write, _os.close
_flags = _os.O_WRONLY | _os.O_APPEND | _os.O_CREAT

def touch(site):
    try:
        test = _os.environ.get("PYTEST_CURRENT_TEST")
        if not test or (site, test) in _seen:
            return
        _seen.add((site, test))
        file = _open(_os.environ["%s"], _flags, 0o644)
        try:
            _write(file, (_json.dumps([site, test]) + chr(10)).encode())
        finally:
            _close(file)
    except Exception:
        pass
"""

# A pytest plugin that writes one line for each phase of each test: outcome and seconds.
TIMES = """
import json, os

def pytest_runtest_logreport(report):
    if os.environ.get("PYTEST_XDIST_WORKER"):
        return
    with open(os.environ["%s"], "a", encoding="utf-8") as file:
        row = [report.nodeid, report.when, report.outcome, round(report.duration, 3)]
        file.write(json.dumps(row) + "\\n")
"""


@dataclass(slots=True, kw_only=True)
class Touched:
    """Result of the touch run.

    Attributes:
        defects: Tests that touch the line of each defect; a file name means all its tests.
        seconds: Wall time of each test.
        failing: Tests that fail without any defect.
        wall_seconds: Wall time of the run.
        summary: Last line that pytest printed.
    """

    defects: dict[str, list[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    failing: list[str] = field(default_factory=list)
    wall_seconds: float = 0.0
    summary: str = ""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """Result of one defect.

    Attributes:
        name: Name of the defect.
        area: Its area.
        result: caught, survived, unfinished (time limit reached), untested, error or not found.
        by: The test that caught it.
        tests: Number of tests that touch its line.
        ran: Number of tests that ran.
        seconds: Wall time.
        note: Further remarks.
    """

    name: str
    area: str
    result: str
    by: str = ""
    tests: int = 0
    ran: int = 0
    seconds: float = 0.0
    note: str = ""


# Finding and changing source lines


def find(root: Path, old: str) -> list[Path]:
    """Return the source files that contain a text, one entry per occurrence.

    Args:
        root: Root of a repository.
        old: Text to look for.
    """
    found = []
    for file in sorted((root / PACKAGE).rglob("*.py")):
        found += [file] * file.read_text(encoding="utf-8").count(old)
    return found


def check(root: Path, defects: Iterable[Defect]) -> list[str]:
    """Return the problems of a table: bad names, texts not found once, invalid mutants.

    Args:
        root: Root of a repository.
        defects: The table.
    """
    wrong = []
    names: set[str] = set()
    for defect in defects:
        if defect.name in names or defect.area not in AREAS or "\n" in defect.old:
            wrong.append(
                f"{defect.name}: duplicate name, unknown area, or text of more than one line"
            )
        names.add(defect.name)
        found = find(root, defect.old)
        if len(found) != 1:
            wrong.append(f"{defect.name}: found {len(found)} times instead of once: {defect.old}")
            continue
        text = found[0].read_text(encoding="utf-8").replace(defect.old, defect.new)
        try:
            compile(text, str(found[0]), "exec")
        except SyntaxError as error:
            wrong.append(f"{defect.name}: the mutant does not compile: {error}")
    return wrong


def probe_line(text: str, at: int) -> tuple[int, int]:
    """Return the line (from 0) and column at which to insert a probe for a source position.

    This is where the innermost enclosing statement begins, if it begins its line and is no `elif`;
    for a position in the head of a function, the first statement of its body.

    Args:
        text: Source of a module.
        at: Offset of the position.
    """
    line = text.count("\n", 0, at) + 1
    lines = text.split("\n")
    best: tuple[int, int] | None = None
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.stmt) or not node.lineno <= line <= (node.end_lineno or 0):
            continue
        where = node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if line >= node.body[0].lineno:
                continue
            where = node.body[0]
        own = lines[where.lineno - 1]
        if own[: where.col_offset].strip() or own[where.col_offset :].startswith("elif"):
            continue
        if best is None or (where.lineno, where.col_offset) > best:
            best = where.lineno, where.col_offset
    if best is None:
        raise ValueError(f"no statement at line {line}")
    return best[0] - 1, best[1]


def insert_probes(root: Path, defects: Iterable[Defect]) -> None:
    """Insert a probe before the line of each defect.

    Args:
        root: Root of a copy of the repository.
        defects: The table.
    """
    places: dict[Path, list[tuple[int, int, str]]] = {}
    for defect in defects:
        file = find(root, defect.old)[0]
        text = file.read_text(encoding="utf-8")
        places.setdefault(file, []).append((*probe_line(text, text.index(defect.old)), defect.name))
    for file, wanted in places.items():
        lines = file.read_text(encoding="utf-8").split("\n")
        for number, column, name in sorted(wanted, reverse=True):
            call = f'__import__("_defect_probe").touch("{name}")'
            lines.insert(number, " " * column + call)
        text = "\n".join(lines)
        compile(text, str(file), "exec")
        file.write_text(text, encoding="utf-8")
    (root / "_defect_probe.py").write_text(PROBE % TOUCH_FILE, encoding="utf-8")


# Running tests in a copy


class Copy:
    """A copy of the repository in which defects are seeded and tests run.

    Args:
        repo: Root of the repository.
        folder: Folder for the copy and its files.
    """

    def __init__(self, repo: Path, folder: Path) -> None:
        self.root = folder / "repo"
        own = repo / ".venv" / "bin" / "python"
        self._python = str(own) if own.exists() else sys.executable
        self._clock = int(time.time())
        self._times = folder / "times.jsonl"
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=repo, check=True, capture_output=True, text=True
        ).stdout
        for name in filter(None, listed.split("\0")):
            source, target = repo / name, self.root / name
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        (self.root / "_defect_times.py").write_text(TIMES % TIMES_FILE, encoding="utf-8")
        self._environment = self._variables(repo, folder)

    def _variables(self, repo: Path, folder: Path) -> dict[str, str]:
        """Return the environment: the copy precedes installed packages, one thread per process."""
        environment = {k: v for k, v in os.environ.items() if k not in REMOVED}
        environment["PYTHONPATH"] = str(self.root)
        environment["OMP_NUM_THREADS"] = "1"
        environment[ALL_TRAININGS] = "1"
        environment[TIMES_FILE] = str(self._times)
        environment[TOUCH_FILE] = str(folder / "touched.jsonl")
        images = repo.parent / "shared" / "data" / "coco-mini"
        if images.is_dir():  # tests look for it next to the repository
            environment.setdefault("YOLO_STABILITY_COCO_MINI", str(images))
        return environment

    def require_own_package(self) -> None:
        """Check that the copy is what Python imports, in child processes too.

        Raises:
            RuntimeError: Another installation takes precedence.
        """
        code = f"import {PACKAGE}; print({PACKAGE}.__file__)"
        child = f"[sys.executable, '-c', {code!r}]"
        inner = f"import subprocess, sys; subprocess.run({child}, check=True)"
        for script in (code, inner):
            ran = subprocess.run(
                [self._python, "-c", script],
                cwd=self.root.parent,
                env=self._environment,
                check=True,
                capture_output=True,
                text=True,
            )
            file = Path(ran.stdout.strip())
            if not file.is_relative_to(self.root):
                raise RuntimeError(f"{PACKAGE} comes from {file}, not from the copy")

    def pytest(self, arguments: Sequence[str], log: Path, limit: float | None = None) -> int | None:
        """Run pytest and return its exit code; None if the time limit was reached.

        Args:
            arguments: Arguments of `python -m pytest`.
            log: File for its output.
            limit: Time limit in seconds.
        """
        self._times.unlink(missing_ok=True)
        command = [self._python, "-m", "pytest", "-p", "_defect_times", *arguments]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=self.root,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                return process.wait(limit)
            except subprocess.TimeoutExpired:
                return None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)  # the process group started above
                    process.wait()

    def reports(self) -> list[tuple[str, str, str, float]]:
        """Return test, phase, outcome and seconds of the last pytest run."""
        if not self._times.exists():
            return []
        lines = self._times.read_text(encoding="utf-8").splitlines()
        return [(str(t), str(w), str(o), float(s)) for t, w, o, s in map(json.loads, lines)]

    def write(self, file: Path, text: str) -> None:
        """Write a module with a new modification time, so that no stale bytecode is loaded.

        Args:
            file: File in the copy.
            text: New content.
        """
        self._clock += 10
        file.write_text(text, encoding="utf-8")
        os.utime(file, (self._clock, self._clock))


# The touch run


def touch(repo: Path, folder: Path, workers: int, log: Path, paths: Sequence[str]) -> Touched:
    """Run the suite once with probes and return which test touches which line.

    Args:
        repo: Root of the repository.
        folder: Empty temporary folder.
        workers: Number of test processes.
        log: File for the output of pytest.
        paths: Folders or files of tests; the whole suite if empty.
    """
    copy = Copy(repo, folder)
    copy.require_own_package()
    insert_probes(copy.root, DEFECTS)
    began = time.monotonic()
    parallel = ("-n", str(workers), "--dist", "loadfile") if workers > 1 else ()
    ignored = (f"--ignore={name}" for name in NOT_COUNTED)
    copy.pytest(["-q", "-p", "no:cacheprovider", *SUITE, *parallel, *ignored, *paths], log)
    result = Touched(wall_seconds=round(time.monotonic() - began, 1))
    for test, _, outcome, seconds in copy.reports():
        result.seconds[test] = round(result.seconds.get(test, 0.0) + seconds, 3)
        if outcome == "failed" and test not in result.failing:
            result.failing.append(test)
    output = log.read_text(encoding="utf-8", errors="replace").splitlines()
    result.summary = output[-1].strip("= ") if output else ""
    touches = folder / "touched.jsonl"
    lines = touches.read_text(encoding="utf-8").splitlines() if touches.exists() else []
    result.defects = _by_defect(json.loads(line) for line in lines)
    return result


def _by_defect(touches: Iterable[Sequence[str]]) -> dict[str, list[str]]:
    """Group touches by defect; a touch in a fixture selects the whole module."""
    found: dict[str, set[str]] = {defect.name: set() for defect in DEFECTS}
    for site, text in touches:
        test, _, phase = text.rpartition(" ")
        found[site].add(test.partition("::")[0] if phase == "(setup)" else test)
    return {
        site: sorted(t for t in tests if "::" not in t or t.partition("::")[0] not in tests)
        for site, tests in found.items()
    }


# One defect


def chosen_tests(defect: Defect, touched: Touched, module: str = "") -> list[str]:
    """Return the tests that touch the line of a defect: those of its area first, then by time.

    Args:
        defect: The defect.
        touched: Result of the touch run.
        module: Name of the module with the defect, which its unit tests are often named after.
    """
    wanted = set(touched.defects.get(defect.name, []))
    failing = set(touched.failing)
    tests = [
        test
        for test in touched.seconds
        if (test in wanted or test.partition("::")[0] in wanted) and test not in failing
    ]
    slowest: dict[str, float] = {}  # who needs the fixture of a module waits for it
    for test in tests:
        file = test.partition("::")[0]
        slowest[file] = max(slowest.get(file, 0.0), touched.seconds[test])
    near = {defect.area, defect.name.split("-")[1], module} - {""}

    def rank(test: str) -> tuple[int, float, str]:
        file = test.partition("::")[0]
        cost = slowest[file] if file in wanted else touched.seconds[test]
        own = any(word in file for word in near)
        tier = 2 if not own else 0 if "/unit/" in file and cost < 5 else 1
        return tier, cost, file  # tests that share a fixture keep their order

    return sorted(tests, key=rank)


def try_defect(defect: Defect, copy: Copy, touched: Touched, limit: float, logs: Path) -> Outcome:
    """Seed a defect, run its tests until one fails, and restore the source.

    Args:
        defect: The defect.
        copy: Copy to seed it in.
        touched: Result of the touch run.
        limit: Time limit in seconds.
        logs: Folder for the output of pytest.
    """
    began = time.monotonic()
    outcome = Outcome(name=defect.name, area=defect.area, result="not found")
    places = find(copy.root, defect.old)
    if len(places) == 1:
        tests = chosen_tests(defect, touched, places[0].stem)
        outcome.tests = len(tests)
        healthy = places[0].read_text(encoding="utf-8")
        mutant = healthy.replace(defect.old, defect.new)
        _until_caught(outcome, tests, copy, (places[0], healthy, mutant), limit, logs)
    else:
        outcome.note = f"its text occurs {len(places)} times"
    outcome.seconds = round(time.monotonic() - began, 1)
    return outcome


def _until_caught(
    outcome: Outcome,
    tests: list[str],
    copy: Copy,
    change: tuple[Path, str, str],
    limit: float,
    logs: Path,
) -> None:
    """Run tests with the defect; a test that also fails without it is ignored."""
    file, healthy, mutant = change
    log, end = logs / f"{outcome.name}.log", time.monotonic() + limit
    outcome.result = "untested" if not tests else "survived"
    while tests:
        try:
            copy.write(file, mutant)
            code = _run(copy, tests, log, end - time.monotonic())
        finally:
            copy.write(file, healthy)
        reports = copy.reports()
        ran = list(dict.fromkeys(test for test, _, _, _ in reports))
        failed = next((test for test, _, result, _ in reports if result == "failed"), None)
        outcome.ran += len(ran)
        if failed is None:
            done = {0: "survived", None: "unfinished"}
            outcome.result = done.get(code, "error")
            outcome.note = "" if code in done else f"pytest ended with {code}, see {log.name}"
            return
        file_of_failed = failed.partition("::")[0]
        same = [test for test in ran if test.partition("::")[0] == file_of_failed]
        if _run(copy, same, logs / f"{outcome.name}.clean.log", None) == 0:
            outcome.result, outcome.by = "caught", failed
            return
        outcome.note += f"{failed} fails without the defect too; "
        tests = [test for test in tests if test not in ran]


def _run(copy: Copy, tests: Sequence[str], log: Path, limit: float | None) -> int | None:
    """Run some tests in their order until one fails."""
    listed = copy.root.parent / "tests.txt"
    listed.write_text("\n".join(tests) + "\n", encoding="utf-8")
    arguments = ["-x", "-q", "-p", "no:cacheprovider", *SUITE, f"@{listed}"]
    return copy.pytest(arguments, log, None if limit is None else max(limit, 1.0))


def try_whole(defect: Defect, copy: Copy, workers: int, logs: Path) -> Outcome:
    """Seed a defect and run all tests but the long ones until one fails.

    Args:
        defect: The defect.
        copy: Copy to seed it in.
        workers: Number of test processes.
        logs: Folder for the output of pytest.
    """
    began = time.monotonic()
    outcome = Outcome(name=defect.name, area=defect.area, result="survived")
    file = find(copy.root, defect.old)[0]
    healthy = file.read_text(encoding="utf-8")
    ignored = [f"--ignore={name}" for name in NOT_COUNTED]
    parallel = ["-n", str(workers), "--dist", "loadfile"] if workers > 1 else []
    arguments = ["-x", "-q", "-p", "no:cacheprovider", *SUITE, *parallel, *ignored]
    try:
        copy.write(file, healthy.replace(defect.old, defect.new))
        copy.pytest(arguments, logs / f"{outcome.name}.log")
    finally:
        copy.write(file, healthy)
    reports = copy.reports()
    outcome.ran = len({test for test, _, _, _ in reports})
    outcome.tests = outcome.ran
    failed = next((test for test, _, result, _ in reports if result == "failed"), None)
    if not outcome.ran:
        outcome.result, outcome.note = "error", "no test ran"
    if failed is not None:
        clean = _run(copy, [failed], logs / f"{outcome.name}.clean.log", None) == 0
        outcome.result, outcome.by = ("caught" if clean else "error"), failed
        outcome.note = "" if clean else "it fails without the defect too"
    outcome.seconds = round(time.monotonic() - began, 1)
    return outcome


def try_all(
    repo: Path, folder: Path, defects: Sequence[Defect], touched: Touched, jobs: int, limit: float
) -> list[Outcome]:
    """Try defects, several in parallel in a copy each, and print each outcome.

    Args:
        repo: Root of the repository.
        folder: Empty temporary folder.
        defects: Defects to try.
        touched: Result of the touch run.
        jobs: Number of copies.
        limit: Time limit for each defect in seconds.
    """
    copies: Queue[Copy] = Queue()
    for number in range(min(jobs, len(defects)) or 1):
        copy = Copy(repo, folder / f"copy-{number}")
        copy.require_own_package()
        copies.put(copy)
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    printing = threading.Lock()

    def one(defect: Defect) -> Outcome:
        copy = copies.get()
        try:
            outcome = try_defect(defect, copy, touched, limit, logs)
        finally:
            copies.put(copy)
        with printing:
            print(row(outcome), flush=True)
        return outcome

    with ThreadPoolExecutor(max_workers=jobs) as pool:
        return list(pool.map(one, defects))


def row(outcome: Outcome) -> str:
    """Return an outcome as a line of the table.

    Args:
        outcome: Result of a defect.
    """
    detail = outcome.by or f"{outcome.ran} of {outcome.tests} tests ran"
    note = f" ({outcome.note.rstrip('; ')})" if outcome.note else ""
    return f"{outcome.name:28}{outcome.result:11}{outcome.seconds:6.0f} s  {detail}{note}"


# The command


def read_touched(file: Path) -> Touched:
    """Read the result of a touch run.

    Args:
        file: `touched.json`.
    """
    return Touched(**json.loads(file.read_text(encoding="utf-8")))


def write_json(file: Path, content: object) -> None:
    """Write indented JSON.

    Args:
        file: File to write.
        content: JSON-compatible content.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="defects to seed (default: all)")
    parser.add_argument("--repo", type=Path, default=HERE.parents[1], help="root of the repository")
    parser.add_argument("--check", action="store_true", help="only check the table")
    parser.add_argument(
        "--touch", action="store_true", help="only find the tests that touch each line"
    )
    parser.add_argument("--touched", type=Path, default=HERE / "touched.json")
    parser.add_argument("--paths", nargs="*", default=[], help="run only these tests with --touch")
    parser.add_argument("--results", type=Path, default=HERE / "results.json")
    parser.add_argument("--whole", type=int, help="so many at random, all tests for each")
    parser.add_argument("--area", choices=AREAS, help="only the defects of one area")
    parser.add_argument("--jobs", type=int, default=1, help="parallel defects or test workers")
    parser.add_argument("--limit", type=float, default=240.0, help="seconds per defect")
    parser.add_argument("--keep", type=Path, help="folder in which copies and logs are kept")
    return parser.parse_args()


def chosen(names: Sequence[str], area: str | None) -> list[Defect]:
    """Return the selected defects.

    Args:
        names: Names of defects; all if empty.
        area: Only defects of this area.

    Raises:
        SystemExit: A name is unknown.
    """
    unknown = set(names) - {defect.name for defect in DEFECTS}
    if unknown:
        raise SystemExit(f"Unknown defect: {', '.join(sorted(unknown))}")
    return [d for d in DEFECTS if (not names or d.name in names) and area in {None, d.area}]


def summary(outcomes: Sequence[Outcome]) -> Mapping[str, int]:
    """Count outcomes by result.

    Args:
        outcomes: Results of the defects.
    """
    return {
        kind: sum(outcome.result == kind for outcome in outcomes)
        for kind in dict.fromkeys(outcome.result for outcome in outcomes)
    }


def work(asked: argparse.Namespace, folder: Path) -> int:
    """Run the requested action and return the exit code.

    Args:
        asked: Parsed command line.
        folder: Folder for copies and logs.
    """
    repo = asked.repo.resolve()
    if asked.touch:
        workers = max(asked.jobs, 2)
        touched = touch(repo, folder, workers, folder / "touch.log", asked.paths)
        write_json(asked.touched, asdict(touched))
        print(touched.summary)
        print("".join(f"fails without a defect: {test}\n" for test in touched.failing), end="")
        untouched = [name for name, tests in touched.defects.items() if not tests]
        print(f"touched by no test: {', '.join(untouched) or 'none'}")
        return 0
    if asked.whole:
        copy = Copy(repo, folder / "copy")
        copy.require_own_package()
        outcomes = []
        for defect in random.Random(WHOLE_SEED).sample(DEFECTS, asked.whole):
            outcomes.append(try_whole(defect, copy, asked.jobs, folder))
            print(row(outcomes[-1]), flush=True)
        return 0 if all(outcome.result == "caught" for outcome in outcomes) else 1
    touched = read_touched(asked.touched)
    defects = chosen(asked.names, asked.area)
    outcomes = try_all(repo, folder, defects, touched, asked.jobs, asked.limit)
    write_json(asked.results, [asdict(outcome) for outcome in outcomes])
    print(", ".join(f"{count} {kind}" for kind, count in summary(outcomes).items()))
    return 0 if all(outcome.result == "caught" for outcome in outcomes) else 1


def main() -> int:
    """Run the command; return its exit code."""
    asked = options()
    wrong = check(asked.repo.resolve(), DEFECTS)
    for text in wrong:
        print(text)
    if asked.check:
        print(f"{len(DEFECTS)} defects, {len(wrong)} wrong")
        return 1 if wrong else 0
    if asked.touch and wrong:
        return 1
    if asked.keep:
        asked.keep.mkdir(parents=True, exist_ok=True)
        return work(asked, asked.keep.resolve())
    with tempfile.TemporaryDirectory(prefix="defects-") as folder:
        return work(asked, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
