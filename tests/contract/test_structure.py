"""The rules of the architecture, read off the source: who imports whom, how large a module is, what is documented."""

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
OWN = "yolo_stability"
MAX_LINES = 350
MAX_PUBLIC_NAMES = 16
DRAWING = {
    "matplotlib",
    "mpl_toolkits",
    "plotly",
    "jinja2",
    "markupsafe",
    "rich",
    "numpy",
    "polars",
}
NUMBERS = (
    *("statistics", "verdict", "assessment", "series", "bins", "digest"),
    *("faultbench", "remedybench", "rescuebench"),
)
DIAGNOSING = (
    *(
        "rules",
        "rule",
        "scene",
        "signals",
        "noise_scale",
        "specimen",
        "causes",
        "diagnosis",
        "live",
    ),
    *("advice", "rescue"),
)
FRONT = (
    "cli",
    "commands",
    "help",
    "arguments",
    "failures",
    "interrupts",
    "streams",
    "config",
    "__main__",
)
FRONT_MAY_SEE = (
    *(
        *FRONT,
        "api",
        "errors",
        "types",
        "actions",
        "resources",
        "data.resolve",
        "integration.arguments",
    ),
    *(
        "registry",
        "interventions.registries",
        "suite",
        "executors",
        "rules",
        "sinks",
    ),  # names only: they load no torch
)
MACHINE_PATHS = r"(?<![\w.])/(?:root|home/\w+|Users/\w+|work|opt)[/](?=\w)"
HOSTS = r"pypi[.]org|pythonhosted[.]org|download[.]pytorch[.]org|artifactory[.]|-[-](?:extra-)?index-url|-[-]find-links"


# --- reading the source -----------------------------------------------------------------------------------------------


def modules(package: Path) -> Iterator[tuple[str, Path]]:
    """Yield name below the package (such as `data.resolve`) and path of every module."""
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "__init__", path


