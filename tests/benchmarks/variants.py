"""What is compared: stock, this package with more and more switched on, and builds of it.

A build is the default with a deliberate change.
"""

from __future__ import annotations

import inspect
import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from parts import PartClock
from stepping import Setup, Stepper, same_state

from yolo_stability import load_trace
from yolo_stability.config import StabilitySettings
from yolo_stability.diagnosis.live import LiveRules
from yolo_stability.trace import TraceWriter, compaction
from yolo_stability.trainer.session import WatchedRun

STOCK, AGAIN = "stock", "stock again"
RECORDED, GUARDED, FULL = "recorded", "recorded + guard", "everything on, the default"
OURS: dict[str, dict[str, Any]] = {
    RECORDED: {"guard": "off", "watch_every": 0},
    GUARDED: {"guard": "skip", "watch_every": 0},
    FULL: {"guard": "skip"},
}
"""The rules look on in each of them."""
BUILDS = SAME_BUILD, DEARER_BUILD, CHEAPER_BUILD = (
    "the same build again",
    "with 1 % of a step more",
    "with half of the guard",
)
RULES_EVERY, SNAPSHOT_EVERY = 16, 32  # LiveRules, HealthyStates
MERGE_EVERY = compaction._CROWDED - 1  # flushes from one merge of the trace's parts to the next
FLUSH_SECONDS = float(inspect.signature(TraceWriter).parameters["flush_seconds"].default)
_PATIENCE = 10.0


@dataclass
class Variant:
    """One way to train.

    Attributes:
        name: What the table calls it.
        stepper: Its trainer.
        extra: Called between backward and the optimizer step.
        run: The run that watches, if this is one of ours.
        guest: It takes only some of the turns.
        rare: Steps from one to the next in a long run, by the rare work that one of ours does.
        hooked: A peer works inside backward or the optimizer, too: only the whole step shows what it takes.
        cycles: Steps after which a peer does something rare, longest first, each a multiple of the next.
        close: Releases what it holds.
        flush_every: Steps after which its trace is flushed; 0 for never.
        trouble: Returns what makes its figures doubtful, one line each.
    """

    name: str
    stepper: Stepper
    extra: Callable[[Any], None] | None = None
    run: WatchedRun | None = None
    guest: bool = False
    rare: dict[str, int] = field(default_factory=dict)
    hooked: bool = False
    cycles: tuple[int, ...] = ()
    close: Callable[[], None] = field(default=lambda: None)
    trouble: Callable[[], list[str]] = field(default=list)
    flush_every: int = 0
    steps: int = 0
    _flushed: threading.Event = field(default_factory=threading.Event)
    _flushing: bool = False
    _pieces: int = 0

    def before_step(self) -> None:
        """Let the flush thread work within this step if it is due.

        By the time of day it would burden whichever variant is at work just then.
        """
        self.steps += 1
        self._flushing = bool(self.flush_every and self.steps % self.flush_every == 0)
        if self._flushing:
            self._pieces = len(self.writer._steps._tail)
            self._flushed.clear()
            self.writer._wake.set()

    def after_step(self) -> None:
        """Wait for the flush thread: what it takes must not fall into the turn of another variant."""
        if self._flushing and not self._flushed.wait(_PATIENCE):
            raise RuntimeError(f"{self.name}: the flush thread did not answer")

    def due(self, snapshot: int) -> frozenset[str]:
        """Return which rare work the step just taken did; `snapshot` is `snapshot_step` from before it."""
        found = {
            "guard": self.snapshot_step() != snapshot,
            "rules": bool(self.policy and self.policy._since == 0),
            "updates": bool(self.run and self.run.loop and self.run.loop._sampling.due),
            "flush": self._flushing and len(self.writer._steps._tail) > self._pieces,
            "merge": self._flushing and len(self.writer._steps._tail) <= self._pieces,
        }
        rare = [each(n) for n in self.cycles if self.steps % n == 0]
        return frozenset([*(part for part, yes in found.items() if yes), *rare[:1]])

    @property
    def writer(self) -> TraceWriter:
        """What writes the trace of one of ours."""
        assert self.run is not None
        writer = self.run._outputs._writer
        assert writer is not None
        return writer

    @property
    def policy(self) -> LiveRules | None:
        """The rules that look on, if it is one of ours."""
        findings = self.run._outputs.findings if self.run else None
        policy = findings.policy if findings else None
        assert policy is None or isinstance(policy, LiveRules)
        return policy

    def snapshot_step(self) -> int:
        """Return when the youngest healthy snapshot was taken; -1 without any."""
        healthy = self.run.loop.recovery._healthy if self.run and self.run.loop else None
        return healthy._candidate.step if healthy else -1

    def end_dense_phase(self) -> None:
        """Let the update sampler change over to its usual sampling, and the rules see as much as they ever do."""
        if self.run and self.run.loop:
            self.run.loop._sampling._sampler._left = 0
        if self.policy:
            fill_window(self.policy)


def each(steps: int) -> str:
    """Return the name of what is done after so many steps."""
    return f"each {steps}"


