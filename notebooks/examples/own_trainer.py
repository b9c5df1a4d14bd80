"""Train with a custom trainer class, recorded and guarded like the built-in trainers.

Usage: python own_trainer.py FOLDER

The trainer below overrides one hook. The guard skips bad steps unless the trainer overrides
`optimizer_step`: such a trainer is recorded, but not guarded, and a warning is printed. The class
name must end in `Trainer`, or Ultralytics does not attach TensorBoard, W&B or MLflow.
"""

from __future__ import annotations

import sys
from typing import Any

from ultralytics.models.yolo.detect import DetectionTrainer

from yolo_stability import train


class BrightTrainer(DetectionTrainer):
    """Trains on slightly brighter images."""

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Brighten a batch after Ultralytics has prepared it."""
        batch = super().preprocess_batch(batch)
        batch["img"] = (batch["img"] * 1.1).clamp(0, 1)
        return batch


if __name__ == "__main__":
    result = train(
        "detect",
        model="yolo26n.yaml",
        data="shapes",  # embedded in the package
        trainer=BrightTrainer,
        fault="nan_grad@3",  # sets one gradient to NaN, to show the guard
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
    skipped = result.trace.steps.filter(result.trace.steps["skipped"] == "guard")
    print(f"skipped: step {skipped['step'].to_list()}")
