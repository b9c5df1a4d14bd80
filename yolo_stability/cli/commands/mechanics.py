"""The `mechanics` verb: shows on small networks why gradients vanish and explode."""

from __future__ import annotations

import json

from yolo_stability.cli import show
from yolo_stability.cli.commands.verb import Verb
from yolo_stability.cli.exit_codes import DONE
from yolo_stability.cli.grammar import Key, Line
from yolo_stability.cli.output import stdout_to_stderr

__all__ = ["VERB"]

STUDIES = ("rnn", "depth", "clip")


def call(line: Line) -> int:
    """Run the studies and print their tables and conclusions.

    Args:
        line: Names of studies, `out` and `seed`.

    Returns:
        Exit code 0.

    Raises:
        ConfigError: If a value is impossible.
    """
    with stdout_to_stderr():
        from yolo_stability.api import mechanics

        result = mechanics(line.words or STUDIES, **line.keys)
    if line.json:
        print(json.dumps(result.to_json()))
    else:
        show.show_mechanics(result)
    return DONE


VERB = Verb(
    name="mechanics",
    usage="[rnn] [depth] [clip] [out=DIR] [seed=0] [--json]",
    summary="show why gradients vanish and explode",
    call=call,
    words=STUDIES,
    unknown_word=f"Unknown study '{{word}}'.{{hint}} Choose from {', '.join(STUDIES)}.",
    keys=(Key(name="out", default="runs/mechanics", read=str), Key(name="seed", default=0)),
    hints=("out", "seed", "json"),
    unknown_key="Unknown key '{key}'.{hint} 'mechanics' takes out=, seed= and --json.",
    examples=("yolo-stability mechanics", "yolo-stability mechanics depth seed=1"),
    details="""\
  rnn    gradient norm vs. sequence length (2 to 200): plain RNNs of several
         spectral radii, LSTM, GRU
  depth  gradient norm of the first layer vs. depth (2 to 100): plain and
         residual stacks, activations, initial weights, normalization
  clip   SGD on a recurrent network that explodes, with and without clipping

  Without a name all three run, in a few seconds on one CPU thread. Numbers are
  written to mechanics.json in out=, with one plot per study, and the traces to
  runs/ below it, where any trace reader can load them. The same seed gives the
  same numbers.
""",
)