def fill_window(policy: LiveRules, *, every: int = 4) -> None:
    """Give the rules a full window, its last steps over and over, as after hundreds of steps.

    Args:
        policy: The rules of a run.
        every: Steps after which they are asked from here on. More often than in a run, so that there are enough such
            steps to time; how much they count follows from the run's own schedule.
    """
    rows = policy._rows
    assert rows is not None
    known = min(rows._end, 16)
    if known:
        size, last = policy._window, int(rows._columns["step"][rows._end - 1])
        source = rows._end - known + np.arange(size) % known
        for column in rows._columns.values():
            column[:size] = column[source]
        rows._norms[:, :size], rows._bad[:, :size] = rows._norms[:, source], rows._bad[:, source]
        rows._columns["step"][:size] = np.arange(last - size + 1, last + 1)
        rows._end = size
    policy._seen, policy._every = policy._window, every


class Maker:
    """Makes variants of one setup, each with a trainer of its own.

    Args:
        setup: What is trained.
        folder: For the runs.
        clock: Notes how long the parts of a step take.
    """

    def __init__(self, setup: Setup, folder: Path, clock: PartClock) -> None:
        self.setup, self.folder, self.clock = setup, folder, clock

    def stepper(self, name: str) -> Stepper:
        """Return a trainer in a folder of that name."""
        return Stepper(self.setup, self.folder / re.sub(r"\W+", "-", name), self.clock)

    def stock(self, name: str) -> Variant:
        """Return stock."""
        return Variant(name, self.stepper(name))

    def ours(self, name: str, *, kind: str = "", guest: bool = False) -> Variant:
        """Return this package at work.

        Args:
            name: What the table calls it.
            kind: Key of `OURS`, where that is not the name.
            guest: It takes only some of the turns.
        """
        stepper, settings = self.stepper(name), OURS[kind or name]
        run, rare = stepper.watch(**settings), rare_work(settings)
        variant = Variant(name, stepper, run=run, guest=guest, rare=rare)
        variant.close = partial(variant.run.close, variant.stepper.trainer)  # type: ignore[union-attr]
        variant.trouble = partial(trouble, variant)
        take_over_flushes(variant)
        return variant


def rare_work(settings: Mapping[str, Any]) -> dict[str, int]:
    """Return the steps from one to the next, by the rare work that comes with some settings."""
    found = {"rules": RULES_EVERY}
    if settings["guard"] != "off":
        found["guard"] = SNAPSHOT_EVERY
    every = settings.get("watch_every", StabilitySettings().watch_every)
    return found | ({"updates": every} if every else {})


def take_over_flushes(variant: Variant) -> None:
    """Let `before_step` wake the flush thread of a variant, and nothing else."""
    writer: Any = variant.writer
    writer._flush_seconds = 3600.0
    flush = writer._flush

    def noticed() -> None:
        flush()
        variant._flushed.set()

    writer._flush = noticed


def trouble(variant: Variant) -> list[str]:
    """Return a line for everything that makes the figures of one of ours doubtful; call after its run is closed."""
    run = variant.run
    assert run is not None
    assert run.loop is not None
    trace = load_trace(variant.stepper.save_dir)
    skipped = trace.steps["skipped"]
    count = len(skipped) - skipped.null_count()
    found = [f"{count} of {len(skipped)} steps were skipped"] if count else []
    events = trace.events.filter(trace.events["kind"] == "finding")["data"]
    found += sorted({f"a finding: {json.loads(data)['rule']}" for data in events})
    unhealthy = run.loop.recovery.unhealthy_step
    if unhealthy >= 0:
        found.append(f"step {unhealthy} was unhealthy, so updates were measured densely")
    if variant.writer.error:
        found.append(variant.writer.error)
    return [f"{variant.name}: {text}" for text in found]


def differing(variants: Sequence[Variant]) -> list[str]:
    """Return a line for each of ours that is not bit for bit where stock is after as many steps."""
    stock = {v.steps: v.stepper for v in variants if v.name in {STOCK, AGAIN}}
    return [
        f"{v.name}: its weights are not those of stock"
        for v in variants
        if v.run and v.steps in stock and not same_state(v.stepper, stock[v.steps])
    ]


# Builds that were changed on purpose


def makes_dearer(variant: Variant, seconds: float) -> None:
    """Let a build compute in vain for so long after each update.

    Args:
        variant: One of ours.
        seconds: CPU time.
    """
    assert variant.run is not None
    loop: Any = variant.run.loop
    after_update, square = loop.after_update, torch.ones(64, 64)

    def longer() -> None:
        after_update()
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            torch.mm(square, square)

    loop.after_update = longer


def halves_the_guard(variant: Variant) -> None:
    """Let the guard of a build neither copy the buffers before a forward nor take healthy snapshots.

    Args:
        variant: One of ours, guarded.
    """
    assert variant.run is not None
    loop: Any = variant.run.loop
    loop._guard.before_window = loop.recovery._healthy.observe = lambda *_, **__: None
    del variant.rare["guard"]
