"""The `probe` verb: one batch forward and backward, before any training."""

from __future__ import annotations

import json

from yolo_stability.cli import show
from yolo_stability.cli.commands.verb import Verb
from yolo_stability.cli.exit_codes import DONE, UNSTABLE
from yolo_stability.cli.grammar import Line
from yolo_stability.cli.output import stdout_to_stderr
from yolo_stability.cli.probe_request import read_probe_line

__all__ = ["VERB"]


def call(line: Line) -> int:
    """Probe every setting of the grid and print them side by side.

    Args:
        line: What the user typed.

    Returns:
        Exit code 0 if every setting is healthy, 3 if gradients vanish or explode in one.

    Raises:
        ConfigError: If a word, key, value or model cannot be used.
        DataError: If the dataset cannot be used.
    """
    with stdout_to_stderr():
        asked = read_probe_line(line.args)
        from yolo_stability.api import draw_probes, probe_checked

        results = probe_checked(asked.request)
        picture = draw_probes(results, asked.out)
    if asked.json:
        print(
            json.dumps(
                {"picture": str(picture), "settings": [result.to_json() for result in results]}
            )
        )
    else:
        show.show_probes(results, picture)
    return DONE if all(result.verdict == "healthy" for result in results) else UNSTABLE


VERB = Verb(
    name="probe",
    usage="[TASK] model= data= [key=value,value ...] [out=] [--json]",
    summary="measure gradient flow along the depth on one batch",
    call=call,
    free=True,
    examples=(
        "yolo-stability probe model=yolo26n.yaml data=shapes norm=none",
        "yolo-stability probe data=shapes norm=batch,none init=default,kaiming",
        "yolo-stability probe pose data=figures act=silu,relu,sigmoid --json",
    ),
    details="""\
  Builds the model with the switches norm=, init=, act=, residual= and
  depth_mult= and runs one batch forward and backward, without training (default
  imgsz=160 batch=8 mosaic=0 seed=0; any Ultralytics key is accepted).
  Comma-separated values make a grid, shown side by side.

  Each setting is compared with the stock profile of the same model on the same
  batch, never with a constant. gain: gradient norm at the output of the first
  block over that at the outputs of the head. signal: standard deviation of the
  block output that differs most from stock. Exploding or vanishing: a gain 100
  times, or a signal 10 times, larger or smaller than stock, or NaN or Inf.

  Prints a table and writes probe.png to out= (default runs/probe). Exit code 0:
  all settings are healthy; 3: vanishing or exploding in at least one.
""",
)
