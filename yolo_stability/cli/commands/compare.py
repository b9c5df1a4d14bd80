"""The `compare` verb: writes a benchmark report from existing runs."""

from __future__ import annotations

from yolo_stability.cli.commands.verb import Verb
from yolo_stability.cli.exit_codes import DONE
from yolo_stability.cli.grammar import Key, Line
from yolo_stability.cli.output import print_result, stdout_to_stderr

__all__ = ["VERB"]


def call(line: Line) -> int:
    """Compare runs and print the result.

    Args:
        line: Run folders, and `out`.

    Returns:
        Exit code 0.

    Raises:
        ConfigError: If there are too few runs.
    """
    with stdout_to_stderr():
        from yolo_stability.api import compare

        result = compare(*line.words, **line.keys)
    print_result(result, as_json=line.json)
    return DONE


VERB = Verb(
    name="compare",
    usage="RUN RUN ... [out=FOLDER] [--json]",
    summary="write the same report from existing runs",
    call=call,
    keys=(Key(name="out", default="runs/compare", read=str),),
    unknown_key="Unknown key '{key}'.{hint} 'compare' takes run folders, out= and --json.",
    examples=("yolo-stability compare runs/detect/train runs/detect/train-2 out=runs/compared",),
    details="""\
  Each RUN is a run folder; the first one is the control. Runs recorded by this
  package include gradients; a stock run of Ultralytics or YOLOv5 has the columns
  of results.csv and the verdict of 'diagnose'. Printed are the verdict of each
  run and the settings that differ from the control, as in its args.yaml. Given
  a single benchmark folder, its report is written again.
""",
)
