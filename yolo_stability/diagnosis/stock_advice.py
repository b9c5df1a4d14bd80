"""What a run without a trace cannot show, and the one command that would show it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolo_stability.core.findings import Diagnosis, Finding
from yolo_stability.core.text import setting

__all__ = ["log_advice", "trace_advice", "train_command"]

_KEYS = {
    "epochs": 100,
    "imgsz": 640,
    "batch": 16,
    "optimizer": "auto",
    "lr0": 0.01,
    "momentum": 0.937,
    "weight_decay": 0.0005,
    "warmup_epochs": 3.0,
    "amp": True,
    "seed": 0,
}
"""Settings that decide whether a run is stable, with Ultralytics' defaults since 8.0."""
_OPEN = frozenset({"killed", "interrupted"})


def train_command(settings: Mapping[str, Any], folder: Path | None) -> str:
    """Return the command that trains a run again with a trace of its gradients.

    Args:
        settings: Settings of the run.
        folder: Its folder; None where that is unknown.
    """
    old = "weights" in settings and "model" not in settings
    given = dict(settings)
    if old:  # YOLOv5
        given["model"] = given.get("weights") or given.get("cfg")
        given["batch"] = given.get("batch_size", 16)
    words = ["yolo-stability", "train"]
    words += [str(given["task"])] if given.get("task") and not old else []
    words += [f"{key}={setting(given.get(key) or '...')}" for key in ("model", "data")]
    words += [
        f"{key}={setting(given[key])}"
        for key, usual in _KEYS.items()
        if isinstance(given.get(key), int | float | str) and given[key] != usual
    ]
    name = folder.name if folder is not None and folder.name else "run"
    words.append(f"name={name}-again")
    return " ".join(shlex.quote(word) for word in words)


def trace_advice(
    found: Diagnosis, settings: Mapping[str, Any], folder: Path | None
) -> tuple[Finding, ...]:
    """Return what is unknown about a run that failed, and how to find out; empty for any other.

    Args:
        found: Diagnosis of a run without a trace.
        settings: Its settings.
        folder: Its folder; None where that is unknown.
    """
    if found.verdict not in {"failed", "unstable"}:
        return ()
    return (
        Finding(
            rule="no_trace",
            severity="info",
            message="one row per epoch shows neither the step nor the block in which it began, nor "
            "the batch: that takes a trace of the gradients",
            remedy=f"{train_command(settings, folder)}; then diagnose that run",
        ),
    )


def log_advice(found: Diagnosis, folder: Path) -> tuple[Finding, ...]:
    """Return how to find out why a run broke off; empty where it is known.

    Args:
        found: Diagnosis of a run without a trace and without a log.
        folder: Its folder.
    """
    end = found.end
    if end is None or end.state not in _OPEN or end.exception is not None:
        return ()
    path = shlex.quote(str(folder))
    return (
        Finding(
            rule="no_log",
            severity="info",
            message="a kill, too little memory, NaN that persists, another exception and Ctrl-C "
            "leave the same files: only the output of the console distinguishes them",
            remedy=f"yolo-stability diagnose {path} log=FILE, with that output in FILE",
        ),
    )
