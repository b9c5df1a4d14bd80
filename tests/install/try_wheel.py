"""`make test-wheel`: build the wheel, install it outside the repository, and run every line that the pages print.

    python tests/install/try_wheel.py [python=PYTHON] [into=ENVIRONMENT] [pages=README.md,tutorial.md,...] [keep=FOLDER]

Without `python=` the environment is new, but what the package depends on is linked from the one that runs this, which
saves 6 GB; the package itself can only come from the wheel, and that is looked at. With `python=` (such as
`python=python3.13`) everything is installed anew from constraints.txt. `into=` takes an environment in which the
dependencies are already. Two readers go through the pages at once, one through README.md, one through all others, each
in an empty folder; `expected.py` says what is left out and what is shortened. Exit code 1 when a line fails.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "versions")]

from contents import complaints  # noqa: E402
from expected import codes, interrupted, stale, to_run, why_left_out  # noqa: E402
from printed import REPO, Printed, pages_in_order, printed_on, read_page  # noqa: E402
from reader import Reader, environment_of, fill_in, last_words, settle  # noqa: E402
from run import pip  # noqa: E402

LIMIT = 600.0
PIP = [
    sys.executable if find_spec("pip") else "python3",
    "-m",
    "pip",
    "--disable-pip-version-check",
]
_PRINT = threading.Lock()


@dataclass
class Tally:
    """What became of the lines."""

    ran: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    filled: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def build(root: Path) -> Path:
    """Build wheel and sdist; return the wheel.

    Raises:
        RuntimeError: It cannot be built, or holds what it should not.
    """
    tools, dist = root / "tools", root / "dist"
    pip("install", "-qq", "--target", str(tools), "build", "hatchling", "twine")
    environment = {**environment_of(tools, root), "PYTHONPATH": str(tools)}
    for command in (
        ["-m", "build", "--no-isolation", "-o", str(dist), str(REPO)],
        ["-m", "twine", "check", "--strict", *(str(dist / name) for name in ("*.whl", "*.tar.gz"))],
    ):
        done = subprocess.run(
            [sys.executable, *command],
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            cwd=root,
        )
        if done.returncode:
            raise RuntimeError(
                f"{' '.join(command[:2])}: {(done.stdout + done.stderr).strip()[-400:]}"
            )
    wheel, source = next(dist.glob("*.whl")), next(dist.glob("*.tar.gz"))
    if found := complaints(wheel, source):
        raise RuntimeError("; ".join(found))
    print(
        f"built {wheel.name} ({wheel.stat().st_size / 1e3:.0f} kB), {source.name}; twine check passed",
        flush=True,
    )
    return wheel


def make_venv(root: Path, wheel: Path, python: str, into: str) -> Path:
    """Return an environment with the wheel."""
    if into:
        venv = Path(into).resolve()
    else:
        venv = root / "venv"
        subprocess.run(
            [python or sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True
        )
    inside = str(venv / "bin" / "python")
    wanted = (
        ["-c", str(REPO / "constraints.txt"), str(wheel)] if python else ["--no-deps", str(wheel)]
    )
    done = subprocess.run(
        [*PIP, "--python", inside, "install", "-qq", "--force-reinstall", *wanted],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the wheel cannot be installed: {done.stderr.strip()[-400:]}")
    if not python and not into:
        site = next(venv.glob("lib/python*/site-packages"))
        linked = next(
            p
            for p in sys.path
            if Path(p).name == "site-packages" and Path(p).is_relative_to(sys.prefix)
        )
        (site / "linked.pth").write_text(f"{linked}\n", encoding="utf-8")
        script = venv / "bin" / "yolo"  # linked packages come without theirs
        script.write_text(
            f"#!{inside}\nfrom ultralytics.cfg import entrypoint\n\nentrypoint()\n",
            encoding="utf-8",
        )
        script.chmod(0o755)
    return venv


def where_from(reader: Reader, venv: Path) -> str:
    """Return which package is imported, after checking that it is the wheel's."""
    code = (
        "import json, sys, platform, importlib.metadata as m, yolo_stability as y;"
        "print(json.dumps([y.__file__, platform.python_version(), m.version('torch'), m.version('ultralytics')]))"
    )
    done = subprocess.run(
        ["python", "-c", code],
        cwd=reader.folder,
        env=reader.environment,
        check=True,
        capture_output=True,
        text=True,
    )
    file, *versions = json.loads(done.stdout.splitlines()[-1])
    if not Path(file).is_relative_to(venv) or Path(file).is_relative_to(REPO):
        raise RuntimeError(f"yolo_stability comes from {file}, not from the wheel in {venv}")
    return "Python {}, torch {}, ultralytics {}, the package from the wheel".format(*versions)


