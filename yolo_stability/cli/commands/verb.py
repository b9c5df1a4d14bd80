"""What a verb of the command line is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Verb"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One verb of the command line.

    Attributes:
        name: What the user types.
        usage: What follows the name, as help shows it.
        summary: What it does, in half a line.
        run: Takes the arguments without the verb, returns the exit code.
        examples: Whole command lines that work.
        details: More paragraphs for `help VERB`, already wrapped to 80 columns.
    """

    name: str
    usage: str
    summary: str
    run: Callable[[Sequence[str]], int]
    examples: tuple[str, ...] = ()
    details: str = ""
