"""A tiny watched training with experiment trackers, which Ultralytics disables in pytest.

Usage: sinks_child.py FOLDER TRACKERS [KEY=VALUE ...]

TRACKERS is a list such as `tensorboard,wandb`; the keys are those of `StabilityMonitor`, and
`every=1` writes every step whatever it costs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from training import MODELS, overrides
from ultralytics import YOLO, settings

from yolo_stability import StabilityMonitor
from yolo_stability.trainer.loggers._tracker import TrackerSink


def main(folder: str, trackers: str, *pairs: str) -> None:
    """Train."""
    torch.set_num_threads(1)
    wanted = trackers.split(",")
    settings.update(
        {
            name: name in wanted
            for name in ("tensorboard", "wandb", "mlflow", "comet", "clearml", "dvc")
        }
    )
    own = dict(pair.split("=") for pair in pairs)
    if own.pop("every", None):
        TrackerSink.share = 1e9
    if own.pop("period", None):
        TrackerSink.period = 0.02
    model = YOLO(MODELS["detect"])
    StabilityMonitor(**own, watch_every=2).attach(model)
    kwargs = {"imgsz": 32, "fraction": [16, 2], "batch": 4, "nbs": 4, "epochs": 3, "val": True}
    model.train(**overrides("detect", Path(folder), **kwargs, name="run", exist_ok=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
