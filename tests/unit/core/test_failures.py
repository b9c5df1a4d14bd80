"""The user's own line nearest to an exception, however deep in a library it was raised."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from yolo_stability.core.failures import failure_of, users_line

HERE = Path(__file__).name


def raised(function: object) -> BaseException:
    try:
        function()  # type: ignore[operator]
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def deepest() -> None:
    raise ValueError("here")


def test_a_line_of_the_user_is_named() -> None:
    line = deepest.__code__.co_firstlineno + 1
    assert users_line(raised(deepest)) == f"{HERE}:{line}"


def test_library_frames_below_it_are_passed_over() -> None:
    def through() -> None:
        torch.nn.Linear(2, 1)(torch.ones(3, 3))

    line = through.__code__.co_firstlineno + 1
    assert users_line(raised(through)) == f"{HERE}:{line}"
    through_json = raised(lambda: json.loads("{"))
    assert str(users_line(through_json)).startswith(f"{HERE}:")


def test_the_waiting_script_is_named_if_only_a_library_took_part(tmp_path: Path) -> None:
    """As a training is: the exception is seen far below the script that called it."""
    library = tmp_path / "site-packages" / "library.py"
    library.parent.mkdir()
    library.write_text(
        "from yolo_stability.core.failures import users_line\n"
        "def run():\n    try:\n        1 / 0\n    except ZeroDivisionError as e:\n"
        "        return users_line(e)\n"
    )
    script = tmp_path / "train.py"
    script.write_text(
        "import sys\nsys.path.append(sys.argv[1])\nimport library\nprint(library.run())\n"
    )
    line = [sys.executable, str(script), str(library.parent)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "train.py:4"
    inside = [sys.executable, "-c", f"import sys; sys.path.append({str(library.parent)!r})\n"]
    inside[-1] += "import library\nprint(library.run())"
    done = subprocess.run(inside, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "<string>:3"


@pytest.mark.parametrize("message", ["", "x" * 5000, "two\nlines"])
def test_the_message_is_kept_within_limits(message: str) -> None:
    failure = failure_of(ValueError(message))
    assert (failure.type, failure.message) == ("ValueError", message[:2000])
    assert failure.where is None
