"""The declaration of a verb of the command line."""

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
        name: The word on the command line.
        usage: Arguments after the name, for the help page.
        summary: One line for the help page, at most 52 characters.
        call: Function that takes the parsed line and returns the exit code.
        examples: Complete, working command lines.
        details: Paragraphs for `help VERB`, wrapped to 80 columns.
    """

    name: str
    usage: str
    summary: str
    call: Callable[[Line], int]
    examples: tuple[str, ...] = ()
    details: str = ""

    def run(self, args: Sequence[str]) -> int:
        """Parse a line and run the verb.

        Args:
            args: The arguments as typed, without the verb.

        Returns:
            The exit code.

        Raises:
            ConfigError: If a word, key or value is impossible.
        """
        return self.call(parse(self, args))
