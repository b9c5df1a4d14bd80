"""Cases after public bug reports: each input is what it claims, and the product's answer is right.

A case that is not right yet is expected to fail with `Mismatch`, a wrong answer, and with nothing else: an input that
did not come about, a crash or an answer without JSON is an error. The marks are strict: once an issue makes a case
right, `waits_for` has to become None.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from answers import Mismatch, compare
from case_types import Case, Input, ask
from in_process import Ran
from registry import CASES, INPUTS, table
from workshop import Workshop


def _marks(given: Input) -> list[pytest.MarkDecorator]:
    return [pytest.mark.trains] if given.trains else []


def _param(case: Case) -> object:
    marks = _marks(case.given)
    if case.waits_for:
        marks.append(pytest.mark.xfail(strict=True, raises=Mismatch, reason=case.waits_for))
    return pytest.param(case, id=case.name, marks=marks)


@pytest.fixture
def brought(case: Case, workshop: Workshop) -> tuple[Path, Ran | None]:
    """Give the folder of a case's input and how making it ended; a fixture, since only the answer may be wrong."""
    folder, made = workshop.make(case.given)
    case.given.proof(folder, made)
    return folder, made


@pytest.mark.parametrize("given", [pytest.param(i, id=i.name, marks=_marks(i)) for i in INPUTS])
def test_the_input_is_what_it_claims(given: Input, workshop: Workshop) -> None:
    given.proof(*workshop.make(given))


@pytest.mark.parametrize("case", [_param(case) for case in CASES])
def test_the_answer_is_right(case: Case, brought: tuple[Path, Ran | None]) -> None:
    compare(ask(case, *brought), case.right)


def test_names_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def test_the_readme_lists_every_case() -> None:
    text = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")
    assert table() in text, "write the output of tests/cases/registry.py into tests/cases/README.md"
