"""What a verb of the command line is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from yolo_stability.cli.grammar import Grammar, Line
from yolo_stability.cli.parser import parse

__all__ = ["Verb"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb(Grammar):
    """One verb of the command line, with the grammar of its line.

    Attributes:
        name: What the user types.
        usage: What follows the name, as help shows it.
        summary: What it does, in half a line.
        call: Takes the line, returns the exit code.
        examples: Whole command lines that work.
        details: More paragraphs for `help VERB`, already wrapped to 80 columns.
    """

    name: str
    usage: str
    summary: str
    call: Callable[[Line], int]
    examples: tuple[str, ...] = ()
    details: str = ""

    def run(self, args: Sequence[str]) -> int:
        """Read a line and do what it asks for.

        Args:
            args: What the user typed, without the verb.

        Returns:
            The exit code.

        Raises:
            ConfigError: If a word, key or value is impossible.
        """
        return self.call(parse(self, args))
