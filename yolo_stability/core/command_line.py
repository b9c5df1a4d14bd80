"""The command line of a process: its bare words, its verb, and the line as the user typed it.

Finding the verb needs no library, so help and a mistyped verb answer at once.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["bare", "find_verb", "typed_command"]


def bare(args: Sequence[str]) -> list[tuple[int, str]]:
    """Return position and text of the arguments that belong to no `key=value`, without dashes and commas."""
    found = []
    for i, arg in enumerate(args):
        value_of_previous = i > 0 and args[i - 1].endswith("=") and "=" not in arg
        key_of_next = i + 1 < len(args) and args[i + 1].startswith("=")
        if "=" not in arg and not value_of_previous and not key_of_next:
            found.append((i, arg.removeprefix("--").removesuffix(",")))
    return found


def find_verb(args: Sequence[str], verbs: Iterable[str]) -> tuple[str | None, list[str]]:
    """Find the verb, wherever it stands.

    Args:
        args: What the user typed after the program's name.
        verbs: Verbs to look for.

    Returns:
        The verb, or None, and the arguments without it.
    """
    known = set(verbs)
    for i, word in bare(args):
        if word in known:
            return word, [*args[:i], *args[i + 1 :]]
    return None, list(args)


def typed_command(verb: str) -> str:
    """Return the command line of this process if it is ours and has this verb; empty for anybody else's program."""
    program, *args = sys.argv or [""]  # a host may leave it empty
    module = Path(program).parts[-2:] == ("yolo_stability", "__main__.py")
    ours = module or Path(program).stem == "yolo-stability"
    return shlex.join(["yolo-stability", *args]) if ours and find_verb(args, [verb])[0] else ""
