"""`make bench`: what watching and guarding cost, against stock and against what people use instead.

    python tests/benchmarks/bench.py [--quick] [--profile] [out=FILE.json] [seconds=150] [sizes=n,m] [tasks=detect,pose]

YOLO26n and YOLO26m, detect and pose, imgsz 160, batch 8, one thread on the CPU: about 11 minutes. `--quick` takes half
a minute for YOLO26n, with wide intervals. `--profile` tells where the added time goes. Exit code 3 when the goal is
missed, 4 when there were too few turns to say.

"stock again" is stock against itself: where its interval does not hold 1, or is wide, the machine is too busy. The CPU
ratio counts the time of all threads, that of the trace's flush thread in full, and suffers less from other programs.
"""

from __future__ import annotations

import gc
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from environment import isolate, machine, without_trackers

GOAL = 1.02
ENOUGH_TURNS = 20


def options(args: list[str]) -> dict[str, Any]:
    """Read the arguments; a wrong one ends the program with a sentence."""
    quick = "--quick" in args
    known = {
        "out": "",
        "seconds": "30" if quick else "150",
        "sizes": "n" if quick else "n,m",
        "tasks": "detect,pose",
    }
    if quick:
        known["tasks"] = "detect"
    for arg in args:
        key, equals, value = arg.partition("=")
        if arg in {"--quick", "--profile"}:
            continue
        if not equals or key not in known:
            raise SystemExit(f"'{arg}' is not an option of the bench.\n{__doc__}")
        known[key] = value
    return {
        "profile": "--profile" in args,
        "out": known["out"],
        "seconds": float(known["seconds"]),
        "sizes": known["sizes"].split(","),
        "tasks": known["tasks"].split(","),
    }


def main(args: list[str]) -> int:
    """Run the bench; return the exit code."""
    chosen = options(args)
    root = isolate()
    try:
        return run(chosen, root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def run(chosen: dict[str, Any], root: Path) -> int:
    """Measure each case, print its table and say whether the goal is met."""
    from stepping import Setup

    without_trackers()
    result: dict[str, Any] = {"machine": machine(), "goal": GOAL, "cases": []}
    print(json.dumps(result["machine"]))
    for size in chosen["sizes"]:
        for task in chosen["tasks"]:
            setup = Setup(size=size, task=task)
            if chosen["profile"]:
                profile(setup, root)
            else:
                result["cases"].append(case(setup, root, chosen["seconds"]))
                print(result["cases"][-1].pop("text"), flush=True)
    if chosen["profile"]:
        return 0
    result["machine"]["load_at_the_end"] = machine()["load"]
    if chosen["out"]:
        Path(chosen["out"]).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return verdict(result["cases"])


def case(setup: Any, root: Path, seconds: float, turn: int = 1) -> dict[str, Any]:
    """Measure one model on one task.

    Args:
        setup: What is trained.
        root: Folder for runs.
        seconds: Time for the rounds.
        turn: Steps that a variant takes in a row, before anybody waits for the device.
    """
    import numpy as np
    from measure import Interleaver, as_json, rows, table
    from stepping import Stepper
    from variants import STOCK, make_variants

    stepper = Stepper(setup, root)
    variants, missing = make_variants(stepper, root)
    bench = Interleaver(stepper, variants, turn=turn)
    try:
        bench.warm_up()
        bench.run(seconds)
    finally:
        gc.unfreeze()
        for variant in variants:
            if variant.run:
                variant.run.close()
    found = rows(
        bench.samples, dense_rounds=bench.dense_rounds, flush_every=bench.flush_every, turn=turn
    )
    stock_ms = float(np.median([s.wall for s in bench.samples[STOCK]]))
    where = f"imgsz {setup.imgsz}, batch {setup.batch}, {stepper.trainer.device}{', AMP' if setup.amp else ''}"
    notes = [
        *missing,
        *(line for variant in variants for line in troubles(variant, stepper.save_dir)),
    ]
    text = "\n".join([f"\n{setup.model}, {setup.task}, {where}", table(found, stock_ms), *notes])
    name = {
        "model": setup.model,
        "task": setup.task,
        "imgsz": setup.imgsz,
        "batch": setup.batch,
        "amp": setup.amp,
    }
    return {**name, "stock_ms": stock_ms, "rows": as_json(found), "notes": notes, "text": text}


def troubles(variant: Any, folder: Path) -> list[str]:
    """Return a line for everything that makes the figures of a variant doubtful."""
    from yolo_stability import load_trace

    run = variant.run
    if run is None:
        return []
    skipped = load_trace(folder / variant.name.replace(" ", "_")).steps["skipped"]
    left_out = len(skipped) - skipped.null_count()  # their elements are counted, which takes long
    found = (
        [f"{variant.name}: {left_out} of {len(skipped)} steps were left out"] if left_out else []
    )
    unhealthy = run.loop.recovery.unhealthy_step
    if unhealthy >= 0:
        found.append(
            f"{variant.name}: step {unhealthy} was unhealthy, so updates were measured densely"
        )
    if run._outputs._writer.error:
        found.append(f"{variant.name}: {run._outputs._writer.error}")
    return found


def verdict(cases: list[dict[str, Any]]) -> int:
    """Say whether the upper bound with everything on meets the goal in every case; return the exit code."""
    from variants import FULL

    full = {
        f"{c['model']} {c['task']}": row
        for c in cases
        for row in c["rows"]
        if row["variant"] == FULL
    }
    few = [name for name, row in full.items() if row["turns"] < ENOUGH_TURNS]
    if few:
        print(
            f"\nFewer than {ENOUGH_TURNS} turns with everything on ({', '.join(few)}): too few to say; give it time."
        )
        return 4
    bounds = {name: row["wall"]["high"] for name, row in full.items()}
    worst = max(bounds, key=bounds.__getitem__)
    met = bounds[worst] <= GOAL
    print(
        f"\nEverything on: the highest upper bound of the whole-step ratio is {bounds[worst]:.4f} ({worst}); "
        f"the goal of {GOAL} is {'met' if met else 'missed'}."
    )
    return 0 if met else 3


def profile(setup: Any, root: Path) -> None:
    """Print where the added time of one case goes."""
    from parts import profile_parts
    from stepping import Stepper

    print(f"\n{setup.model}, {setup.task}")
    print(profile_parts(Stepper(setup, root)), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
