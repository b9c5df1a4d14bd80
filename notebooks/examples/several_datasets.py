"""Fine-tune one model on several datasets, each run watched on its own.

Usage: python several_datasets.py FOLDER

Ultralytics does this where `data` is a list (its `MultiTrainer`): every dataset starts from the same weights and gets
a run folder of its own, and so a trace of its own. A dataset that fails is logged and left out; the next goes on.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ultralytics import YOLO

from yolo_stability import StabilityMonitor, diagnose, load_trace
from yolo_stability.data.resolve import resolve_data


def main(folder: Path) -> None:
    """Train on two datasets and compare how they went."""
    data = resolve_data("shapes", "detect").data  # any list of dataset YAMLs of your own
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
