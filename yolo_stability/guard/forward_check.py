"""Forward pass of a saved checkpoint in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from yolo_stability.core.errors import printable
from yolo_stability.guard.incidents.magnitudes import all_finite, tensors_in
from yolo_stability.guard.incidents.window import forked_random_state

__all__ = ["forward_problem"]

_SMALLEST = 64
_CPU = torch.device("cpu")


def forward_problem(path: Path) -> str | None:
    """Run the model of a checkpoint on one small image, on the CPU and in evaluation mode.

    Training uses the statistics of each batch, so that it can be finite while the saved averages,
    or code for evaluation, are not. Random generators stay as they were.

    Args:
        path: A checkpoint that this process has written: its objects are loaded.

    Returns:
        What is wrong, to complete a sentence about the checkpoint; None for a finite output.

    Raises:
        OSError: The file cannot be read.
    """
    with forked_random_state(_CPU), torch.no_grad():
        try:
            content = torch.load(path, map_location=_CPU, weights_only=False)
            model = (content.get("ema") or content["model"]).float().eval()
            finite = all_finite(tensors_in(_output(model, content.get("train_args") or {})))
        except OSError:
            raise
        except Exception as error:  # the code of someone's own module may raise anything
            return (
                f"cannot run in evaluation mode ({type(error).__name__}: {printable(str(error))})"
            )
    return None if finite else "computes NaN or Inf in evaluation mode"


def _output(model: nn.Module, args: Mapping[str, Any]) -> Any:
    """Return the output for a small image, or for one of the training's size if that fails."""
    *others, last = _sizes(model, args)
    for size in others:
        try:
            return model(_image(model, size))
        except Exception:  # positions or windows of a fixed number
            continue
    return model(_image(model, last))


def _sizes(model: nn.Module, args: Mapping[str, Any]) -> Iterator[int]:
    """Yield sizes to try: two cells of the largest stride, then the size in training."""
    stride = getattr(model, "stride", None)
    yield max(_SMALLEST, 2 * int(stride.max()) if isinstance(stride, Tensor) else 0)
    if isinstance(args.get("imgsz"), int):
        yield int(args["imgsz"])


def _image(model: nn.Module, size: int) -> Tensor:
    """Return an image of noise, the same at every call."""
    config = getattr(model, "yaml", None)
    channels = config.get("channels", 3) if isinstance(config, Mapping) else 3
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, channels, size, size, generator=generator)
