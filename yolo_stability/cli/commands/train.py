"""The `train` verb: a YOLO training run, recorded and guarded."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from typing import TYPE_CHECKING, Any

from yolo_stability.cli.commands.verb import Verb
from yolo_stability.cli.exit_codes import DONE, UNSTABLE
from yolo_stability.cli.grammar import Line
from yolo_stability.cli.output import stdout_to_stderr
from yolo_stability.cli.parser import TrainRequest, train_request

if TYPE_CHECKING:
    from yolo_stability.trainer.result import RunResult

__all__ = ["VERB"]


def call(line: Line) -> int:
    """Run one training.

    Args:
        line: The arguments as typed.

    Returns:
        Exit code 0 if the run completed, 3 if the guard, `fail_on` or a rescue stopped it.
    """
    as_json = any(
        word.removeprefix("--").removesuffix(",").startswith("json") for word in line.args
    )
    with stdout_to_stderr() if as_json else contextlib.nullcontext():
        request = train_request(line.args)
        for note in request.notes:
            print(note, file=sys.stderr)
        result = _train(request)
    if request.json:
        print(json.dumps(_summary(result), allow_nan=False))
    return UNSTABLE if result.stopped else DONE


def _train(request: TrainRequest) -> RunResult:
    """Pass a request to the API."""
    from yolo_stability.api import train_checked
    from yolo_stability.trainer.messages import RunMessages

    return train_checked(
        request.task,
        model=request.model,
        data=request.data,
        settings=request.settings,
        overrides=request.overrides,
        messages=RunMessages(note=print, warning=_print_warning),
    )


def _print_warning(text: str) -> None:
    """Print a warning to stderr."""
    print(f"WARNING: {text}", file=sys.stderr)


def _summary(result: RunResult) -> dict[str, Any]:
    """Return the values for `--json`; a metric that is NaN or Inf becomes null."""
    skipped = result.trace.steps["skipped"]
    return {
        "save_dir": str(result.save_dir),
        "stopped": result.stopped,
        "steps": result.trace.steps.height,
        "guard_skips": sum(who == "guard" for who in skipped),
        "metrics": {
            name: float(v) if math.isfinite(v) else None for name, v in result.metrics.items()
        },
    }


VERB = Verb(
    name="train",
    usage="[detect|pose|...] model= data= [key=value ...] [--json]",
    summary="train like 'yolo train', recorded and guarded",
    call=call,
    free=True,
    examples=(
        "yolo-stability train data=shapes model=yolo26n.yaml imgsz=96 epochs=10",
        "yolo-stability train pose data=my/coco model=yolo26n-pose.pt guard=stop",
        "yolo-stability train data=shapes model=yolo26n.yaml imgsz=96 fault=nan_grad@3",
    ),
    details="""\
  Accepts every argument of 'yolo train', with the same meaning; 'yolo cfg'
  lists them. data= also takes a folder in COCO layout and the embedded datasets
  shapes (detect) and figures (pose).

  guard=skip skips a step with NaN or Inf and continues, stop ends the run at
  the first such step, off only records it. The trace is written to stability/
  in the run folder.
""",
)
