"""The `data` verb: draws an embedded dataset, imports a COCO folder, or checks a dataset."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from yolo_stability.cli.commands.verb import Verb
from yolo_stability.cli.exit_codes import DONE, UNSTABLE
from yolo_stability.cli.grammar import Grammar, Key, Line
from yolo_stability.cli.output import print_lines, print_result, stdout_to_stderr
from yolo_stability.cli.parser import arrange
from yolo_stability.core.errors import ConfigError
from yolo_stability.core.suggestions import nearest
from yolo_stability.core.text import listing

__all__ = ["EMBEDDED", "VERB"]

EMBEDDED = {"shapes": "detect", "figures": "pose"}
"""Embedded datasets and their tasks."""
TASKS = ("detect", "pose")
CHECK_TASKS = ("detect", "segment", "pose", "obb", "classify")

KINDS = {
    "embedded": Grammar(
        tasks=TASKS,
        one=f"'data embedded' takes one of {', '.join(EMBEDDED)} and at most one task.",
    ),
    "coco": Grammar(tasks=TASKS, one="'data coco' takes one folder and at most one task."),
    "check": Grammar(
        tasks=CHECK_TASKS,
        one="'data check' takes one dataset (data YAML, folder or name) and at most one task.",
    ),
}
"""Grammar of what follows the first word."""


def call(line: Line) -> int:
    """Resolve a dataset and print its path and what was dropped, or check it.

    Args:
        line: `embedded NAME`, `coco FOLDER` or `check DATA`, and `task`.

    Returns:
        Exit code 0; 3 if a check found damage.

    Raises:
        ConfigError: If the line matches none of these.
        DataError: If the dataset cannot be used.
    """
    kind, *words = line.words or [""]
    if kind not in KINDS:
        got = f"Unknown word '{kind}'.{nearest(kind, KINDS)}" if kind else "A word is missing."
        raise ConfigError(
            f"{got} Write 'data embedded NAME', 'data coco FOLDER' or 'data check DATA'."
        )
    if kind == "check":
        keys = {key: value for key, value in line.keys.items() if value is not None}
        return _check(arrange(KINDS[kind], replace(line, words=words, keys=keys)))
    for key in ("imgsz", "out"):
        if line.keys.get(key) is not None:
            raise ConfigError(f"'data {kind}' takes no {key}=, only 'data check' does.")
    return _resolve(kind, arrange(KINDS[kind], replace(line, words=words)))


def _check(line: Line) -> int:
    """Check a dataset and print the report; return the exit code."""
    task = line.keys.get("task")
    if task is not None and task not in CHECK_TASKS:
        raise ConfigError(
            f"Invalid value task={task}: expected {listing(CHECK_TASKS, 'or')}, the tasks whose "
            f"datasets the check reads.{nearest(task, CHECK_TASKS)}"
        )
    with stdout_to_stderr():
        from yolo_stability.data.check.check import check_data

        report = check_data(line.words[0], task, **_options(line))
    print_result(report, as_json=line.json)
    return UNSTABLE if report.damaged else DONE


def _options(line: Line) -> dict[str, Any]:
    """Return the options of a check that are given: image size and page."""
    options: dict[str, Any] = {}
    if (imgsz := line.keys.get("imgsz")) is not None:
        if not isinstance(imgsz, int) or isinstance(imgsz, bool) or not 32 <= imgsz <= 100_000:
            raise ConfigError(
                f"Invalid value imgsz={imgsz}: expected a size in pixels, such as 640."
            )
        options["imgsz"] = imgsz
    if (out := line.keys.get("out")) is not None:
        options["out"] = str(out)
    return options


def _resolve(kind: str, line: Line) -> int:
    """Draw or import a dataset and print its path; return the exit code."""
    name = line.words[0]
    task = line.keys.get("task", EMBEDDED.get(name, "detect") if kind == "embedded" else "detect")
    if kind == "embedded" and name not in EMBEDDED:
        raise ConfigError(
            f"Unknown embedded dataset '{name}': expected {' or '.join(EMBEDDED)}."
            f"{nearest(name, EMBEDDED)}"
        )
    if task not in TASKS:
        raise ConfigError(f"Invalid value task={task}: expected {' or '.join(TASKS)}.")
    if kind == "coco" and name in EMBEDDED:
        name = f"./{name}"  # the folder of that name, not the embedded dataset
    with stdout_to_stderr():
        from yolo_stability.data.resolve import resolve_data

        resolved = resolve_data(name, task)
    if line.json:
        print(json.dumps({"data": resolved.data, "notes": list(resolved.notes)}))
    else:
        print_lines([str(resolved.data), *resolved.notes])
    return DONE


VERB = Verb(
    name="data",
    usage="embedded NAME | coco FOLDER | check DATA [task=] [--json]",
    summary="draw a dataset, import a COCO folder, or check any dataset",
    call=call,
    keys=(Key(name="task"), Key(name="imgsz"), Key(name="out")),
    unknown_key="Unknown key '{key}'.{hint} 'data' takes task=, imgsz= and out=.",
    examples=("yolo-stability data embedded figures", "yolo-stability data coco my/coco task=pose"),
    details="""\
  NAME is shapes (detect) or figures (pose).

  embedded and coco print the path of the dataset YAML for data=, and one line
  for everything that was dropped or changed, with the reason. A folder is
  imported once and then cached.

  check (yolo-stability data check my/data.yaml) reports what Ultralytics would
  lose or change with little or no notice (images ignored because of one bad
  row, labels removed, JPEGs rewritten), and valid files and rows that cannot be
  meant: 16-bit images that turn black, boxes below a pixel at imgsz=640,
  corners instead of centers, splits without labels, the same picture in train
  and val. It takes a data YAML, a folder with one, a folder in COCO layout, a
  folder of class folders, or the name of an embedded dataset, and writes
  nothing into your folder. out=check.html writes a page with pictures.
  Exit code 0: nothing would be lost or wrong; 3: the check found damage.
""",
)
