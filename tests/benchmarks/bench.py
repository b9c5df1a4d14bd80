"""`make bench`: what watching and guarding cost a step, against stock and against what people use instead.

    python tests/benchmarks/bench.py [--quick] [out=FILE.json] [seconds=90] [cases=detect,pose,...] [peers=FOLDER]
    python tests/benchmarks/bench.py builds [seconds=150] [cases=detect] [out=FILE.json]
    python tests/benchmarks/bench.py compare OLD.json NEW.json

Each variant has a trainer of its own; all take one step a turn, in a new order each turn, from the same state and with
the same batch. The ratio is that of CPU time, over all threads; the one by the time of day stands beside it. `builds`
holds builds that were changed on purpose against the default: what the bench can tell apart. `compare` does so with two
files of two checkouts. Exit code 3 when the goal is missed or a build is dearer, 4 when there is too little to say.

"stock again" is stock against itself: where its interval does not hold 1, do not believe the others. Cases: detect,
pose, large, 192, 320, tune-192, tune-320. `peers.py` has the packages that FOLDER must hold.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from environment import isolate, machine, without_trackers

OPTIONS = {"out": "", "seconds": "", "cases": "", "peers": ""}


def options(args: list[str]) -> dict[str, Any]:
    """Read the arguments; a wrong one ends the program with a sentence."""
    quick, builds = "--quick" in args, args[:1] == ["builds"]
    chosen = dict(OPTIONS)
    for arg in args:
        key, equals, value = arg.partition("=")
        if arg == "--quick" or (builds and arg == "builds"):
            continue
        if not equals or key not in chosen:
            raise SystemExit(f"'{arg}' is not an option of the bench.\n{__doc__}")
        chosen[key] = value
    usual = "detect" if quick or builds else "detect,pose,large,192,320,tune-192,tune-320"
    return {
        "builds": builds,
        "peers": chosen["peers"],
        "out": chosen["out"],
        "seconds": float(chosen["seconds"] or (30 if quick else 150 if builds else 90)),
        "cases": (chosen["cases"] or usual).split(","),
    }


def main(args: list[str]) -> int:
    """Run the bench; return the exit code."""
    if args[:1] == ["compare"] and len(args) == 3:
        return compare(*args[1:])
    chosen = options(args)
    if chosen["peers"]:
        sys.path.append(chosen["peers"])
    root = isolate()
    try:
        return run(chosen, root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def compare(old: str, new: str) -> int:
    """Compare two files that the bench wrote; return the exit code."""
    root = isolate()
    try:
        from verdicts import compare_files

        read = [json.loads(Path(file).read_text(encoding="utf-8")) for file in (old, new)]
        return compare_files(*read)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def run(chosen: dict[str, Any], root: Path) -> int:
    """Measure each case, print its table and the verdicts; return the exit code."""
    from cases import CASES, setup_of
    from one_case import case
    from verdicts import builds_code, goal_code

    unknown = [name for name in chosen["cases"] if name not in CASES]
    if unknown:
        raise SystemExit(f"'{unknown[0]}' is not a case of the bench.\n{__doc__}")
    without_trackers()
    result: dict[str, Any] = {"machine": machine(), "cases": []}
    print(json.dumps(result["machine"]))
    for name in chosen["cases"]:
        try:
            setup = setup_of(name)
        except FileNotFoundError as error:
            print(f"\n{name}: not measured, {error}")
            continue
        found = case(setup, root / name, chosen["seconds"], builds=chosen["builds"])
        print(found.pop("text"), flush=True)
        result["cases"].append(found)
    result["machine"]["load_at_the_end"] = machine()["load"]
    if chosen["out"]:
        Path(chosen["out"]).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print()
    return builds_code(result["cases"]) if chosen["builds"] else goal_code(result["cases"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
