"""The settings that are measured: from scratch and from trained weights, with and without accumulation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from environment import REPO
from stepping import Setup

WEIGHTS = REPO.parent / "shared" / "data" / "pretrained"
"""Trained weights, which are no part of the repository."""
CASES = {
    "detect": Setup(model="yolo26n.yaml"),
    "pose": Setup(model="yolo26n-pose.yaml", task="pose"),
    "large": Setup(model="yolo26m.yaml"),
    "192": Setup(model="yolo26n.yaml", imgsz=192, batch=4, accumulate=4),
    "320": Setup(model="yolo26n.yaml", imgsz=320),
    "tune-192": Setup(model="yolov5nu-public.pt", imgsz=192),
    "tune-320": Setup(model="people-yolov8s.pt", imgsz=320, batch=4, accumulate=2),
}


def setup_of(name: str) -> Setup:
    """Return a case.

    Args:
        name: Key of `CASES`.

    Raises:
        FileNotFoundError: Its weights are absent.
    """
    setup = CASES[name]
    if not setup.model.endswith(".pt"):
        return setup
    file = WEIGHTS / setup.model
    if not file.is_file():
        raise FileNotFoundError(f"{setup.model} is absent from {WEIGHTS.relative_to(REPO.parent)}")
    return replace(setup, model=str(file))


def title(setup: Setup) -> str:
    """Return a setup in words."""
    model = Path(setup.model)
    start = "from trained weights" if model.suffix == ".pt" else "from scratch"
    summed = f", {setup.accumulate} batches a step" if setup.accumulate > 1 else ""
    place = f", {setup.device}{', AMP' if setup.amp else ''}"
    return f"{model.name}, {setup.task}, {start}, imgsz {setup.imgsz}, batch {setup.batch}{summed}{place}"
