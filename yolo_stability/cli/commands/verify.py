"""`verify`: run a benchmark again, or a sample of it, and compare."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from yolo_stability.cli.commands.verb import Verb
from yolo_stability.cli.exit_codes import DONE, UNSTABLE
from yolo_stability.cli.grammar import Key, Line, is_whole_or_none
from yolo_stability.cli.output import stdout_to_stderr, tell

if TYPE_CHECKING:
    from yolo_stability.benchmarks.verify import Check

__all__ = ["VERB"]


def call(line: Line) -> int:
    """Run a benchmark again and print what is the same and what is not.

    Args:
        line: The folder, and `sample`.

    Returns:
        Exit code 0 when everything came out identical, 3 when not.
    """
    with stdout_to_stderr():
        from yolo_stability.api import verify

        found = verify(line.words[0], sample=line.keys.get("sample"), on_check=_print_check)
    if line.json:
        checks = [{"run": c.run, "identical": c.identical, "text": c.text} for c in found.checks]
        print(
            json.dumps(
                {
                    "identical": found.identical,
                    "checks": checks,
                    "environment": list(found.environment),
                }
            )
        )
    else:
        tell(found.lines())
    return DONE if found.identical else UNSTABLE


def _print_check(check: Check) -> None:
    """Print a run as it is checked."""
    tell([f"{check.run}: {check.text}"])


VERB = Verb(
    name="verify",
    usage="FOLDER [sample=3] [--json]",
    summary="run a benchmark again: is the same coming out?",
    call=call,
    keys=(Key(name="sample", is_valid=is_whole_or_none, valid="a whole number, 1 or more"),),
    unknown_key="Unknown key '{key}'.{hint} 'verify' takes sample= and --json.",
    one=(
        "'verify' takes the folder of one benchmark: "
        "write verify runs/benchmark/demo, for instance."
    ),
    examples=("yolo-stability verify runs/benchmark/demo sample=3",),
    details="""\
  FOLDER is that of a benchmark. Each run, or sample= of them spread over the
  plan, is run again and its trace compared step by step and block by block.
  Where something differs, the step, the settings, the data and the versions
  that differ are named. Exit code 0: identical; 3: not.
""",
)
