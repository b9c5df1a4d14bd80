"""`make scale`: how cost grows with steps, blocks and runs, in CPU time, which other programs hardly disturb.

    python tests/benchmarks/scale.py [--quick] [parts=steps,blocks,runs] [out=FILE.json]

Each figure comes from a process of its own, with one thread for each library, on traces that are made up. About 5
minutes on an idle core; `--quick` a minute, on less.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from environment import isolate, machine

HERE = Path(__file__).resolve().parent
STEPS, QUICK_STEPS = (1_000, 10_000, 100_000, 1_000_000), (1_000, 10_000)
BLOCKS, QUICK_BLOCKS = (10, 25, 50, 100, 200), (10, 25)
RUNS, QUICK_RUNS = ((5, 1), (5, 10), (5, 100), (20, 25)), ((2, 1), (2, 2))
"""Arms and seeds, on two tasks."""

COLUMNS = {
    "steps": {
        "steps": "{:,}",
        "trace_mb": "{:.2f} MB trace",
        "read": "{:.2f} s read",
        "diagnose": "{:.2f} s diagnose",
        "report": "{:.2f} s report",
        "html_mb": "{:.1f} MB page",
        "peak_gb": "{:.2f} GB memory",
    },
    "blocks": {
        "blocks": "{}",
        "bare_ms": "{:.2f} ms bare step",
        "added_ms": "{:.2f} ms added",
        "dense_ms": "{:.2f} ms added, first 50",
        "bytes_a_step": "{:.0f} bytes a step",
    },
    "runs": {
        "runs": "{:,}",
        "arms": "{} arms",
        "seeds": "{} seeds",
        "plan": "{:.3f} s plan",
        "resume_half": "{:.2f} s resume, half missing",
        "resume": "{:.2f} s until nothing is missing",
        "assess": "{:.1f} s assess",
        "report": "{:.1f} s report",
        "html_mb": "{:.1f} MB page",
        "results_mb": "{:.1f} MB results.json",
        "peak_gb": "{:.2f} GB memory",
    },
}
"""What is shown of each part, by key of what its script prints."""


def options(args: Sequence[str]) -> tuple[list[str], Path | None, bool]:
    """Read the arguments; a wrong one ends the program with a sentence."""
    known = {"parts": ",".join(COLUMNS), "out": ""}
    for arg in args:
        key, equals, value = arg.partition("=")
        if arg != "--quick" and (not equals or key not in known):
            raise SystemExit(f"'{arg}' is not an option.\n{__doc__}")
        known[key] = value
    parts = known["parts"].split(",")
    for part in parts:
        if part not in COLUMNS:
            raise SystemExit(f"parts={part} is not possible; there are {', '.join(COLUMNS)}.")
    return parts, Path(known["out"]) if known["out"] else None, "--quick" in args


def cases(part: str, quick: bool) -> Iterable[tuple[str, list[str]]]:
    """Yield script and arguments of each case of a part."""
    if part == "steps":
        yield from (("long_run", [str(steps)]) for steps in (QUICK_STEPS if quick else STEPS))
    elif part == "blocks":
        turns = ["3"] if quick else []
        yield from (
            ("recorded_blocks", [str(blocks), *turns])
            for blocks in (QUICK_BLOCKS if quick else BLOCKS)
        )
    else:
        yield from (
            ("many_runs", [str(arms), str(seeds)])
            for arms, seeds in (QUICK_RUNS if quick else RUNS)
        )


def run(script: str, args: Sequence[str], folder: Path) -> dict[str, Any]:
    """Run a case in a process of its own and return what it prints.

    Args:
        script: Name of its file.
        args: Its arguments after the folder.
        folder: Where it may write; removed afterwards.
    """
    done = subprocess.run(
        [sys.executable, str(HERE / f"{script}.py"), str(folder), *args],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"},
    )
    shutil.rmtree(folder, ignore_errors=True)
    if done.returncode:
        raise SystemExit(f"{script} {' '.join(args)} ended with {done.returncode}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def line(part: str, told: dict[str, Any]) -> str:
    """Return a line for a reader."""
    return "  ".join(form.format(told[key]) for key, form in COLUMNS[part].items())


def main(args: Sequence[str]) -> int:
    """Measure each part and print a line for each case; return the exit code."""
    parts, out, quick = options(args)
    root = isolate()
    try:
        result: dict[str, Any] = {"machine": machine()}
        print(json.dumps(result["machine"]), flush=True)
        for part in parts:
            print(f"\n{part}", flush=True)
            result[part] = []
            for script, arguments in cases(part, quick):
                result[part].append(run(script, arguments, root / "case"))
                print(line(part, result[part][-1]), flush=True)
        if out:
            out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        return 0
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
