"""An unknown key, word or name is answered in one place."""

from __future__ import annotations

import ast
from pathlib import Path

import yolo_stability
from yolo_stability.core.suggestions import did_you_mean, nearest, unknown


def test_the_closest_choices_are_named_two_at_most() -> None:
    assert nearest("epoch", ["batch", "epochs"]) == " Did you mean 'epochs'?"
    assert nearest("lr", ["lr0", "lr1", "lr2", "imgsz"]) == " Did you mean 'lr2' or 'lr1'?"
    assert did_you_mean("from") == "Did you mean 'from'?"


def test_nothing_is_suggested_where_nothing_is_close() -> None:
    assert nearest("zzz", ["batch", "epochs"]) == ""
    assert unknown("verb", "zzz", ["train"]) == "Unknown verb 'zzz'."


def without_examples(path: Path) -> str:
    """Return a source without its docstrings, whose examples may show such a sentence."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value.value = None
    return ast.unparse(tree)


def test_no_other_module_puts_such_a_sentence_together() -> None:
    package = Path(yolo_stability.__file__).parent
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if any(text in without_examples(path) for text in ("difflib", "Did you mean"))
    }
    assert found == {"core/suggestions.py"}
