"""Fine-tune one model on several datasets and record each run.

Usage: python several_datasets.py FOLDER

If `data` is a list, Ultralytics (its `MultiTrainer`) trains on each dataset from the same weights,
with a separate run folder and therefore a separate trace. A dataset that fails is logged and
skipped.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ultralytics import YOLO

from yolo_stability import StabilityMonitor, diagnose, load_trace
from yolo_stability.data.resolve import resolve_data


def main(folder: Path) -> None:
    """Train on two datasets and print the verdict on each run."""
    data = resolve_data("shapes", "detect").data  # or your own dataset YAMLs
    model = YOLO("yolo26n.yaml")
    StabilityMonitor(guard="skip").attach(model)
    model.train(
        data=[data, data],
        project=str(folder),
        epochs=2,
        imgsz=64,
        batch=8,
        nbs=8,
        fraction=[32, 4],
        optimizer="SGD",
        mosaic=0.0,
        val=False,
        plots=False,
        amp=False,
        workers=0,
        device="cpu",
        verbose=False,
    )
    for run in sorted(path.parent for path in (folder / "multitrain").glob("*/stability")):
        trace = load_trace(run)
        print(f"{run.name}: {trace.steps.height} steps, {diagnose(run).verdict}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
