"""`record`: the telemetry of any PyTorch training loop, without Ultralytics and without changing one weight.

    with record(model, optimizer, out="runs/rnn") as r:
        for x, y in batches:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            r.step(loss=loss)                        # measures the gradient, before any clipping
            clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()                         # a hook measures what the clipping left

It records and never acts: a NaN gradient is written down, not skipped (the guard belongs to YOLO trainings).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from yolo_stability.core.errors import ConfigError
from yolo_stability.gradients.loop import LoopParts
from yolo_stability.gradients.recorder import Recorder

__all__ = ["record"]


def record(
    model: nn.Module,
    optimizer: Optimizer,
    out: str | Path,
    *,
    scaler: torch.amp.GradScaler | None = None,
    config: Mapping[str, Any] | None = None,
    watch_every: int = 10,
    plots: bool = True,
) -> Recorder:
    """Record every optimizer step of a training loop; use it in a `with` statement.

    Args:
        model: What is trained. Each child module is a block; a YOLO model is split as `train` does it.
        optimizer: The optimizer that steps; it must hold parameters of the model, in any number of groups.
        out: Run folder. The trace goes to `<out>/stability/`, in the place of an old one; other files stay.
        scaler: The `GradScaler` of a mixed-precision loop; norms are recorded unscaled, wherever `unscale_` is called.
        config: Settings to note in the header; `seed` is understood.
        watch_every: Measure weight norm and update ratio at each such step, and the first 50; 0 for never.
        plots: Whether to draw `gradient_norms.png` at the end.

    Returns:
        A recorder; `.step()` inside the loop, `.trace` at any time.

    Raises:
        ConfigError: The parts do not belong together, or `out` is a file.
        StabilityError: When the `with` statement begins: the folder is in use, or the recorder was used before.
        TraceError: When it begins: an old trace in the folder cannot be removed.
    """
    parts = LoopParts.of(model, optimizer, scaler)
    folder = Path(out).expanduser()
    if folder.exists() and not folder.is_dir():
        raise ConfigError(
            f"out='{out}' is a file: name a folder, which record() makes if it is not there."
        )
    if isinstance(watch_every, bool) or not isinstance(watch_every, int) or watch_every < 0:
        raise ConfigError(
            f"watch_every={watch_every!r} is not possible: give a number of steps, 0 for never."
        )
    return Recorder(parts, folder, dict(config or {}), watch_every=watch_every, plots=plots)
