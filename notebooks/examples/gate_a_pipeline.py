"""Gate a pipeline: return the verdict on runs as an exit code for CI.

Usage: python gate_a_pipeline.py RUN [RUN ...]

RUN is a run folder of yolo_stability or of stock Ultralytics. The exit code is that of
`yolo-stability diagnose`: 0 if all runs are stable, 3 if one is unstable or failed, 4 for too
little data.
"""

from __future__ import annotations

import sys

from yolo_stability import StabilityError, diagnose

CODES = {"stable": 0, "inconclusive": 4, "unstable": 3, "failed": 3}
WORST_LAST = [0, 4, 3]


def gate(run: str) -> int:
    """Diagnose one run, print the findings, and return its exit code."""
    diagnosis = diagnose(run)
    print(f"{run}: {diagnosis.verdict}: {diagnosis.why}")
    for finding in diagnosis.findings:
        if finding.severity == "critical":
            print(f"  {finding.rule}, {finding.when()}: {finding.message}")
    return CODES[diagnosis.verdict]


if __name__ == "__main__":
    try:
        codes = [gate(run) for run in sys.argv[1:]]
    except StabilityError as error:
        sys.exit(f"ERROR: {error}")
    sys.exit(max(codes, key=WORST_LAST.index, default=0))
