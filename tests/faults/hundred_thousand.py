"""Diagnose a run, and print one JSON line about what was found and what that cost.

python hundred_thousand.py FOLDER
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def main() -> None:
    began = time.monotonic()
    from yolo_stability.diagnosis.diagnose import diagnose_trace
    from yolo_stability.trace import load_trace

    trace = load_trace(sys.argv[1])
    read = time.monotonic()
    found = diagnose_trace(trace)
    line = {
        "verdict": found.verdict,
        "rules": sorted({f.rule for f in found.findings}),
        "reading": read - began,
        "diagnosing": time.monotonic() - read,
        "peak": next(
            int(line.split()[1]) / 1e3
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith("VmHWM")
        ),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
