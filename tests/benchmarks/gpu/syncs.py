"""Counts how often a step makes the host wait for the device, by torch's own sync debug mode."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from stepping import Setup, Stepper
from variants import FULL, RECORDED, STOCK, make_variants

STEPS = 12  # taken first: the allocator fills its pools
COUNTED = 24


def count_syncs(setup: Setup, folder: Path) -> dict[str, Any]:
    """Return the syncs of an ordinary step of stock and of ours, and of the rarer steps of everything on.

    Args:
        setup: What is trained, on a CUDA device.
        folder: For the run.
    """
    stepper = Stepper(setup, folder)
    variants = {v.name: v for v in make_variants(stepper, folder)[0] if not v.peer}
    found: dict[str, Any] = {}
    for name in (STOCK, RECORDED, FULL):
        variant = variants[name]
        variant.enter()
        for _ in range(STEPS):
            stepper.step()
        variant.end_dense_phase()
        kinds: dict[str, list[int]] = {}
        for _ in range(COUNTED):
            before = variant.snapshot_step()
            syncs = syncs_of(stepper)
            kinds.setdefault(variant.label(before), []).append(syncs)
        variant.leave()
        found |= {f"{name} ({kind})": max(counts) for kind, counts in sorted(kinds.items())}
    for variant in variants.values():
        if variant.run:
            variant.run.close()
    found["more than stock"] = found[f"{FULL} (plain)"] - found[f"{STOCK} (plain)"]
    return found


def syncs_of(stepper: Stepper) -> int:
    """Take one step and return how many synchronising calls it made."""
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            stepper.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing CUDA operation" in str(warning.message) for warning in said)
