"""What a wheel and an sdist hold, and what their metadata say."""

from __future__ import annotations

import re
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

from printed import REPO

ALLOWED = re.compile(
    r"yolo_stability/(.+\.py|py\.typed|report/templates/report\.(css|js|html\.j2)"
    r"|_configs/(scenarios|suites)/[\w-]+\.yaml|_configs/(schema/)?\w+\.json|_datasets/\w+\.yaml)"
    r"|yolo_stability-[\w.]+\.dist-info/(METADATA|WHEEL|RECORD|entry_points\.txt|licenses/LICENSE)"
)


def complaints(wheel: Path, source: Path) -> list[str]:
    """Return what is wrong with the two files; nothing where all is right.

    Args:
        wheel: The wheel.
        source: The sdist.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = Parser().parsestr(
            archive.read(next(n for n in names if n.endswith("/METADATA"))).decode()
        )
    with tarfile.open(source) as archive:
        there = {name.partition("/")[2] for name in archive.getnames()}
    found = [f"the wheel holds {name}" for name in names if not ALLOWED.fullmatch(name)]
    found += [f"the wheel lacks {name}" for name in sorted(_wanted() - set(names))]
    found += [f"the sdist lacks {name}" for name in sorted(_sources() - there)]
    return [*found, *_about(dict(metadata.items()), metadata.get_all("Provides-Extra") or [])]


def _wanted() -> set[str]:
    """Return what the wheel must hold: the package, its configurations and its datasets."""
    package = {
        path.relative_to(REPO).as_posix() for path in (REPO / "yolo_stability").rglob("*.py")
    }
    for folder, inside in (("configs", "_configs"), ("datasets", "_datasets")):
        files = (path for path in (REPO / folder).rglob("*") if path.is_file())
        package |= {
            f"yolo_stability/{inside}/{path.relative_to(REPO / folder).as_posix()}"
            for path in files
        }
    return package


def _sources() -> set[str]:
    """Return what an sdist must hold beside the package, so that its tests and its documentation can be built."""
    parts = [
        REPO / "tests" / "conftest.py",
        REPO / "docs" / "generate.py",
        REPO / "Makefile",
        REPO / "constraints.txt",
    ]
    parts += [path for path in (REPO / "docs" / "pages" / "img").iterdir() if path.is_file()]
    parts += [path for path in (REPO / "docs" / "sample").rglob("*") if path.is_file()]
    parts += [*(REPO / "configs").rglob("*.yaml"), REPO / "CONTRIBUTING.md"]
    return {path.relative_to(REPO).as_posix() for path in parts}


def _about(metadata: dict[str, str], extras: list[str]) -> list[str]:
    project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {
        "License-Expression": project["license"],
        "License-File": "LICENSE",
        "Requires-Python": project["requires-python"],
        "Description-Content-Type": "text/markdown",
    }
    wrong = [
        f"{key} is {metadata.get(key)}, not {value}"
        for key, value in wanted.items()
        if metadata.get(key) != value
    ]
    if sorted(extras) != sorted(project["optional-dependencies"]):
        wrong.append(f"its extras are {', '.join(sorted(extras))}")
    return wrong
