"""`frontier`: how far one number of a recipe can go before training is no longer stable."""

from __future__ import annotations

from yolo_stability.cli.commands.verb import Verb
from yolo_stability.cli.exit_codes import DONE, INCONCLUSIVE, UNSTABLE
from yolo_stability.cli.grammar import Key, Line
from yolo_stability.cli.output import stdout_to_stderr, tell_result

__all__ = ["VERB"]


def call(line: Line) -> int:
    """Search and print what came out.

    Args:
        line: The keywords of the API's function.

    Returns:
        Exit code 0 when every setting has an edge, 4 when one has none, 3 when runs were lost.
    """
    with stdout_to_stderr():
        from yolo_stability.api import frontier

        result = frontier(**line.keys)
    tell_result(result, as_json=line.json)
    if result.lost:
        return UNSTABLE
    return INCONCLUSIVE if result.open else DONE


VERB = Verb(
    name="frontier",
    usage="axis= [from= to=] [key=value,value ...] [--json]",
    summary="how far a number can go before training is unstable",
    call=call,
    tasks=("detect", "pose"),
    first="axis",
    keys=(
        Key(name="from", keyword="start"),
        Key(name="to", keyword="end"),
        Key(name="out", read=str),
    ),
    missing="'frontier' needs an axis: write axis=lr_mult, for instance, or another numeric key.",
    surplus="'frontier' takes one axis and at most one task; '{word}' is too much.",
    other_task="'frontier' searches detect and pose only, not '{word}'.",
    examples=(
        "yolo-stability frontier axis=lr_mult",
        "yolo-stability frontier axis=lr_mult clip=norm:10,none norm=batch,none",
        "yolo-stability frontier axis=batch from=8 to=1 nbs=1 seeds=3 jobs=2",
    ),
    details="""\
  Bisects on a log scale between from=, the stable end, and to=; from= may be
  the larger one. axis= is any numeric key; without ends the search goes from
  the recipe's own value upwards (batch: downwards). The recipe is that of the
  scenario 'control'; every key of 'train' changes it, and a key with several
  values between commas makes a grid of settings.

  resolution= (default 1.5): neighbours differ by at most this factor. grid=N
  runs N values instead, which shows whether stability is monotone, and what
  bisection saves. seeds=3 or seeds=[3,4,5]; jobs= runs at once; out= the folder.

  A run is stable when it reaches its end without a critical finding (the first
  one ends it), a value when all seeds are. The same command again resumes.

  frontier.json and frontier.png go to out= (default runs/frontier/AXIS), and
  every run but its checkpoints, which are not kept. Exit code 0: an edge for
  every setting; 4: none for some, as nothing or everything was stable; 3: runs
  were lost.
""",
)
