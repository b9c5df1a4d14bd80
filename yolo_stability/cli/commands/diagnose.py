"""The `diagnose` verb: reports what went wrong in a run, a log, an incident or a checkpoint."""

from __future__ import annotations

import json
import shutil

from yolo_stability.cli import show
from yolo_stability.cli.commands.verb import Verb
from yolo_stability.cli.exit_codes import DONE, INCONCLUSIVE, UNSTABLE
from yolo_stability.cli.grammar import Key, Line
from yolo_stability.cli.output import stdout_to_stderr

__all__ = ["VERB"]

_CODES = {"stable": DONE, "unstable": UNSTABLE, "failed": UNSTABLE, "inconclusive": INCONCLUSIVE}


def call(line: Line) -> int:
    """Diagnose a path and print the result.

    Args:
        line: The path, and `log`.

    Returns:
        Exit code 0 for a stable run, a sound checkpoint, or a reproduced incident; 3 for an
        unstable or failed run, a damaged checkpoint, or an incident that did not recur; 4 for an
        inconclusive run, or too little data.
    """
    with stdout_to_stderr():
        from yolo_stability.api import examine

        examined = examine(line.words[0], log=line.keys.get("log"))
    if line.json:
        print(json.dumps(examined.to_json(), allow_nan=False))
    else:
        show.show_examined(examined, min(shutil.get_terminal_size().columns, 100))
    if examined.reproduced is not None:
        return DONE if examined.reproduced else UNSTABLE
    return _CODES[examined.diagnosis.verdict]


VERB = Verb(
    name="diagnose",
    usage="PATH [log=FILE] [--json]",
    summary="report what went wrong, where, since when and why",
    call=call,
    keys=(Key(name="log", default=None, read=str),),
    hints=("json", "log"),
    unknown_key="Unknown key '{key}'.{hint} 'diagnose' takes a path, log= and --json.",
    one="'diagnose' takes one path, such as diagnose runs/detect/train or diagnose last.pt.",
    examples=(
        "yolo-stability diagnose runs/detect/train",
        "yolo-stability diagnose runs/detect/train log=console.log",
        "yolo-stability diagnose runs/detect/train/weights/last.pt",
        "yolo-stability diagnose runs/detect/train/stability/incidents/step-000031",
    ),
    details="""\
  PATH is a run folder, recorded by this package or a stock one of Ultralytics
  or YOLOv5 (of which only the losses and metrics of each epoch are known), or
  its results.csv; a file with what a training printed to the console; a
  checkpoint, which is audited without executing any code from it; or an
  incident folder, whose batch is replayed. In a recorded run folder the result
  is also written to stability/diagnosis.json.

  log=FILE adds what a stock run printed: a run that was killed, ran out of
  memory, raised an exception or met Ctrl-C leaves the same files otherwise.

  Exit code 0: stable, sound, or the incident recurred; 3: unstable, failed,
  damaged, or the incident did not recur; 4: inconclusive: too early to know,
  broken off, in progress, or not enough data for a verdict or a replay.
""",
)
