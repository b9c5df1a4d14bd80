"""`record`: telemetry for any PyTorch training loop, without any effect on the weights.

    with record(model, optimizer, out="runs/rnn") as r:
        for x, y in batches:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            r.step(loss=loss)                        # measures the gradient, before any clipping
            clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()                         # a hook measures the clipped gradient

It only records: a NaN gradient is logged, not skipped (the guard is available in YOLO trainings
only).
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
        model: Model to train. Each child module is a block; a YOLO model is split as `train` does
            it.
        optimizer: Optimizer of the loop; it must hold parameters of the model, in any number of
            groups.
        out: Run folder. The trace is written to `<out>/stability/` and replaces an earlier one;
            other files are kept.
        scaler: `GradScaler` of a mixed-precision loop; norms are recorded unscaled, wherever
            `unscale_` is called.
        config: Settings to store in the header; `seed` is also stored as the seed of the run.
        watch_every: Interval in steps of weight norm and update ratio, after the first 50 steps; 0
            for never.
        plots: Whether to draw `gradient_norms.png` at the end.

    Returns:
        A recorder: call `.step()` inside the loop, read `.trace` at any time.

    Raises:
        ConfigError: Model, optimizer and scaler do not belong together, or `out` is a file.
        StabilityError: On entering the `with` statement: the folder is in use, or the recorder was
            used before.
        TraceError: On entering the `with` statement: an earlier trace in the folder cannot be
            removed.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> model = nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with record(model, optimizer, out=folder.name, plots=False) as recorder:
        ...     for _ in range(3):
        ...         optimizer.zero_grad()
        ...         loss = model(torch.ones(4, 2)).square().mean()
        ...         loss.backward()
        ...         recorder.step(loss=loss)
        ...         optimizer.step()
        >>> recorder.trace.steps["step"].to_list()
        [0, 1, 2]
        >>> folder.cleanup()
    """
    parts = LoopParts.of(model, optimizer, scaler)
    folder = Path(out).expanduser()
    if folder.exists() and not folder.is_dir():
        raise ConfigError(
            f"out='{out}' is a file: choose a folder, which record() creates if necessary."
        )
    if isinstance(watch_every, bool) or not isinstance(watch_every, int) or watch_every < 0:
        raise ConfigError(
            f"Invalid value watch_every={watch_every!r}: expected a number of steps, 0 for never."
        )
    return Recorder(parts, folder, dict(config or {}), watch_every=watch_every, plots=plots)
