"""`benchmark`: run a suite, resumably, and write its report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from yolo_stability.cli import parser as arguments
from yolo_stability.cli.commands.verb import Verb
from yolo_stability.cli.exit_codes import DONE, UNSTABLE
from yolo_stability.cli.output import stdout_to_stderr, tell
from yolo_stability.core.errors import ConfigError, nearest

__all__ = ["VERB"]

TASKS = ("detect", "pose")


def run(args: Sequence[str]) -> int:
    """Run a suite as the arguments say and print what came out.

    Args:
        args: What the user typed, without the verb.

    Returns:
        Exit code 0, also when arms failed as they were meant to; 3 when runs were lost.

    Raises:
        ConfigError: If a word, key or value is impossible.
    """
    words, pairs, as_json = arguments.read_with_json(args)
    chosen = _request(words, pairs)
    with stdout_to_stderr():
        from yolo_stability.api import benchmark

        result = benchmark(**chosen)
    tell([json.dumps(result.to_json())] if as_json else result.lines())
    return UNSTABLE if result.lost else DONE


def _request(words: Sequence[str], pairs: dict[str, Any]) -> dict[str, Any]:
    """Return the keywords of the api's function."""
    tasks = [
        *(word for word in words if word in TASKS),
        *([str(pairs.pop("task"))] if "task" in pairs else []),
    ]
    names = [word for word in words if word not in TASKS]
    if names and "suite" not in pairs:
        pairs["suite"] = names.pop(0)
    if names or len(set(tasks)) > 1:
        raise ConfigError(
            f"'benchmark' takes one suite and at most one task; '{(names or tasks)[-1]}' is too much."
        )
    if "suite" not in pairs:
        hint = "".join(
            f" '{key}' is no key.{nearest(key, ['suite'])}"
            for key in pairs
            if nearest(key, ["suite"])
        )
        raise ConfigError(
            f"'benchmark' needs a suite: write suite=quick, for instance; 'list suites' names them all.{hint}"
        )
    for key, least in (("jobs", 1), ("seeds", 1)):
        value = pairs.get(key, least)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ConfigError(
                f"{key}={value} is not possible: {key} is a whole number, {least} or more."
            )
    arms = pairs.pop("arms", None)
    return {
        **pairs,
        **(
            {"arms": ",".join(arms) if isinstance(arms, list | tuple) else str(arms)}
            if arms is not None
            else {}
        ),
        **({"task": tasks[0]} if tasks else {}),
        "suite": str(pairs["suite"]),
    }


VERB = Verb(
    name="benchmark",
    usage="suite= [key=value ...] [--json]",
    summary="stable defaults against destabilised settings, with a report",
    run=run,
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
