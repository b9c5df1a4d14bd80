"""Train with a trainer class of your own, watched and guarded like Ultralytics' own.

Usage: python own_trainer.py FOLDER

The trainer below overrides one hook. As long as it leaves `optimizer_step` alone, bad steps are
left out; one that has its own is recorded, not guarded, and told so. Its name must end in `Trainer`, or Ultralytics
attaches no TensorBoard, W&B or MLflow to it.
"""

from __future__ import annotations

import sys
from typing import Any

from ultralytics.models.yolo.detect import DetectionTrainer

from yolo_stability import train


class BrightTrainer(DetectionTrainer):
    """Trains on images that are a little brighter."""

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Brighten a batch after Ultralytics has prepared it."""
        batch = super().preprocess_batch(batch)
        batch["img"] = (batch["img"] * 1.1).clamp(0, 1)
        return batch


if __name__ == "__main__":
    result = train(
        "detect",
        model="yolo26n.yaml",
        data="shapes",  # comes with the package
        trainer=BrightTrainer,
        fault="nan_grad@3",  # one gradient is NaN on purpose: see what the guard does
        project=sys.argv[1],
        name="bright",
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
    )
    print(result)
    left_out = result.trace.steps.filter(result.trace.steps["skipped"] == "guard")
    print(f"left out: step {left_out['step'].to_list()}")
