"""`compare`: the report of a benchmark from any runs at hand."""

from __future__ import annotations

import json
from collections.abc import Sequence

from yolo_stability.cli import parser as arguments
from yolo_stability.cli.commands.verb import Verb
from yolo_stability.cli.exit_codes import DONE
from yolo_stability.cli.output import stdout_to_stderr, tell
from yolo_stability.core.errors import ConfigError, nearest

__all__ = ["VERB"]

KEYS = ("out",)


def run(args: Sequence[str]) -> int:
    """Compare runs and print what came out.

    Args:
        args: What the user typed, without the verb.

    Returns:
        Exit code 0.

    Raises:
        ConfigError: If there are too few runs, or a key is unknown.
    """
    words, pairs, as_json = arguments.read_with_json(args)
    for key in pairs:
        if key not in KEYS:
            raise ConfigError(
                f"Unknown key '{key}'.{nearest(key, KEYS)} 'compare' takes run folders, out= and --json."
            )
    with stdout_to_stderr():
        from yolo_stability.api import compare

        result = compare(*words, out=str(pairs.get("out", "runs/compare")))
    tell([json.dumps(result.to_json())] if as_json else result.lines())
    return DONE


VERB = Verb(
    name="compare",
    usage="RUN RUN ... [out=FOLDER] [--json]",
    summary="the same report from any runs at hand, the first as control",
    run=run,
    examples=("yolo-stability compare runs/detect/train runs/detect/train-2 out=runs/compared",),
    details="""\
  Each RUN is a run folder; the first one is the control. Runs that this
  package has recorded bring their gradients, plain ones of Ultralytics what
  results.csv can tell. One benchmark folder alone: its report is drawn again.
""",
)
