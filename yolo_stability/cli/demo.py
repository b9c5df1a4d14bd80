"""The demo (`make demo`): detection and pose, each healthy and with a NaN in one gradient."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from yolo_stability.benchmarks.scenario import load_scenario
from yolo_stability.trainer.result import RunResult

__all__ = ["main"]

FAULT_STEP = 40
PROJECT = "runs/demo"


def main() -> int:
    """Run four trainings and print their results.

    Returns:
        0 if every run completed and exactly the injected step was skipped, else 1.
    """
    # Ultralytics reads these when it is imported; four trainings would print hundreds of lines.
    os.environ.setdefault("YOLO_VERBOSE", "false")
    os.environ.setdefault("YOLO_OFFLINE", "true")
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    started = time.perf_counter()
    good, pictures = True, []
    for task in ("detect", "pose"):
        for fault in (None, f"nan_grad@{FAULT_STEP}"):
            result = _run(task, fault)
            good &= _is_as_expected(result, fault)
            pictures.append(result.trace.path / "gradient_norms.png")
    print("\nHeat maps:")
    for picture in pictures:
        print(f"  {os.path.relpath(picture)}")
    print(f"Done in {time.perf_counter() - started:.0f} s.")
    return 0 if good else 1


def _run(task: str, fault: str | None) -> RunResult:
    """Train one recipe and print its result."""
    from yolo_stability.api import train
    from yolo_stability.display.run_picture import draw_run
    from yolo_stability.trainer.monitor import show

    # the progress bar of the cache ignores `verbose`
    arguments = {**load_scenario("control").arguments(task), "cache": False}
    name = f"{task}-{'nan' if fault else 'undisturbed'}"
    what = f"with a NaN in one gradient at step {FAULT_STEP}" if fault else "undisturbed"
    print(
        f"\n=== {task}: {arguments['model']} on '{arguments['data']}', {what} (half a minute) ===",
        flush=True,
    )
    result = train(
        task,
        fault=fault,
        project=str(Path(PROJECT).resolve()),
        name=name,
        exist_ok=True,
        verbose=False,
        **arguments,
    )
    show(result.trace, draw_run(result.trace))
    letters = {"detect": "B", "pose": "P"}
    print(f"result:  mAP50 {result.metrics[f'metrics/mAP50({letters[task]})']:.2f}")
    return result


def _is_as_expected(result: RunResult, fault: str | None) -> bool:
    """Return whether the guard skipped exactly the damaged step."""
    steps = result.trace.steps
    skipped = [row["step"] for row in steps.iter_rows(named=True) if row["skipped"] == "guard"]
    expected = [FAULT_STEP] if fault else []
    if result.stopped is None and skipped == expected:
        return True
    print(
        f"UNEXPECTED: skipped steps {skipped}, expected {expected}; stopped: {result.stopped}",
        file=sys.stderr,
    )
    return False


if __name__ == "__main__":
    sys.exit(main())
