"""Refuse notebooks with outputs or execution counts in them: `python .ci/check_notebooks.py FILE ...`."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def leftovers(path: Path) -> list[str]:
    """Return what is left of an execution in a notebook, a sentence each."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [
        f"{path}: cell {number} has outputs or an execution count; clear all outputs and save."
        for number, cell in enumerate(cells, start=1)
        if cell.get("outputs") or cell.get("execution_count") is not None
    ]


if __name__ == "__main__":
    complaints = [line for name in sys.argv[1:] for line in leftovers(Path(name))]
    print("\n".join(complaints), file=sys.stderr, end="\n" if complaints else "")
    sys.exit(bool(complaints))
