"""A public class or function name means one thing in the whole package."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import yolo_stability

PACKAGE = Path(yolo_stability.__file__).parent
# Names that may occur in several modules of one kind, whose file determines the meaning.
SHARED = {
    "call": "cli/commands/: what each verb does with its line",
    "draw": "data/synthetic/: every embedded set draws its own pictures",
    "main": "entry point of a program",
}


def public_names() -> dict[str, list[str]]:
    """Return the modules that define each public class or function; methods do not count."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found[node.name].append(path.relative_to(PACKAGE).as_posix())
    return {name: files for name, files in found.items() if not name.startswith("_")}


def test_each_name_is_defined_once() -> None:
    twice = {name: files for name, files in public_names().items() if len(files) > 1}
    unexpected = {name: files for name, files in twice.items() if name not in SHARED}
    assert not unexpected, f"one name, two meanings: {unexpected}"


def test_exceptions_are_needed() -> None:
    names = public_names()
    assert [name for name in SHARED if len(names.get(name, ())) < 2] == []
