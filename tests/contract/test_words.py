"""Texts are plain English: no word of the private dialect that the project once had, and US spelling by codespell."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
DIALECT = re.compile(
    r"\b(?:told|tells?|said|says|sittings?|kin|mend(?:s|ed|ing)?|cures?|cured|judges?|judged|judging|judgments?"
    r"|judgements?|go(?:es)? on|went on|going on|go(?:es)? back|went back|gone back|sent back"
    r"|left out|leav(?:e|es|ing) out"
    r"|leave it out|at hand|l(?:ie|ies|ay) in|st(?:and|ands|ood) in|is not possible|is too much|family of Adam"
    r"|nursery|specimen|crossing|Courier|soundness)\b",
    re.IGNORECASE,
)
EXCEPTIONS = {
    "yolo_stability/checkpoint/archive.py": {"tell"},  # of a file
    # keys of incident.json, faults.json and rescue.json
    "yolo_stability/guard/incidents/folder.py": {"left out"},
    "yolo_stability/studies/fault_detection/metrics.py": {"told"},
    "yolo_stability/studies/fault_detection/report.py": {"told"},
    "yolo_stability/studies/rescue_rate/replay.py": {"told"},
}
"""Words that stay in a file, because they mean what they say there."""


def texts() -> list[Path]:
    """Files whose words people read."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPO, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    kept = ("yolo_stability/", "docs/", "configs/", "notebooks/", "datasets/", ".github/")
    endings = {".py", ".md", ".yaml", ".yml", ".toml", ".ipynb", ".html", ".css", ".js"}
    return [
        REPO / name
        for name in listed
        if (name.startswith(kept) or "/" not in name)
        and Path(name).suffix in endings
        and "iframe-worker" not in name
    ]


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield what a person reads in a file: of Python comments, strings and names, of notebooks the cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NAME:
                yield token.start[0], token.string.replace("_", " ")
            elif token.type != tokenize.OP:
                yield token.start[0], re.sub(r"\s+", " ", token.string)
        return
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells)
    yield from enumerate(text.splitlines(), 1)


def dialect(path: Path) -> list[str]:
    """Return the words of the dialect in a file, with their lines."""
    allowed = EXCEPTIONS.get(path.relative_to(REPO).as_posix(), set())
    return [
        f"{path.relative_to(REPO)}:{number}: {found[0]}"
        for number, line in lines(path)
        for found in DIALECT.finditer(line)
        if found[0].lower() not in allowed
    ]


@pytest.mark.parametrize("path", texts(), ids=lambda path: path.relative_to(REPO).as_posix())
def test_no_word_of_the_dialect(path: Path) -> None:
    assert dialect(path) == []


@pytest.mark.parametrize(
    "text",
    ["'''It is told so.'''", "# goes on", "x = 'is left out'", "def judge(): ...", "kin = 1"],
)
def test_a_word_of_the_dialect_is_found(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text(text + "\n")
    assert [found[0] for _, line in lines(path) for found in DIALECT.finditer(line)]


def test_spelling_is_clean() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "codespell_lib"],
        cwd=REPO,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip().splitlines() == []
