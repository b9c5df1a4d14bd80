"""The sample runs of the documentation: their traces in `docs/sample/`, and what `diagnose` prints of them.

Usage:
    python docs/sample.py          write the printed diagnoses of README and tutorial again
    python docs/sample.py train    train the runs again first, and record the session of the terminal (2 minutes)

A run is kept without weights and pictures. Its printed diagnosis is the block of text that follows
`yolo-stability diagnose runs/detect/NAME` on a page; a block that ends in `...` shows the first lines only.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from yolo_stability.cli.main import main as cli

REPO = Path(__file__).resolve().parents[1]
SAMPLE = REPO / "docs" / "sample"
SESSION = SAMPLE / "terminal.txt"
PAGES = (REPO / "README.md", REPO / "docs" / "pages" / "tutorial.md")
SHORT = "imgsz=96 epochs=4 nbs=16 mosaic=0"
LONG = (
    "imgsz=96 batch=8 nbs=8 epochs=4 optimizer=SGD warmup_epochs=0 mosaic=0 val=False amp=False"
    " cache=ram device=cpu workers=0"
)
RUNS: Mapping[str, str] = {
    "bad": f"{SHORT} fault=nan_pixel@20",
    "first": f"{LONG} lr0=0.005",
    "hot": f"{LONG} lr0=0.5 clip=none",
    "rescued": f"{LONG} lr0=0.5 clip=none rescue=auto",
}
"""Options of each run, beside data, model and name."""
INCIDENT = "runs/detect/bad/stability/incidents/step-000020"
_PRINTED = re.compile(
    r"(?P<head>yolo-stability diagnose runs/detect/(?P<name>\w+)\n```\n\n```text\n)(?P<body>.*?\n)```",
    re.DOTALL,
)
_PROGRAM = [sys.executable, "-m", "yolo_stability"]
_SHOWN = re.compile(r"stability: (step|epoch|incident)")
_PLACES = re.compile(r' *"project": "[^"\n]*",\n|(?<=")[^"\n]*/(?=data\.yaml")')


def train() -> None:
    """Train every run in an empty folder, and keep its trace and the session of the first one."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        environment = {
            **os.environ,
            "PYTHONPATH": str(REPO),
            "YOLO_OFFLINE": "true",
            "OMP_NUM_THREADS": "1",
        }
        for name, options in RUNS.items():
            words = f"train data=shapes model=yolo26n.yaml {options} name={name}".split()
            output = _run([*words, f"project={folder / 'runs' / 'detect'}"], folder, environment)
            _keep(folder / "runs" / "detect" / name, SAMPLE / name)
            if name == "bad":
                session = _session(" ".join(words), output, folder, environment)
        SESSION.write_text(session, encoding="utf-8")


def _session(trained: str, output: str, folder: Path, environment: Mapping[str, str]) -> str:
    """Return a session of three commands; of the training's output, what this package adds while it runs."""
    lines = [line.partition("WARNING ⚠️ ")[2] or line for line in output.splitlines()]
    shown = [line for line in lines if _SHOWN.match(line)]
    text = "\n".join([f"$ yolo-stability {trained}", *shown, ""])
    for path in ("runs/detect/bad", INCIDENT):
        found = _run(["diagnose", path], folder, environment)
        text += f"$ yolo-stability diagnose {path}\n{found}"
    return text.replace(f"{folder}/", "")


def _run(words: list[str], folder: Path, environment: Mapping[str, str]) -> str:
    """Return what a command prints on stdout; its exit code may speak of a bad run."""
    done = subprocess.run(
        [*_PROGRAM, *words],
        cwd=folder,
        env=environment,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    if done.returncode not in {0, 3, 4}:
        raise RuntimeError(f"{' '.join(words)}: exit code {done.returncode}")
    return done.stdout


def _keep(run: Path, target: Path) -> None:
    """Copy header, events and trace of a run; the header names no folder of this machine."""
    shutil.rmtree(target, ignore_errors=True)
    wanted = shutil.ignore_patterns("*.pt", "*.png", "incidents", "diagnosis.json", "running.json")
    shutil.copytree(run / "stability", target / "stability", ignore=wanted)
    header = target / "stability" / "header.json"
    header.write_text(_PLACES.sub("", header.read_text(encoding="utf-8")), encoding="utf-8")


@cache
def printed(name: str) -> str:
    """Return what `diagnose` prints of a sample run."""
    output = io.StringIO()
    with TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        shutil.copytree(SAMPLE / name, f"runs/detect/{name}")  # diagnosis.json is written into it
        with contextlib.redirect_stdout(output):
            cli(["diagnose", f"runs/detect/{name}"])
    return output.getvalue()


def fresh(text: str) -> str:
    """Return a page with the diagnoses that the package prints today."""

    def replaced(match: re.Match[str]) -> str:
        if match["name"] not in RUNS:
            return match[0]
        now, old = printed(match["name"]).splitlines(), match["body"].splitlines()
        if old[-1] == "...":
            now = [*now[: len(old) - 1], "..."]
        return match["head"] + "\n".join(now) + "\n```"

    return _PRINTED.sub(replaced, text)


def stale_pages() -> Iterator[Path]:
    """Yield the pages whose printed diagnoses are not those of today."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if fresh(text) != text:
            yield page


def main(words: list[str]) -> None:
    """Train if asked to, then write the diagnoses of every page again."""
    if words not in ([], ["train"]):
        sys.exit(__doc__)
    if words:
        train()
    for page in stale_pages():
        page.write_text(fresh(page.read_text(encoding="utf-8")), encoding="utf-8")
        print(f"written again: {page.relative_to(REPO)}")


if __name__ == "__main__":
    main(sys.argv[1:])
