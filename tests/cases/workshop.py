"""Makes the inputs of cases, each once."""

from __future__ import annotations

from pathlib import Path

from case_types import Input
from in_process import Ran


class Workshop:
    """Makes each input once, whatever number of cases ask about it.

    Args:
        root: Where the inputs go.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._made: dict[str, Ran | None] = {}

    def make(self, given: Input) -> tuple[Path, Ran | None]:
        """Return the folder of an input and how what made it ended.

        Raises:
            AssertionError: Making it failed before.
        """
        folder = self._root / given.name
        if given.name not in self._made:
            assert not folder.exists(), f"{given.name} did not come about: see its first error"
            folder.mkdir()
            self._made[given.name] = given.make(folder)
        return folder, self._made[given.name]
