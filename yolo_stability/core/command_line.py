"""The command line of a process: its positional words, its verb, and the line as typed.

Finding the verb loads no library, so help and a mistyped verb are answered without delay.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["bare", "find_verb", "typed_command"]


def bare(args: Sequence[str]) -> list[tuple[int, str]]:
    """Return position and text of arguments outside `key=value`, without dashes and commas."""
    found = []
    for i, arg in enumerate(args):
        value_of_previous = i > 0 and args[i - 1].endswith("=") and "=" not in arg
        key_of_next = i + 1 < len(args) and args[i + 1].startswith("=")
        if "=" not in arg and not value_of_previous and not key_of_next:
            found.append((i, arg.removeprefix("--").removesuffix(",")))
    return found


def find_verb(args: Sequence[str], verbs: Iterable[str]) -> tuple[str | None, list[str]]:
    """Find the verb at any position.

    Args:
        args: Arguments after the program's name.
        verbs: Verbs to look for.

    Returns:
        The verb, or None, and the arguments without it.

    Example:
        >>> find_verb(["model=yolo26n.pt", "train"], ["train", "diagnose"])
        ('train', ['model=yolo26n.pt'])
    """
    known = set(verbs)
    for i, word in bare(args):
        if word in known:
            return word, [*args[:i], *args[i + 1 :]]
    return None, list(args)


def typed_command(verb: str) -> str:
    """Return this process's command line if it is ours with this verb; else an empty string."""
    program, *args = sys.argv or [""]  # an embedding program may leave it empty
    module = Path(program).parts[-2:] == ("yolo_stability", "__main__.py")
    ours = module or Path(program).stem == "yolo-stability"
    return shlex.join(["yolo-stability", *args]) if ours and find_verb(args, [verb])[0] else ""
