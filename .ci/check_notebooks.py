"""Refuse notebooks whose outputs are older than their code: `python .ci/check_notebooks.py FILE ...`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "docs"))

from notebooks import CODE_HASH, code_hash


def complaints(path: Path) -> list[str]:
    """Return what is wrong with the outputs of a notebook, a sentence each."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    codes = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    found = []
    if notebook["metadata"].get(CODE_HASH) != code_hash(notebook):
        found.append(
            f"{path}: its code changed after its last run; run python docs/notebooks.py {path.name}."
        )
    if not any(cell.get("outputs") for cell in codes):
        found.append(f"{path}: no cell shows anything; run python docs/notebooks.py {path.name}.")
    return found


if __name__ == "__main__":
    found = [line for name in sys.argv[1:] for line in complaints(Path(name))]
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    sys.exit(bool(found))
