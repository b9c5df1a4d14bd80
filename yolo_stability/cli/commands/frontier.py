"""`frontier`: how far one number of a recipe can go before training is no longer stable."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from yolo_stability.cli import parser as arguments
from yolo_stability.cli.commands.verb import Verb
from yolo_stability.cli.exit_codes import DONE, INCONCLUSIVE, UNSTABLE
from yolo_stability.cli.output import stdout_to_stderr, tell
from yolo_stability.core.errors import ConfigError, nearest

__all__ = ["VERB"]

TASKS = ("detect", "pose")


def run(args: Sequence[str]) -> int:
    """Search as the arguments say and print what came out.

    Args:
        args: What the user typed, without the verb.

    Returns:
        Exit code 0 when every setting has an edge, 4 when one has none, 3 when runs were lost.

    Raises:
        ConfigError: If a word, key or value is impossible.
    """
    words, pairs, as_json = arguments.read_with_json(args)
    asked = _request(words, pairs)
    with stdout_to_stderr():
        from yolo_stability.api import frontier

        result = frontier(**asked)
    tell([json.dumps(result.to_json())] if as_json else result.lines())
    if result.lost:
        return UNSTABLE
    return INCONCLUSIVE if result.open else DONE


def _request(words: Sequence[str], pairs: dict[str, Any]) -> dict[str, Any]:
    """Return the keywords of the api's function."""
    tasks = [
        *(word for word in words if word in TASKS),
        *([str(pairs.pop("task"))] if "task" in pairs else []),
    ]
    names = [word for word in words if word not in TASKS]
    if names and "axis" not in pairs:
        pairs["axis"] = names.pop(0)
    if names and names[-1] in arguments.KNOWN_TASKS:
        raise ConfigError(f"'frontier' searches {' and '.join(TASKS)} only, not '{names[-1]}'.")
    if names or len(set(tasks)) > 1:
        raise ConfigError(
            f"'frontier' takes one axis and at most one task; '{(names or tasks)[-1]}' is too much."
        )
    if "axis" not in pairs:
        hint = "".join(
            f" '{key}' is no key.{nearest(key, ['axis'])}"
            for key in pairs
            if nearest(key, ["axis"])
        )
        raise ConfigError(
            f"'frontier' needs an axis: write axis=lr_mult, for instance, or another numeric key.{hint}"
        )
    for key, name in (("from", "start"), ("to", "end")):
        if name in pairs:
            raise ConfigError(f"Unknown key '{name}'. Did you mean '{key}'?")
        if key in pairs:
            pairs[name] = pairs.pop(key)
    if "out" in pairs:
        pairs["out"] = str(pairs["out"])
    return {**pairs, **({"task": tasks[0]} if tasks else {})}


VERB = Verb(
    name="frontier",
    usage="axis= [from= to=] [key=value,value ...] [--json]",
    summary="how far a number can go before training is unstable",
    run=run,
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
