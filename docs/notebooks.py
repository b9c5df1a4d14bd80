"""Run the notebooks and store what their cells show, or check that it still is what they show.

    python docs/notebooks.py                      # run all of them and store their outputs (minutes)
    python docs/notebooks.py --check              # run all of them and compare; exit code 1 if one differs
    python docs/notebooks.py 01_quickstart.ipynb  # one notebook

Kept are results, pictures and printed text; progress and log lines are dropped, and so is what differs from run to
run: paths, times and execution metadata. A comparison ignores numbers, since they depend on the machine.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
NOTEBOOKS = HERE.parent / "notebooks"
CODE_HASH = "code_hash"
LOG = re.compile(
    r"^(?:stability: |Ultralytics |\s*$|\x1b\[|Results saved|Plotting|Starting training)"
)
ENVIRONMENT = {
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    "OMP_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
}


def code_hash(notebook: Any) -> str:
    """Return a hash of the code of a notebook, by which stale outputs are found without running it.

    Args:
        notebook: The notebook as a mapping, as `json.load` or nbformat returns it.
    """
    sources = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    texts = ["".join(source) for source in sources]  # in JSON a source is a list of lines
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def run(path: Path) -> Any:
    """Run a notebook in a folder of its own and return it with the outputs to keep.

    Args:
        path: The notebook.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell failed.
    """
    import nbclient
    import nbformat

    notebook = nbformat.read(path, 4)
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update({**ENVIRONMENT, "YOLO_CONFIG_DIR": folder, "TMPDIR": folder})
        client = nbclient.NotebookClient(
            notebook,
            timeout=1200,
            kernel_name="python3",
            resources={"metadata": {"path": str(path.parent)}},
        )
        client.execute()
        for number, cell in enumerate(
            (c for c in notebook.cells if c.cell_type == "code"), start=1
        ):
            cell.outputs = [
                clean(output, folder, number) for output in cell.outputs if is_kept(output)
            ]
            cell.execution_count = number
            cell.metadata = nbformat.NotebookNode()
    notebook.metadata = nbformat.NotebookNode(
        {
            "kernelspec": notebook.metadata["kernelspec"],
            "language_info": {"name": "python"},
            CODE_HASH: code_hash(notebook),
        }
    )
    return notebook


def is_kept(output: Any) -> bool:
    """Return whether an output is a result, a picture or printed text, and not a line of a log."""
    if output.output_type == "display_data":
        return "image/png" in output.data
    if output.output_type == "stream":
        return output.name == "stdout" and not all(
            LOG.match(line) for line in output.text.splitlines()
        )
    return bool(output.output_type == "execute_result")


def clean(output: Any, folder: str, number: int) -> Any:
    """Return an output without paths of this machine; text keeps its meaning.

    Args:
        output: The output.
        folder: Temporary folder, replaced by `/tmp`.
        number: Execution count of its cell.
    """
    if output.output_type == "stream":
        kept = [line for line in output.text.splitlines() if not LOG.match(line)]
        output.text = "\n".join(kept).replace(folder, "/tmp") + "\n"
        return output
    output.metadata = {}
    if "execution_count" in output:
        output.execution_count = number
    for kind, content in output.data.items():
        if isinstance(content, str) and kind.startswith("text/"):
            output.data[kind] = re.sub(r"/tmp/tmp\w+", "/tmp/run", content.replace(folder, "/tmp"))
    return output


def shown(notebook: Any) -> list[list[str]]:
    """Return what the cells of a notebook show, without numbers: a list of texts per code cell."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [[_masked(output) for output in cell.outputs] for cell in cells]


def _masked(output: Any) -> str:
    if output.output_type == "stream":
        text = output.text
    elif "image/png" in output.data:
        return "a picture"
    else:
        text = output.data.get("text/plain", "")
    return " ".join(
        re.sub(r"[-─┄═╌]+", "-", re.sub(r"[-+]?\d[\d.,e+-]*|\binf\b|\bnan\b", "#", text)).split()
    )


def main() -> int:
    """Run the command; return its exit code."""
    import nbformat

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="names of notebooks; all without any")
    parser.add_argument("--check", action="store_true", help="compare instead of storing")
    asked = parser.parse_args()
    paths = [NOTEBOOKS / name for name in asked.names] or sorted(NOTEBOOKS.glob("*.ipynb"))
    stale = []
    for path in paths:
        done = run(path)
        if not asked.check:
            nbformat.write(done, path)
        elif shown(done) != shown(nbformat.read(path, 4)):
            stale.append(path.name)
        print(f"{path.name}: {'differs' if path.name in stale else 'done'}", flush=True)
    if stale:
        print(
            f"Run 'python docs/notebooks.py {' '.join(stale)}' and look at the outputs.",
            file=sys.stderr,
        )
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
