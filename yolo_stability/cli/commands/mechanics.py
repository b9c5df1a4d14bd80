"""`mechanics`: why gradients vanish and explode, shown on small reference networks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from yolo_stability.cli import parser as arguments
from yolo_stability.cli import show
from yolo_stability.cli.commands.verb import Verb
from yolo_stability.cli.exit_codes import DONE
from yolo_stability.cli.output import stdout_to_stderr
from yolo_stability.core.errors import ConfigError, nearest

__all__ = ["KEYS", "STUDIES", "VERB"]

STUDIES = ("rnn", "depth", "clip")
KEYS = ("out", "seed", "json")


def run(args: Sequence[str]) -> int:
    """Run the studies, print their tables and what they show.

    Args:
        args: What the user typed, without the verb.

    Returns:
        Exit code 0.

    Raises:
        ConfigError: If a word is no study, or a key or value is impossible.
    """
    words, pairs, as_json = arguments.read_with_json(args)
    _check(words, pairs)
    with stdout_to_stderr():
        from yolo_stability.api import mechanics

        result = mechanics(
            words or STUDIES, out=str(pairs.get("out", "runs/mechanics")), seed=pairs.get("seed", 0)
        )
    if as_json:
        print(json.dumps(result.to_json()))
    else:
        show.show_mechanics(result)
    return DONE


def _check(studies: Sequence[str], pairs: dict[str, Any]) -> None:
    for word in studies:
        if word not in STUDIES:
            raise ConfigError(
                f"There is no study '{word}'.{nearest(word, STUDIES)} Choose from {', '.join(STUDIES)}."
            )
    for key in pairs:
        if key not in KEYS:
            raise ConfigError(
                f"Unknown key '{key}'.{nearest(key, KEYS)} 'mechanics' takes out=, seed= and --json."
            )


VERB = Verb(
    name="mechanics",
    usage="[rnn] [depth] [clip] [out=DIR] [seed=0] [--json]",
    summary="why gradients vanish and explode, on small networks",
    run=run,
    examples=("yolo-stability mechanics", "yolo-stability mechanics depth seed=1"),
    details="""\
  rnn    gradient norm against sequence length (2 to 200): plain RNNs of several
         spectral radii, LSTM, GRU
  depth  gradient norm of the first layer against depth (2 to 100): plain and
         residual stacks, activations, initial weights, normalisation
  clip   SGD on a recurrent network that explodes, with and without a clip

  Without a word all three run, in a few seconds on one CPU thread. Figures go to
  out=/mechanics.json, a picture of each study beside it, and the traces under
  out=/runs/, where any other tool for traces reads them. The same seed gives the
  same figures.
""",
)
