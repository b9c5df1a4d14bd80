"""Where the added time goes: each part of a watched step on a clock of its own.

The clock counts the CPU time of the thread, which other programs on the machine hardly disturb.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import numpy as np
from stepping import Stepper
from variants import FULL, make_variants

from yolo_stability.diagnosis import live as live_module
from yolo_stability.gradients.updates import UpdateSampler
from yolo_stability.guard.buffers import BufferSnapshot
from yolo_stability.guard.guard import Guard
from yolo_stability.guard.incidents.capture import IncidentKeeper
from yolo_stability.guard.snapshots import Snapshot
from yolo_stability.trace import TraceWriter
from yolo_stability.trainer.loggers.console import ConsoleSink
from yolo_stability.trainer.step import gradient_reading as reading_module
from yolo_stability.trainer.step.accumulation import Window
from yolo_stability.trainer.step.clipping import Clipping
from yolo_stability.trainer.step.loop import StepLoop
from yolo_stability.trainer.step.records import RecordKeeper

STEPS = 70
PARTS: dict[str, tuple[Any, str]] = {
    "buffer snapshot": (BufferSnapshot, "take"),
    "buffer check": (BufferSnapshot, "largest"),
    "norm per tensor (stock needs it, too)": (reading_module, "tensor_norms"),
    "total norm (stock needs it, too)": (reading_module, "total_norm"),
    "host transfer": (reading_module, "to_host"),
    "reading the gradients, all of it": (reading_module.BlockIndex, "with_gradient"),
    "block sums": (reading_module.BlockIndex, "combine"),
    "losses of the window": (Window, "absorb"),
    "losses remembered": (Guard, "accept"),
    "clip by the known norm": (Clipping, "apply"),
    "weights copied before the update": (UpdateSampler, "before"),
    "norms of weights and updates": (UpdateSampler, "after"),
    "healthy snapshot": (Snapshot, "take"),
    "record built and handed on": (RecordKeeper, "add"),
    "of that: trace writer": (TraceWriter, "append"),
    "of that: console sums": (ConsoleSink, "write"),
    "of that: live rules": (live_module.LiveRules, "observe"),
    "of those: asking them": (live_module, "find_all"),
    "incidents: batch and random state kept": (IncidentKeeper, "keep"),
    "incidents: loss noted": (IncidentKeeper, "note_loss"),
    "flush to disk (own thread)": (TraceWriter, "_flush"),
    "admits: read and decide, all of it": (StepLoop, "admits"),
    "after_update: all of it": (StepLoop, "after_update"),
    "begin_iteration: all of it": (StepLoop, "begin_iteration"),
    "end_iteration: all of it": (StepLoop, "end_iteration"),
}


def profile_parts(stepper: Stepper) -> str:
    """Step the variant with everything on and return a table of its parts, median milliseconds a call."""
    variants, _ = make_variants(stepper, stepper.save_dir)
    full = next(v for v in variants if v.name == FULL)
    full.flush_every = 10
    spent: dict[str, list[float]] = defaultdict(list)
    whole = []
    full.enter()
    with ExitStack() as stack:
        for name, (owner, attribute) in PARTS.items():
            stack.enter_context(
                patch.object(owner, attribute, clocked(getattr(owner, attribute), spent[name]))
            )
        for i in range(STEPS):
            if i == 3:  # the dense phase is over: steps now are as in a long run
                full.end_dense_phase()
                for times in spent.values():
                    times.clear()
            full.before_turn(1)
            whole.append(stepper.timed(1, None)[1])
    full.leave()
    for variant in variants:
        if variant.run:
            variant.run.close()
    counted = STEPS - 3
    lines = [
        f"whole step {np.median(whole) * 1000:.1f} ms",
        f"{'part':40} {'ms a call':>10} {'calls a step':>13}",
    ]
    lines += [
        f"{name:40} {np.median(times) * 1000:10.3f} {len(times) / counted:13.2f}"
        for name, times in spent.items()
        if times
    ]
    return "\n".join(lines)


def clocked(function: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    """Return the function with its duration noted."""

    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.thread_time()
        try:
            return function(*args, **kwargs)
        finally:
            spent.append(time.thread_time() - start)

    return timed
