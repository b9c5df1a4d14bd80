"""The `verify` verb: repeats a benchmark, or a sample of it, and compares the traces."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from yolo_stability.cli.commands.verb import Verb
from yolo_stability.cli.exit_codes import DONE, UNSTABLE
from yolo_stability.cli.grammar import Key, Line, is_whole_or_none
from yolo_stability.cli.output import print_lines, stdout_to_stderr

if TYPE_CHECKING:
    from yolo_stability.benchmarks.verify import Check

__all__ = ["VERB"]


def call(line: Line) -> int:
    """Repeat a benchmark and print which runs are identical and what differs.

    Args:
        line: The folder, and `sample`.

    Returns:
        Exit code 0 if every repeated run is identical, else 3.
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
        print_lines(found.lines())
    return DONE if found.identical else UNSTABLE


def _print_check(check: Check) -> None:
    """Print the result of one checked run."""
    print_lines([f"{check.run}: {check.text}"])


VERB = Verb(
    name="verify",
    usage="FOLDER [sample=3] [--json]",
    summary="repeat a benchmark and compare the traces",
    call=call,
    keys=(Key(name="sample", is_valid=is_whole_or_none, valid="a whole number, 1 or more"),),
    unknown_key="Unknown key '{key}'.{hint} 'verify' takes sample= and --json.",
    one=("'verify' takes the folder of one benchmark, such as verify runs/benchmark/demo."),
    examples=("yolo-stability verify runs/benchmark/demo sample=3",),
    details="""\
  FOLDER is a benchmark folder. Each run, or sample= of them spread over the
  plan, is repeated and its trace compared step by step and block by block. For
  each difference the step, settings, data and versions that differ are
  reported. Exit code 0: identical; 3: different.
""",
)
