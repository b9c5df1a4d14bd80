"""Import rules: import-linter checks the contracts of pyproject.toml, and each can break."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).resolve().parents[2]
PACKAGE = REPO / "yolo_stability"
TEXT = (REPO / "pyproject.toml").read_text(encoding="utf-8")
CONTRACTS: dict[str, dict[str, Any]] = {
    contract["id"]: contract
    for contract in tomllib.loads(TEXT)["tool"]["importlinter"]["contracts"]
}
SEEDS = {
    "layers": ("core/text.py", "from yolo_stability.trace import layout"),
    "cycles": ("guard/buffers.py", "def late():\n    from yolo_stability.guard import guard"),
    "acting": (
        "trainer/step/records.py",
        "if TYPE_CHECKING:\n    from yolo_stability.diagnosis.rules import RULES",
    ),
    "studies": ("studies/probe/result.py", "from yolo_stability.studies.frontier import bisection"),
    "trainer": ("trainer/session.py", "from yolo_stability.trainer import monitor"),
    "ultralytics": ("data/resolve.py", "from ultralytics.utils import LOGGER"),
    "torch": ("diagnosis/rules/spike.py", "def late():\n    import torch.nn as nn"),
    "plotting": ("benchmarks/results.py", "import plotly.graph_objects"),
    "core": ("core/text.py", "import numpy"),
}
"""What breaks each contract: a line at the end of a module."""
BY_TEXT = {
    "__init__.py": "loads public names on first use; for readers they stand above it as imports",
    "core/registry.py": "imports the entries of a folder, and the base class of its entries",
    "guard/incidents/layer_allowlist.py": "looks a layer up whose class an incident names",
}
"""Modules that import by a name that is put together as text, and why."""


def lint(root: Path, cache: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the package in a folder."""
    script = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [str(script), "--no-logo", "--cache-dir", str(cache), *words],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder in which import-linter keeps what it has read."""
    return tmp_path_factory.mktemp("grimp")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a copy of the package, to be broken."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copytree(PACKAGE, root / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPO / "pyproject.toml", root)
    return root


def test_every_contract_is_kept(cache: Path) -> None:
    done = lint(REPO, cache)
    assert done.returncode == 0, done.stdout
    assert f"{len(CONTRACTS)} kept, 0 broken" in done.stdout


@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_forbidden_import_breaks_the_contract(contract: str, copy: Path, cache: Path) -> None:
    file, line = SEEDS[contract]
    path = copy / PACKAGE.name / file
    sound = path.read_text(encoding="utf-8")
    path.write_text(f"{sound}\n\nfrom typing import TYPE_CHECKING\n{line}\n", encoding="utf-8")
    try:
        done = lint(copy, cache, "--contract", contract)
    finally:
        path.write_text(sound, encoding="utf-8")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "0 kept, 1 broken" in done.stdout


def test_every_package_and_module_has_a_layer() -> None:
    layers = {name for row in CONTRACTS["layers"]["layers"] for name in re.findall(r"\w+", row)}
    found = {p.stem if p.is_file() else p.name for p in PACKAGE.iterdir() if p.name[0] not in ".p"}
    assert found - {"__init__", "__pycache__"} <= layers
    assert len([p for p in PACKAGE.iterdir() if (p / "__init__.py").is_file()]) <= 15
    assert len(list(PACKAGE.glob("*.py"))) <= 4


def test_every_ignored_import_has_its_reason_in_the_line_above() -> None:
    lines = TEXT.splitlines()
    ignored = [i for i, line in enumerate(lines) if " -> " in line and line.endswith('",')]
    assert len(ignored) == sum(len(c.get("ignore_imports", ())) for c in CONTRACTS.values())
    assert [lines[i] for i in ignored if not re.fullmatch(r"  # \w.{20,}", lines[i - 1])] == []


def test_nothing_is_imported_by_text() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).split(".")[-1] in {"import_module", "__import__"}
    }
    assert found == set(BY_TEXT)
