"""The lines with which a run begins: what is trained, in how many steps, at which rate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from yolo_stability.core.text import brief, count
from yolo_stability.core.types import RunHeader

__all__ = ["opening_lines"]


def opening_lines(header: RunHeader) -> Iterator[str]:
    """Yield at most three lines about a run before its first epoch.

    Args:
        header: Header of the run.
    """
    effective = header.effective
    yield f"watching {count(len(header.blocks), 'block')}, {_weights(header)}"
    if "steps_planned" in effective:
        yield _steps(effective)
    if effective.get("groups"):
        yield _rate(effective)


def _weights(header: RunHeader) -> str:
    """Return the guard and the weights that are trained."""
    effective = header.effective
    guard = f"guard={effective['guard']}"
    if "weights_trained" not in effective:
        return guard
    return (
        f"{guard}; trains {effective['weights_trained']:,} of {effective['parameters']:,} weights"
    )


def _steps(effective: Mapping[str, Any]) -> str:
    """Return the optimizer steps of the run, and how batches make them."""
    planned, first, last = (effective[k] for k in ("steps_planned", "start_epoch", "epochs"))
    batches = count(effective["batches_per_epoch"], "batch", "batches")
    how = f"{effective['accumulate']:,} a step"
    settings = f"(batch={effective['batch']} nbs={effective['nbs']})"
    if planned is None:
        return f"steps depend on time={effective['time']:g}: epochs of {batches}, {how} {settings}"
    epochs = f"epochs {first + 1} to {last}" if first else count(last, "epoch")
    return f"{count(planned, 'optimizer step')}: {epochs} of {batches}, {how} {settings}"


def _rate(effective: Mapping[str, Any]) -> str:
    """Return the optimizer with its rate, the warm-up and the clip that are in force."""
    rates = sorted({group["lr"] for group in effective["groups"].values()})
    rate = brief(rates[0]) if len(rates) == 1 else f"{brief(rates[0])} to {brief(rates[-1])}"
    warmup = effective.get("warmup_iterations")
    parts = [f"{effective['optimizer']} lr={rate}"]
    parts.append(f"warm-up over {count(warmup, 'batch', 'batches')}" if warmup else "no warm-up")
    own = effective.get("own_step")
    parts.append("clip as in the trainer's optimizer_step" if own else f"clip={effective['clip']}")
    return ", ".join(parts)
