"""Counts how often a step makes the host wait for the device, by torch's own sync debug mode."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from parts import PartClock
from stepping import Setup, Stepper
from variants import FULL, RECORDED, STOCK, Maker

STEPS = 12  # taken first: the allocator fills its pools
COUNTED = 24


def count_syncs(setup: Setup, folder: Path) -> dict[str, Any]:
    """Return the syncs of an ordinary step of stock and of ours, and of the rarer steps of everything on.

    Args:
        setup: What is trained, on a CUDA device.
        folder: For the run.
    """
    maker = Maker(setup, folder, PartClock())
    found: dict[str, Any] = {}
    for variant in (maker.stock(STOCK), maker.ours(RECORDED), maker.ours(FULL)):
        for _ in range(STEPS):
            variant.stepper.step()
        variant.end_dense_phase()
        kinds: dict[str, list[int]] = {}
        for _ in range(COUNTED):
            snapshot = variant.snapshot_step()
            syncs = syncs_of(variant.stepper)
            kind = " and ".join(sorted(variant.due(snapshot))) or "plain"
            kinds.setdefault(kind, []).append(syncs)
        variant.close()
        found |= {f"{variant.name} ({kind})": max(counts) for kind, counts in sorted(kinds.items())}
    found["more than stock"] = found[f"{FULL} (plain)"] - found[f"{STOCK} (plain)"]
    return found


def syncs_of(stepper: Stepper) -> int:
    """Take one step and return how many synchronising calls it made."""
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            stepper.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing CUDA operation" in str(warning.message) for warning in shown)
