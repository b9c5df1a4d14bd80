"""The bench on a CUDA GPU, and host syncs counted: AMP, imgsz 640, batch 16.

    python tests/benchmarks/gpu/bench.py [out=FILE.json] [seconds=90] [sizes=n,m] [tasks=detect,pose]

Needs CUDA, the checkout, and what pyproject.toml lists as dependencies; the package itself need not be installed.
Variants take turns of one step. That hides no sync: stock itself waits for the device at the end of every step, where
the progress bar reads the losses. The time of day is held against the goal; CPU times are those of the host. Exit code
3 when a goal is missed: ratio, or syncs.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from environment import isolate, machine, without_trackers

OPTIONS = {"out": "", "seconds": "90", "sizes": "n,m", "tasks": "detect,pose"}


def main(args: list[str]) -> int:
    """Run the bench; return the exit code."""
    options = dict(OPTIONS)
    for arg in args:
        key, equals, value = arg.partition("=")
        if not equals or key not in options:
            raise SystemExit(f"'{arg}' is not an option of the bench.\n{__doc__}")
        options[key] = value
    root = isolate()
    import torch

    if not torch.cuda.is_available():
        print("The GPU bench needs a CUDA GPU, and torch finds none here; nothing was measured.")
        shutil.rmtree(root, ignore_errors=True)
        return 0
    try:
        return run(options, root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def run(options: dict[str, str], root: Path) -> int:
    """Measure each case, count syncs, and say whether the goals are met."""
    from one_case import case
    from stepping import Setup
    from syncs import count_syncs
    from verdicts import goal_code

    without_trackers()
    result: dict[str, Any] = {"machine": machine(), "cases": []}
    print(json.dumps(result["machine"]))
    one_more = True
    for size in options["sizes"].split(","):
        for task in options["tasks"].split(","):
            model = f"yolo26{size}{'-pose' if task == 'pose' else ''}.yaml"
            setup = Setup(model=model, task=task, imgsz=640, batch=16, device="0", amp=True)
            found = case(setup, root / "bench", float(options["seconds"]))
            print(found.pop("text"), flush=True)
            found["syncs"] = count_syncs(setup, root / "syncs")
            print(
                "host syncs a step:",
                ", ".join(f"{k} {v}" for k, v in found["syncs"].items()),
                flush=True,
            )
            one_more &= found["syncs"]["more than stock"] == 1
            result["cases"].append(found)
    if options["out"]:
        Path(options["out"]).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    code = goal_code(result["cases"])
    print(
        f"Host syncs: {'exactly one more' if one_more else 'NOT exactly one more'} than stock's a step."
    )
    return code if one_more else 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
