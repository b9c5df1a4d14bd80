"""One long run: read, diagnosed, assessed and reported; prints JSON.

python long_run.py FOLDER STEPS
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "faults")]

from environment import timed  # noqa: E402
from million_report import measure as report  # noqa: E402
from million_report import peak  # noqa: E402
from traces import write_long  # noqa: E402

from yolo_stability.diagnosis.diagnose import diagnose_trace  # noqa: E402
from yolo_stability.trace import load_trace  # noqa: E402

BLOCKS = 25


def measure(folder: Path, steps: int) -> dict[str, Any]:
    """Write a run of so many steps, and return what each part took.

    Args:
        folder: A folder.
        steps: How many steps.
    """
    write_long(folder / "warm" / "run", 64, BLOCKS)
    diagnose_trace(load_trace(folder / "warm" / "run"))  # whatever is imported once
    report(folder / "warm")
    write_long(folder / "run", steps, BLOCKS)
    trace, reading = timed(lambda: load_trace(folder / "run"))
    diagnosis, diagnosing = timed(lambda: diagnose_trace(trace))
    trace = None  # a report reads it again
    _, reporting = timed(lambda: report(folder))
    files = [path for path in (folder / "run" / "stability" / "trace").iterdir() if path.is_file()]
    return {
        "steps": steps,
        "trace_mb": sum(path.stat().st_size for path in files) / 1e6,
        "read": reading,
        "diagnose": diagnosing,
        "report": reporting,
        "html_mb": (folder / "report.html").stat().st_size / 1e6,
        "peak_gb": peak() / 1e9,
        "verdict": diagnosis.verdict,
    }


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]))))
