"""Lookup of the notebook views of results."""

from __future__ import annotations

import subprocess
import sys

from yolo_stability.core import views


class Shown:
    def __str__(self) -> str:
        return "head <b>\n- one\n- two"


class Special(Shown):
    pass


def test_lines_are_the_view_of_what_registered_none() -> None:
    shown = views.html(Shown())
    assert "<b>head &lt;b&gt;</b>" in shown
    assert "<li>one</li><li>two</li>" in shown


def test_the_nearest_registered_type_wins() -> None:
    views.register_html(Special, lambda value: "<p>special</p>")
    try:
        assert views.html(Special()) == "<p>special</p>"
        assert "<li>one</li>" in views.html(Shown())
    finally:
        del views._HTML[Special]


def test_nothing_that_draws_is_imported_before_something_is_shown() -> None:
    code = (
        "import sys, yolo_stability; from yolo_stability.core import views; "
        "assert not [m for m in sys.modules if m.startswith('yolo_stability.display')]; "
        "print(views.html(1))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "<div><p><b>1</b></p><ul></ul></div>\n"
