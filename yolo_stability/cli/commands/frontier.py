"""The `frontier` verb: finds how far one numeric key can go before training is unstable."""

from __future__ import annotations

from yolo_stability.cli.commands.verb import Verb
from yolo_stability.cli.exit_codes import DONE, INCONCLUSIVE, UNSTABLE
from yolo_stability.cli.grammar import Key, Line
from yolo_stability.cli.output import print_result, stdout_to_stderr

__all__ = ["VERB"]


def call(line: Line) -> int:
    """Search and print the result.

    Args:
        line: Keywords of `api.frontier`.

    Returns:
        Exit code 0 if every setting has an edge, 4 if one has none, 3 if runs were lost.
    """
    with stdout_to_stderr():
        from yolo_stability.api import frontier

        result = frontier(**line.keys)
    print_result(result, as_json=line.json)
    if result.lost:
        return UNSTABLE
    return INCONCLUSIVE if result.open else DONE


VERB = Verb(
    name="frontier",
    usage="axis= [from= to=] [key=value,value ...] [--json]",
    summary="find the value at which training becomes unstable",
    call=call,
    tasks=("detect", "pose"),
    first="axis",
    keys=(
        Key(name="from", keyword="start"),
        Key(name="to", keyword="end"),
        Key(name="out", read=str),
    ),
    missing="'frontier' needs an axis, such as axis=lr_mult or another numeric key.",
    surplus="Unexpected argument '{word}': 'frontier' takes one axis and at most one task.",
    other_task="Invalid task '{word}': 'frontier' takes detect or pose.",
    examples=(
        "yolo-stability frontier axis=lr_mult",
        "yolo-stability frontier axis=lr_mult clip=norm:10,none norm=batch,none",
        "yolo-stability frontier axis=batch from=8 to=1 nbs=1 seeds=3 jobs=2",
    ),
    details="""\
  Bisects on a log scale between from=, the stable end, and to=; from= may be
  the larger one. axis= is any numeric key; without from= and to= the search
  starts at the value of the recipe and increases it (batch: decreases it). The
  recipe is the scenario 'control'; override it with any key of 'train'. A key
  with several comma-separated values makes a grid of settings.

  resolution= (default 1.5): adjacent values differ by at most this factor.
  grid=N runs N values instead, which shows whether stability is monotone and
  what bisection saves. seeds=3 or seeds=[3,4,5]; jobs= sets the number of
  parallel runs, out= the folder.

  A run is stable if it ends without a critical finding (the first one stops
  it), a value if all seeds are. Repeat the command to resume.

  frontier.json, frontier.png and every run, without its checkpoints, are
  written to out= (default runs/frontier/AXIS). Exit code 0: every setting has
  an edge; 4: some have none, as nothing or everything was stable; 3: runs were
  lost.
""",
)