def read_through(reader: Reader, lines: list[Printed], root: Path, whole: bool) -> Tally:
    """Let a reader type all lines, one after the other; a line that was typed before is not typed again."""
    tally, seen, his_run = Tally(), set[str](), root / "his-run"
    settle(reader, his_run, root / "settle.log")
    for number, line in enumerate(lines):
        if line.text in seen:
            continue
        seen.add(line.text)
        if why := why_left_out(line):
            tally.left_out[why] = tally.left_out.get(why, 0) + 1
            continue
        start = time.perf_counter()
        try:
            tally.filled += fill_in(reader.folder, line, his_run, any_run=not whole)
            wrong = type_line(reader, line, root / f"{number:03d}.log")
        except RuntimeError as error:
            wrong = str(error)
        tally.ran += 1
        tally.failed += [f"{line.page}: {shown(line)}: {wrong}"] if wrong else []
        with _PRINT:
            told = f"{'FAILED' if wrong else 'ok':6} {time.perf_counter() - start:5.1f} s  {line.page}: {shown(line)}"
            print(f"{told}\n       {wrong}" if wrong else told, flush=True)
    return tally


def type_line(reader: Reader, line: Printed, log: Path) -> str:
    """Run one line; return what went wrong, empty where nothing did."""
    command = ["python", "-c", to_run(line)] if line.python else ["bash", "-c", to_run(line)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=reader.folder, env=reader.environment, stdin=subprocess.DEVNULL, stdout=out,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            if name := interrupted(line):
                interrupt(process, reader.folder / "runs" / "detect" / name / "weights" / "last.pt")
            code = process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return f"not done after {LIMIT:.0f} s"
    text = log.read_text(encoding="utf-8", errors="replace")
    if code not in codes(line):
        return f"exit code {code}: {last_words(log)[:300]}"
    if "Traceback (most recent call last)" in text:
        return f"a traceback: {last_words(log)[:300]}"
    first = next(
        (part for part in text.splitlines() if line.word and part.startswith(f"{line.word}:")), None
    )
    return f"'{line.word}:' is not among what it prints" if line.word and first is None else ""


def interrupt(process: subprocess.Popen[bytes], checkpoint: Path) -> None:
    """Press Ctrl-C once there is a checkpoint."""
    deadline = time.monotonic() + LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        if checkpoint.exists():
            time.sleep(0.5)  # written whole
            process.send_signal(signal.SIGINT)
            return
        time.sleep(0.05)


def shown(line: Printed) -> str:
    """Return a line as it is shown, not too long."""
    text = (
        " ".join(line.text.split())
        if not line.python
        else f"Python: {line.text.strip().splitlines()[-1]}"
    )
    return text if len(text) <= 110 else f"{text[:107]}..."


def main(args: list[str]) -> int:
    """Build, install, run everything and say what became of it; return the exit code."""
    known = {"python": "", "into": "", "pages": "", "keep": ""}
    for arg in args:
        key, equals, value = arg.partition("=")
        if not equals or key not in known:
            raise SystemExit(f"'{arg}' is not an option.\n{__doc__}")
        known[key] = value
    pages = known["pages"].split(",") if known["pages"] else pages_in_order()
    lines = {page: printed_on(page, read_page(page)) for page in pages}
    if not known["pages"] and (old := stale([line for of in lines.values() for line in of])):
        raise SystemExit(f"tests/install/expected.py names what no page prints: {', '.join(old)}")
    root = Path(known["keep"] or tempfile.mkdtemp(prefix="yolo-stability-wheel-")).resolve()
    root.mkdir(parents=True, exist_ok=True)
    try:
        return go(root, known, lines)
    finally:
        if not known["keep"]:
            shutil.rmtree(root, ignore_errors=True)


def go(root: Path, known: dict[str, str], lines: dict[str, list[Printed]]) -> int:
    """Do it in a folder; return the exit code."""
    start = time.monotonic()
    venv = make_venv(root, build(root), known["python"], known["into"])
    whole = not known["pages"]
    first = {"readme": lines.get("README.md", [])}
    rest = {"pages": [line for page, of in lines.items() if page != "README.md" for line in of]}
    groups = {name: found for name, found in {**first, **rest}.items() if found}
    readers = {}
    for name in groups:
        folder = root / name / "work"
        folder.mkdir(parents=True)
        readers[name] = Reader(folder, environment_of(venv, root / name))
    print(where_from(next(iter(readers.values())), venv), flush=True)
    with ThreadPoolExecutor(len(groups)) as pool:
        tallies = list(
            pool.map(
                lambda name: read_through(readers[name], groups[name], root / name, whole), groups
            )
        )
    left: dict[str, int] = {}
    for tally in tallies:
        for why, count in tally.left_out.items():
            left[why] = left.get(why, 0) + count
    failed = [text for tally in tallies for text in tally.failed]
    filled = sorted({word for tally in tallies for word in tally.filled})
    told = ", ".join(f"{count} {why}" for why, count in sorted(left.items()))
    print(
        f"\n{sum(t.ran for t in tallies)} lines run, {len(failed)} failed; {sum(left.values())} left out ({told})"
    )
    print(
        f"from a run that the reader would have: {', '.join(filled)}; {time.monotonic() - start:.0f} s in all"
    )
    for text in failed:
        print(f"FAILED {text}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
