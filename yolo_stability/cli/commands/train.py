"""`train`: a yolo training run, watched and guarded."""

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
    """Train as the line says.

    Args:
        line: What the user typed.

    Returns:
        Exit code: 0 when the run reached its end, 3 when the guard, `fail_on` or a rescue ended it.
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
    """Hand a request to the API."""
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
    """Print what the user should know."""
    print(f"WARNING: {text}", file=sys.stderr)


def _summary(result: RunResult) -> dict[str, Any]:
    """Return what `--json` prints; a metric that is NaN or Inf becomes null."""
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
    summary="a yolo training run, watched and guarded",
    call=call,
    free=True,
    examples=(
        "yolo-stability train data=shapes model=yolo26n.yaml imgsz=96 epochs=10",
        "yolo-stability train pose data=my/coco model=yolo26n-pose.pt guard=stop",
        "yolo-stability train data=shapes model=yolo26n.yaml imgsz=96 fault=nan_grad@3",
    ),
    details="""\
  Everything 'yolo train' takes is taken here, and means the same; 'yolo cfg'
  lists it. data= also takes a folder in COCO's own layout and the embedded
  sets shapes (detect) and figures (pose).

  guard=skip leaves a step with NaN or Inf out and goes on, stop ends the run
  at the first, off only watches. The trace is written to stability/ in the
  run folder.
""",
)
