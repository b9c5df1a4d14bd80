"""All cases, and the table of them in README.md."""

from __future__ import annotations

import checkpoints
import data_sets
import own_blocks
import own_code
import short_runs
import stock_tables

CASES = (
    *stock_tables.CASES,
    *short_runs.CASES,
    *own_blocks.CASES,
    *own_code.CASES,
    *data_sets.CASES,
    *checkpoints.CASES,
)
INPUTS = tuple({case.given.name: case.given for case in CASES}.values())


def table() -> str:
    """Return the table of all cases for README.md."""
    head = "| case | what the person saw | right answer | after | made right by |\n|---|---|---|---|---|\n"
    return head + "".join(f"{case.row()}\n" for case in CASES)


if __name__ == "__main__":
    print(table(), end="")
