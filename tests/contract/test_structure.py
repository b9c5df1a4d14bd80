"""Architecture rules checked in the source: module size, documentation, forbidden names."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
PACKAGE = REPO / "yolo_stability"
MAX_LINES = 350
MAX_PUBLIC_NAMES = 16
MACHINE_PATHS = r"(?<![\w.])/(?:root|home/\w+|Users/\w+|work|opt)[/](?=\w)"
HOSTS = r"pypi[.]org|pythonhosted[.]org|download[.]pytorch[.]org|artifactory[.]|-[-](?:extra-)?index-url|-[-]find-links"


# --- reading the source ---------------------------------------------------------------------------


def modules(package: Path) -> Iterator[tuple[str, Path]]:
    """Yield name below the package (such as `data.resolve`) and path of every module."""
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "__init__", path


def size_complaints(package: Path) -> list[str]:
    """Return a line for every module that is too long."""
    lengths = {
        name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules(package)
    }
    return [f"{name}: {count} lines" for name, count in lengths.items() if count > MAX_LINES]


def docstring_complaints(package: Path) -> list[str]:
    """Return a line for every public function, class or method without a first sentence."""
    found = []
    for name, path in modules(package):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [
            f"{name}.{node.name}" for node in public(tree) if not sentence(ast.get_docstring(node))
        ]
    return found


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def public(parent: ast.Module | ast.ClassDef) -> Iterator[Definition]:
    """Yield the public definitions of a module and of its public classes."""
    for node in parent.body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            if not any(
                ast.unparse(mark).endswith((".setter", "overload", "override"))
                for mark in node.decorator_list
            ):
                yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node)


def sentence(text: str | None) -> bool:
    """Tell whether the first line of a docstring is a sentence."""
    return bool(text) and str(text).splitlines()[0].rstrip("`\"'").endswith(".")


def tracked() -> list[Path]:
    """Return the files that git tracks or would track."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPO,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [REPO / name for name in names.split("\0") if name and (REPO / name).is_file()]


def place_complaints(files: list[Path]) -> list[str]:
    """Return a line for every path of one machine, or host of a package registry, in text files."""
    found = []
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{path.name}: {hit.group()}" for hit in re.finditer(f"{MACHINE_PATHS}|{HOSTS}", text)
        ]
    return found


# --- the rules, on this package -------------------------------------------------------------------


def test_no_module_is_longer_than_the_limit() -> None:
    assert size_complaints(PACKAGE) == []


def test_everything_public_is_documented_by_a_sentence() -> None:
    assert docstring_complaints(PACKAGE) == []


def test_tracked_files_name_no_machine_path_and_no_registry() -> None:
    assert place_complaints(tracked()) == []


def test_the_public_api_is_small() -> None:
    import yolo_stability

    names = getattr(yolo_stability, "__all__", [])
    assert len(set(names)) == len(names) <= MAX_PUBLIC_NAMES


def test_ruff_keeps_functions_short_and_simple() -> None:
    lint = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"][
        "lint"
    ]
    assert {"C90", "PL", "D"} <= set(lint["select"])
    assert lint["mccabe"]["max-complexity"] <= 10
    assert lint["pylint"]["max-statements"] <= 40


def test_constraints_pin_every_dependency_and_the_pair_of_the_makefile() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (REPO / "constraints.txt").read_text(encoding="utf-8")
    pinned = {line.split("==")[0] for line in text.splitlines() if "==" in line}
    needed = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    assert {re.split(r"[<>=\[ ]", name)[0].lower() for name in needed} <= pinned
    pins = re.search(
        r"^PINS := (.+)$", (REPO / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert pins
    assert set(pins.group(1).split()) <= set(text.splitlines())


def test_notebooks_carry_the_outputs_of_their_code() -> None:
    notebooks = [str(path) for path in (REPO / "notebooks").glob("*.ipynb")]
    done = subprocess.run(
        [sys.executable, str(REPO / ".ci" / "check_notebooks.py"), *notebooks],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


# --- the rules can fail ---------------------------------------------------------------------------


def test_a_notebook_that_changed_after_its_run_is_found(tmp_path: Path) -> None:
    path = tmp_path / "changed.ipynb"
    first = min((REPO / "notebooks").glob("*.ipynb"))
    path.write_text(first.read_text(encoding="utf-8").replace("import", "import os,", 1))
    done = subprocess.run(
        [sys.executable, str(REPO / ".ci" / "check_notebooks.py"), str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "changed after its last run" in done.stderr


def test_a_long_module_is_found(tmp_path: Path) -> None:
    write(tmp_path, "short", "x = 1\n" * MAX_LINES)
    write(tmp_path, "long", "x = 1\n" * (MAX_LINES + 1))
    assert size_complaints(tmp_path) == [f"long: {MAX_LINES + 1} lines"]


@pytest.mark.parametrize(
    "source",
    [
        "def f(): ...",
        'def f():\n    """No full stop"""',
        'class F:\n    """Right."""\n    def g(self): ...',
        "class F: ...",
    ],
)
def test_a_missing_sentence_is_found(tmp_path: Path, source: str) -> None:
    write(tmp_path, "m", source)
    assert len(docstring_complaints(tmp_path)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "p = '/{}/x'".format("root"),
        "see /{}/me/x".format("home"),
        "{}.org/simple".format("pypi"),
        "-{}-index-url".format(""),
    ],
)
def test_a_machine_path_or_a_registry_is_found(tmp_path: Path, text: str) -> None:
    write(tmp_path, "m", text)
    assert len(place_complaints([tmp_path / "m.py"])) == 1


def write(package: Path, module: str, source: str) -> None:
    """Write a module into a package made for a test."""
    path = package / f"{module.replace('.', '/')}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")


def test_every_module_that_a_text_names_by_its_path_exists() -> None:
    named = {
        (path.name, name)
        for path in [*PACKAGE.rglob("*.py"), *(REPO / "tests" / "contract").glob("*.py")]
        for name in re.findall(
            r"(?<![\w/.])((?:[a-z_]+/)+[a-z_]+\.py)\b", path.read_text(encoding="utf-8")
        )
        if name.partition("/")[0] in {p.name for p in PACKAGE.iterdir() if p.is_dir()}
    }
    assert {(file, name) for file, name in named if not (PACKAGE / name).is_file()} == set()
