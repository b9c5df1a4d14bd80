"""`data`: draw an embedded set, import a COCO folder, or check what Ultralytics would do with a dataset."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from yolo_stability.cli import parser as arguments
from yolo_stability.cli.commands.verb import Verb
from yolo_stability.cli.exit_codes import DONE, UNSTABLE
from yolo_stability.cli.output import stdout_to_stderr, tell
from yolo_stability.core.errors import ConfigError, nearest

__all__ = ["EMBEDDED", "VERB"]

EMBEDDED = {"shapes": "detect", "figures": "pose"}
"""Embedded sets and the task each is for."""
TASKS = ("detect", "pose")
CHECK_TASKS = ("detect", "segment", "pose", "obb")
KINDS = ("embedded", "coco", "check")


def run(args: Sequence[str]) -> int:
    """Resolve a dataset and print where it is and what was dropped, or check it.

    Args:
        args: What the user typed, without the verb.

    Returns:
        Exit code 0, or 3 when a check found damage.

    Raises:
        ConfigError: If the line is not `embedded NAME`, `coco FOLDER` or `check DATA`.
        DataError: If the dataset cannot be used.
    """
    words, pairs, as_json = arguments.read_with_json(args)
    if words[:1] == ["check"]:
        return _check(words[1:], pairs, as_json)
    data, task = _request(words, pairs)
    with stdout_to_stderr():
        from yolo_stability.data.resolve import resolve_data

        resolved = resolve_data(data, task)
    if as_json:
        print(json.dumps({"data": resolved.data, "notes": list(resolved.notes)}))
    else:
        tell([str(resolved.data), *resolved.notes])
    return DONE


def _check(words: Sequence[str], pairs: dict[str, Any], as_json: bool) -> int:
    """Check a dataset and print the report; return the exit code."""
    task = pairs.pop("task", None)
    _only_task(pairs)
    names = [word for word in words if word not in CHECK_TASKS]
    tasks = [
        *(word for word in words if word in CHECK_TASKS),
        *([] if task is None else [str(task)]),
    ]
    if len(names) != 1 or len(set(tasks)) > 1:
        raise ConfigError(
            "'data check' takes one dataset (a data YAML, a folder, a name), and at most one task."
        )
    if tasks and tasks[0] not in CHECK_TASKS:
        raise ConfigError(
            f"task={tasks[0]} is not possible here.{nearest(tasks[0], CHECK_TASKS)}"
            f" The check reads labels for {', '.join(CHECK_TASKS)}."
        )
    with stdout_to_stderr():
        from yolo_stability.data.check.check import check_data

        report = check_data(names[0], tasks[0] if tasks else None)
    tell([json.dumps(report.to_json())] if as_json else report.lines())
    return UNSTABLE if report.damaged else DONE


def _only_task(pairs: dict[str, Any]) -> None:
    unknown = [key for key in pairs if key != "task"]
    if unknown:
        raise ConfigError(
            f"Unknown key '{unknown[0]}'.{nearest(unknown[0], ['task'])} 'data' takes task= only."
        )


def _request(words: Sequence[str], pairs: dict[str, Any]) -> tuple[str, str]:
    """Return dataset and task of the line."""
    _only_task(pairs)
    if not words or words[0] not in KINDS:
        got = f" '{words[0]}' is neither." if words else ""
        raise ConfigError(
            f"Write 'data embedded NAME' or 'data coco FOLDER'.{got} 'data check DATA' looks for damage."
        )
    kind, names = words[0], [word for word in words[1:] if word not in TASKS]
    tasks = [
        *(word for word in words[1:] if word in TASKS),
        *([str(pairs["task"])] if "task" in pairs else []),
    ]
    if len(names) != 1 or len(set(tasks)) > 1:
        what = f"one of {', '.join(EMBEDDED)}" if kind == "embedded" else "one folder"
        raise ConfigError(f"'data {kind}' takes {what}, and at most one task.")
    if kind == "embedded" and names[0] not in EMBEDDED:
        raise ConfigError(
            f"No embedded set is called '{names[0]}'.{nearest(names[0], EMBEDDED)} There are {', '.join(EMBEDDED)}."
        )
    if kind == "coco" and names[0] in EMBEDDED:
        names = [f"./{names[0]}"]  # the folder of that name, not the embedded set
    task = (
        tasks[0] if tasks else EMBEDDED.get(names[0], "detect") if kind == "embedded" else "detect"
    )
    if task not in TASKS:
        raise ConfigError(f"task={task} is not possible here; task is {' or '.join(TASKS)}.")
    return names[0], task


VERB = Verb(
    name="data",
    usage="embedded NAME | coco FOLDER | check DATA [task=] [--json]",
    summary="draw a set, import a COCO folder, or check any dataset",
    run=run,
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
