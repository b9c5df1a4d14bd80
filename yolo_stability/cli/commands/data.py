"""`data`: draw an embedded set, import a COCO folder, or check what Ultralytics would do with a dataset."""

from __future__ import annotations

import json
from dataclasses import replace

from yolo_stability.cli.commands.verb import Verb
from yolo_stability.cli.exit_codes import DONE, UNSTABLE
from yolo_stability.cli.grammar import Grammar, Key, Line
from yolo_stability.cli.output import stdout_to_stderr, tell, tell_result
from yolo_stability.cli.parser import arrange
from yolo_stability.core.errors import ConfigError
from yolo_stability.core.suggestions import nearest

__all__ = ["EMBEDDED", "VERB"]

EMBEDDED = {"shapes": "detect", "figures": "pose"}
"""Embedded sets and the task each is for."""
TASKS = ("detect", "pose")
CHECK_TASKS = ("detect", "segment", "pose", "obb")

KINDS = {
    "embedded": Grammar(
        tasks=TASKS,
        one=f"'data embedded' takes one of {', '.join(EMBEDDED)}, and at most one task.",
    ),
    "coco": Grammar(tasks=TASKS, one="'data coco' takes one folder, and at most one task."),
    "check": Grammar(
        tasks=CHECK_TASKS,
        one="'data check' takes one dataset (a data YAML, a folder, a name), and at most one task.",
    ),
}
"""The lines after the first word."""


def call(line: Line) -> int:
    """Resolve a dataset and print where it is and what was dropped, or check it.

    Args:
        line: `embedded NAME`, `coco FOLDER` or `check DATA`, and `task`.

    Returns:
        Exit code 0, or 3 when a check found damage.

    Raises:
        ConfigError: If the line is none of these.
        DataError: If the dataset cannot be used.
    """
    kind, *words = line.words or [""]
    if kind not in KINDS:
        got = f" '{kind}' is neither." if kind else ""
        raise ConfigError(
            f"Write 'data embedded NAME' or 'data coco FOLDER'.{got} "
            "'data check DATA' looks for damage."
        )
    if kind == "check":
        keys = {key: value for key, value in line.keys.items() if value is not None}
        return _check(arrange(KINDS[kind], replace(line, words=words, keys=keys)))
    return _resolve(kind, arrange(KINDS[kind], replace(line, words=words)))


def _check(line: Line) -> int:
    """Check a dataset and print the report; return the exit code."""
    task = line.keys.get("task")
    if task is not None and task not in CHECK_TASKS:
        raise ConfigError(
            f"task={task} is not possible here.{nearest(task, CHECK_TASKS)}"
            f" The check reads labels for {', '.join(CHECK_TASKS)}."
        )
    with stdout_to_stderr():
        from yolo_stability.data.check.check import check_data

        report = check_data(line.words[0], task)
    tell_result(report, as_json=line.json)
    return UNSTABLE if report.damaged else DONE


def _resolve(kind: str, line: Line) -> int:
    """Draw or import a dataset and print where it is; return the exit code."""
    name = line.words[0]
    task = line.keys.get("task", EMBEDDED.get(name, "detect") if kind == "embedded" else "detect")
    if kind == "embedded" and name not in EMBEDDED:
        raise ConfigError(
            f"No embedded set is called '{name}'.{nearest(name, EMBEDDED)} "
            f"There are {', '.join(EMBEDDED)}."
        )
    if task not in TASKS:
        raise ConfigError(f"task={task} is not possible here; task is {' or '.join(TASKS)}.")
    if kind == "coco" and name in EMBEDDED:
        name = f"./{name}"  # the folder of that name, not the embedded set
    with stdout_to_stderr():
        from yolo_stability.data.resolve import resolve_data

        resolved = resolve_data(name, task)
    if line.json:
        print(json.dumps({"data": resolved.data, "notes": list(resolved.notes)}))
    else:
        tell([str(resolved.data), *resolved.notes])
    return DONE


VERB = Verb(
    name="data",
    usage="embedded NAME | coco FOLDER | check DATA [task=] [--json]",
    summary="draw a set, import a COCO folder, or check any dataset",
    call=call,
    keys=(Key(name="task"),),
    unknown_key="Unknown key '{key}'.{hint} 'data' takes task= only.",
    examples=("yolo-stability data embedded figures", "yolo-stability data coco my/coco task=pose"),
    details="""\
  NAME is shapes (detect) or figures (pose).

  embedded and coco print the dataset YAML that data= takes, and a line for
  everything that was dropped or changed on the way, with the reason. A folder
  is imported once; after that it comes from a cache.

  check (yolo-stability data check my/data.yaml) says what Ultralytics would do
  with a dataset without telling you much: images it ignores for one bad row,
  labels it removes, JPEGs it rewrites, files it leaves in your folder. It takes
  a data YAML, a folder with one, a folder in COCO's layout, or the name of a
  set, and writes nothing into your folder. Exit code 0: nothing would be lost;
  3: the check found damage.
""",
)
