"""The `benchmark` verb: runs a suite, with resume, and writes its report."""

from __future__ import annotations

from typing import Any

from yolo_stability.cli.commands.verb import Verb
from yolo_stability.cli.exit_codes import DONE, UNSTABLE
from yolo_stability.cli.grammar import Key, Line, is_count
from yolo_stability.cli.output import print_result, stdout_to_stderr

__all__ = ["VERB"]


def call(line: Line) -> int:
    """Run a suite and print the result.

    Args:
        line: Keywords of `api.benchmark`.

    Returns:
        Exit code 0, even if arms failed as designed; 3 if runs were lost.
    """
    with stdout_to_stderr():
        from yolo_stability.api import benchmark

        result = benchmark(**line.keys)
    print_result(result, as_json=line.json)
    return UNSTABLE if result.lost else DONE


def _joined(arms: Any) -> str | None:
    """Return the names of arms, joined by commas."""
    if arms is None:
        return None
    return ",".join(arms) if isinstance(arms, list | tuple) else str(arms)


VERB = Verb(
    name="benchmark",
    usage="suite= [key=value ...] [--json]",
    summary="compare stable and destabilized settings in a report",
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
        "'benchmark' needs a suite, such as suite=quick. 'yolo-stability list suites' lists all of "
        "them."
    ),
    surplus="Unexpected argument '{word}': 'benchmark' takes one suite and at most one task.",
    examples=(
        "yolo-stability benchmark suite=demo",
        "yolo-stability benchmark suite=quick seeds=3 jobs=2 out=runs/quick",
        "yolo-stability benchmark suite=my.yaml arms=control,no-norm task=pose epochs=4",
    ),
    details="""\
  suite= is the name of a built-in suite (see 'list suites') or your own YAML
  file. Override its settings with seeds=, arms=, task=, model=, data= and
  every key of 'train'.

  jobs= sets the number of parallel runs (one thread each), out= the folder.
  Repeat the command to resume: finished runs are kept, killed runs restart.

  The folder contains report.html, report.md, results.json, series.parquet and
  every run. Exit code 0: all runs ended, even if arms failed as designed;
  3: runs were lost.
""",
)