def imports(path: Path, name: str) -> set[str]:
    """Return what a module imports, anywhere in it, as dotted names; what only the type checker reads is left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    ignored = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for stmt in block.body
        for node in ast.walk(stmt)
    }
    found: set[str] = set()
    package = (
        [OWN, *name.split(".")] if path.name == "__init__.py" else [OWN, *name.split(".")][:-1]
    )
    for node in ast.walk(tree):
        if id(node) in ignored:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*package[: len(package) - node.level + 1], node.module or ""]).strip(
                "."
            )
            base = base if node.level else str(node.module)
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in {
            "import_module",
            "__import__",
        }:
            found |= {arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)}
    return found


def within(name: str, *areas: str) -> bool:
    """Tell whether a module is one of the areas or lies below one."""
    return any(name == area or name.startswith(f"{area}.") for area in areas)


def import_complaints(package: Path) -> list[str]:
    """Return a line for every import that the architecture forbids."""
    return [
        f"{name}: {complaint}"
        for name, path in modules(package)
        for complaint in complaints_of(name, imports(path, name), package)
    ]


def complaints_of(name: str, seen: set[str], package: Path) -> Iterator[str]:
    """Yield what is wrong with the imports of one module."""
    third = {
        top
        for top in (item.split(".")[0] for item in seen)
        if top not in {*sys.stdlib_module_names, OWN}
    }
    known = {module for module, _ in modules(package)} | {"api"}
    below = {item.removeprefix(f"{OWN}.") for item in seen if item.startswith(f"{OWN}.")} & known

    def only(allowed: set[str]) -> Iterator[str]:
        yield from (f"imports {top}" for top in sorted(third - allowed))

    def sees_only(*areas: str) -> Iterator[str]:
        # `from yolo_stability.data import resolve` names the package on the way: what counts is the deepest module
        deepest = {
            module for module in below if not any(other.startswith(f"{module}.") for other in below)
        }
        yield from (f"sees {module}" for module in sorted(deepest) if not within(module, *areas))

    banned = set() if within(name, "integration") else {"ultralytics"}
    banned |= {"torch", "torchvision", "matplotlib", "plotly"} if within(name, *NUMBERS) else set()
    yield from (f"imports {top}" for top in sorted(third & banned))
    if within(name, "types", "errors", "actions"):
        yield from [*only(set()), *sees_only("types", "errors")]
    if within(name, "blocks", "gradstats"):
        yield from [*only({"torch", "numpy"}), *sees_only("types", "errors")]
    if within(name, *DIAGNOSING):
        yield from [
            *only({"numpy", "polars", "scipy"}),
            *sees_only(
                *DIAGNOSING, "series", "types", "actions", "errors", "registry", "resources"
            ),
        ]
    if within(name, "report"):
        yield from [
            *only(DRAWING),
            *sees_only("report", "types", "results", "summary", "errors", "resources"),
        ]
    if within(name, *FRONT):
        yield from [*only({"pydantic", "yaml", "rich"}), *sees_only(*FRONT_MAY_SEE)]
    if within(name, "integration"):
        yield from (
            f"sees {module}" for module in sorted(below) if within(module, "report", *DIAGNOSING)
        )
    if within(name, "data", "interventions"):
        outside = {module for module in below if within(module, "integration")} - {
            "integration",
            "integration.compat",
        }
        yield from (f"sees {module}" for module in sorted(outside))


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


# --- the rules, on this package ---------------------------------------------------------------------------------------


def test_modules_import_only_what_the_architecture_allows() -> None:
    assert import_complaints(PACKAGE) == []


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


def test_notebooks_carry_no_outputs() -> None:
    notebooks = [str(path) for path in (REPO / "notebooks").glob("*.ipynb")]
    done = subprocess.run(
        [sys.executable, str(REPO / ".ci" / "check_notebooks.py"), *notebooks],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


# --- the rules can fail -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("types", "import numpy"),
        ("types", "def f():\n    import polars"),
        ("errors", "from yolo_stability import config"),
        ("blocks", "import polars"),
        ("gradstats", "from yolo_stability.trace import reader"),
        ("rules.spike", "import torch.nn as nn"),
        ("actions", "import numpy"),
        ("rules.spike", "import pandas"),
        ("rules.spike", "from yolo_stability.trace import reader"),
        ("diagnosis", "def f():\n    from matplotlib import pyplot"),
        ("diagnosis", "import plotly.graph_objects"),
        ("diagnosis", "from yolo_stability.report import heatmap"),
        ("causes", "from yolo_stability import config"),
        ("scene", "def f():\n    import torch"),
        ("signals", "import torchvision"),
        ("specimen", "from yolo_stability.trainer import compat"),
        ("rule", "import cv2"),
        ("series", "import torch"),
        ("verdict", "import torch"),
        ("statistics", "import plotly.graph_objects"),
        ("trace.reader", "from ultralytics.utils import LOGGER"),
        ("api", "import importlib\nimportlib.import_module('ultralytics')"),
        ("integration.monitor", "from yolo_stability.report import heatmap"),
        ("integration.monitor", "from ..report.heatmap import draw"),
        ("integration.guard", "from yolo_stability.diagnosis.rules.spike import rule"),
        ("integration.watch", "from yolo_stability import rule"),
        ("report.table", "import torch"),
        ("report.table", "from yolo_stability.trainer import compat"),
        ("cli", "from yolo_stability.trace import reader"),
        ("commands.train", "import torch"),
        ("data.coco", "from yolo_stability.trainer.base_monitor import watch"),
    ],
)
def test_a_forbidden_import_is_found(tmp_path: Path, module: str, source: str) -> None:
    for name in (
        "config",
        "trace.reader",
        "report.heatmap",
        "rules.spike",
        "rule",
        "integration.compat",
        "integration.monitor",
    ):
        write(tmp_path, name, "")
    assert import_complaints(tmp_path) == []
    write(tmp_path, module, source)
    assert [line.split(":")[0] for line in import_complaints(tmp_path)] == [module]


def test_imports_for_the_type_checker_are_free(tmp_path: Path) -> None:
    write(
        tmp_path,
        "types",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import polars as pl\n",
    )
    assert import_complaints(tmp_path) == []


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
