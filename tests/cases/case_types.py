"""What a case is, and how its answer is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from answers import Answer, Expectation, Mismatch
from in_process import Ran, run_command

TRUE_VERDICT = "issue 18: A verdict that is true"
PEOPLE_BRING = "issue 19: What people bring"
CODES = {"stable": {0}, "unstable": {3}, "failed": {3}, "inconclusive": {4}}
"""Exit codes of `diagnose` by verdict."""


@dataclass(frozen=True, kw_only=True)
class Input:
    """What a person brings: a results folder, a data set, a checkpoint, or a script that has run.

    Attributes:
        name: Name of its folder.
        make: Fills an empty folder; returns how what it ran ended.
        proof: Asserts that the input is what its cases claim.
        trains: Whether a model is trained for it.
    """

    name: str
    make: Callable[[Path], Ran | None]
    proof: Callable[[Path, Ran | None], None]
    trains: bool = False


@dataclass(frozen=True, kw_only=True)
class Case:
    """A question about an input, and the right answer.

    Attributes:
        given: What the person brings.
        saw: What the person saw, in a few words.
        after: Public reports that it follows.
        right: All that is right about the answer.
        ask: Words of the command line, in the folder of the input; `--json` is added.
        waits_for: Issue that will make it right; None where it is right already.
        variant: Distinguishes it from other cases of the input; empty for the first.
    """

    given: Input
    saw: str
    after: str
    right: tuple[Expectation, ...]
    ask: tuple[str, ...]
    waits_for: str | None
    variant: str = ""

    @property
    def name(self) -> str:
        """Name of the case: that of its input, and the variant."""
        return f"{self.given.name}-{self.variant}" if self.variant else self.given.name

    def row(self) -> str:
        """Return its row of the table in README.md."""
        right = "; ".join(e.right for e in self.right)
        cells = (self.name, self.saw, right, self.after, self.waits_for or "right today")
        return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def ask(case: Case, folder: Path, made: Ran | None) -> Answer:
    """Run the command of a case.

    Raises:
        Mismatch: The product refused the input.
        AssertionError: It crashed, printed no JSON, or its exit code contradicts its verdict.
    """
    ran = run_command(folder, *case.ask, "--json")
    assert ran.code != 1, f"a crash, not an answer: {ran.printed}"
    if ran.code == 2:
        raise Mismatch(f"expected an answer, got a refusal: {ran.printed.strip()}")
    answer = Answer(json=json.loads(ran.out), code=ran.code, folder=folder, made=made)
    if case.ask[0] == "diagnose":
        assert ran.code in CODES[answer.json["verdict"]], "exit code and verdict contradict"
    return answer
