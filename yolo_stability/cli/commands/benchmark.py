"""`benchmark`: run a suite, resumably, and write its report."""

from __future__ import annotations

from typing import Any

from yolo_stability.cli.commands.verb import Verb
from yolo_stability.cli.exit_codes import DONE, UNSTABLE
from yolo_stability.cli.grammar import Key, Line, is_count
from yolo_stability.cli.output import stdout_to_stderr, tell_result

__all__ = ["VERB"]


def call(line: Line) -> int:
    """Run a suite and print what came out.

    Args:
        line: The keywords of the API's function.

    Returns:
        Exit code 0, also when arms failed as they were meant to; 3 when runs were lost.
    """
    with stdout_to_stderr():
        from yolo_stability.api import benchmark

        result = benchmark(**line.keys)
    tell_result(result, as_json=line.json)
    return UNSTABLE if result.lost else DONE


def _joined(arms: Any) -> str | None:
    """Return names of arms as one text."""
    if arms is None:
        return None
    return ",".join(arms) if isinstance(arms, list | tuple) else str(arms)


VERB = Verb(
    name="benchmark",
    usage="suite= [key=value ...] [--json]",
    summary="stable defaults against destabilised settings, with a report",
    call=call,
    tasks=("detect", "pose"),
    first="suite",
    keys=(
        Key(name="jobs", is_valid=is_count, valid="a whole number, 1 or more"),
        Key(name="seeds", is_valid=is_count, valid="a whole number, 1 or more"),
        Key(name="arms", read=_joined),
        Key(name="suite", read=str),
    ),
    missing=(
        "'benchmark' needs a suite: write suite=quick, for instance; 'list suites' names them all."
    ),
    surplus="'benchmark' takes one suite and at most one task; '{word}' is too much.",
    examples=(
        "yolo-stability benchmark suite=demo",
        "yolo-stability benchmark suite=quick seeds=3 jobs=2 out=runs/quick",
        "yolo-stability benchmark suite=my.yaml arms=control,no-norm task=pose epochs=4",
    ),
    details="""\
  suite= is the name of a shipped suite ('list suites') or a YAML file of your
  own. seeds=, arms=, task=, model=, data= and every key of 'train' change it.

  jobs= runs at once (each uses one thread), out= the folder. The same command
  again resumes: what has finished is not run again, what was killed is.

  The folder then holds report.html, report.md, results.json, series.parquet
  and every run. Exit code 0 also when arms fail as they were meant to; 3 when
  runs were lost.
""",
)
