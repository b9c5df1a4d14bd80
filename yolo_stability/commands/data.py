"""`data`: draw an embedded set or import a COCO folder, and say what came of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from yolo_stability import arguments
from yolo_stability.commands.verb import Verb
from yolo_stability.errors import ConfigError, nearest
from yolo_stability.failures import DONE
from yolo_stability.streams import stdout_to_stderr

__all__ = ["EMBEDDED", "VERB"]

EMBEDDED = {"shapes": "detect", "figures": "pose"}
"""Embedded sets and the task each is for."""
TASKS = ("detect", "pose")
KINDS = ("embedded", "coco")


def run(args: Sequence[str]) -> int:
    """Resolve a dataset and print where it is and what was dropped.

    Args:
        args: What the user typed, without the verb.

    Returns:
        Exit code 0.

    Raises:
        ConfigError: If the line is not `embedded NAME` or `coco FOLDER`.
        DataError: If the dataset cannot be used.
    """
    words, pairs = arguments.read(args)
    as_json = "json" in words or bool(pairs.pop("json", False))
    words = [word for word in words if word != "json"]
    data, task = _request(words, pairs)
    with stdout_to_stderr():
        from yolo_stability.data.resolve import resolve_data

        resolved = resolve_data(data, task)
    if as_json:
        print(json.dumps({"data": resolved.data, "notes": list(resolved.notes)}))
    else:
        print("\n".join([str(resolved.data), *resolved.notes]))
    return DONE


def _request(words: Sequence[str], pairs: dict[str, Any]) -> tuple[str, str]:
    """Return dataset and task of the line."""
    unknown = [key for key in pairs if key != "task"]
    if unknown:
        raise ConfigError(f"Unknown key '{unknown[0]}'.{nearest(unknown[0], ['task'])} 'data' takes task= only.")
    if not words or words[0] not in KINDS:
        got = f" '{words[0]}' is neither." if words else ""
        raise ConfigError(f"Write 'data embedded NAME' or 'data coco FOLDER'.{got}")
    kind, names = words[0], [word for word in words[1:] if word not in TASKS]
    tasks = [*(word for word in words[1:] if word in TASKS), *([str(pairs["task"])] if "task" in pairs else [])]
    if len(names) != 1 or len(tasks) > 1:
        what = f"one of {', '.join(EMBEDDED)}" if kind == "embedded" else "one folder"
        raise ConfigError(f"'data {kind}' takes {what}, and at most one task.")
    if kind == "embedded" and names[0] not in EMBEDDED:
        raise ConfigError(
            f"No embedded set is called '{names[0]}'.{nearest(names[0], EMBEDDED)} There are {', '.join(EMBEDDED)}."
        )
    if kind == "coco" and names[0] in EMBEDDED:
        names = [f"./{names[0]}"]  # the folder of that name, not the embedded set
    task = tasks[0] if tasks else EMBEDDED.get(names[0], "detect") if kind == "embedded" else "detect"
    if task not in TASKS:
        raise ConfigError(f"task={task} is not possible here; task is {' or '.join(TASKS)}.")
    return names[0], task


VERB = Verb(
    name="data",
    usage="embedded shapes|figures  |  coco FOLDER [task=detect|pose]",
    summary="draw an embedded set, or import a COCO folder",
    run=run,
    examples=("yolo-stability data embedded figures", "yolo-stability data coco my/coco task=pose"),
    details="""\
  Prints the dataset YAML that data= takes, and a line for everything that was
  dropped or changed on the way, with the reason. A folder is imported once;
  after that it comes from a cache.
""",
)
