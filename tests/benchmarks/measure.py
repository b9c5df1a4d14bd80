"""Takes the turns: in one process, step by step, in a new order each turn, with the garbage collector held."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from parts import COLLECTOR, PartClock
from variants import STOCK, Variant

FLUSH_EVERY = 2  # so that there are steps with a flush and steps without
DENSE_STEPS = 50  # UpdateSampler measures every one of the first 50 steps


@dataclass(frozen=True)
class Sample:
    """One step of one variant.

    Attributes:
        turn: Number of the turn.
        wall: Milliseconds by the time of day.
        parts: CPU milliseconds of the training thread by part.
        others: CPU milliseconds of all other threads.
        due: Rare work that was done in it.
        dense: It was one of the first steps, where every update is measured.
    """

    turn: int
    wall: float
    parts: dict[str, float]
    others: float
    due: frozenset[str] = frozenset()
    dense: bool = False

    @property
    def cpu(self) -> float:
        """CPU milliseconds of the training thread."""
        return sum(self.parts.values())


class Interleaver:
    """Lets variants take turns.

    Args:
        variants: All of them; each turn one of the guests takes part, and everybody else.
        clock: Notes how long the parts of a step take.

    Attributes:
        samples: Steps by variant.
        lost: A line for each guest that failed.
    """

    def __init__(self, variants: Sequence[Variant], clock: PartClock) -> None:
        self.clock = clock
        self.hosts = [variant for variant in variants if not variant.guest]
        self.guests = [variant for variant in variants if variant.guest]
        self.samples: dict[str, list[Sample]] = {variant.name: [] for variant in variants}
        self.lost: list[str] = []
        self._order = np.random.Generator(np.random.PCG64(0))

    def warm_up(self, rounds: int = 3) -> float:
        """Take untimed steps; let traces be flushed from here on.

        Args:
            rounds: Steps of each variant.

        Returns:
            The CPU milliseconds of a stock step.
        """
        taken = []
        for _ in range(rounds):
            for variant in [*self.hosts, *self.guests]:
                try:
                    sample = self._step(variant, 0, dense=True)
                except Exception as error:
                    if not variant.guest:
                        raise
                    self._lose(variant, error)
                else:
                    taken += [sample.cpu] if variant.name == STOCK else []
        for variant in [*self.hosts, *self.guests]:
            variant.flush_every = FLUSH_EVERY if variant.run else 0
        gc.collect()
        gc.freeze()  # a full sweep of all that torch holds would hit whichever variant is at work
        gc.disable()
        return min(taken)

    def run(self, seconds: float) -> None:
        """Take turns until the time is used up; the first steps get a quarter of it at most.

        Args:
            seconds: Time for the turns.
        """
        start, turn, dense = time.perf_counter(), 0, True
        while (elapsed := time.perf_counter() - start) < seconds or turn < 3:
            if dense and (self.hosts[0].steps >= DENSE_STEPS or elapsed > seconds / 4):
                dense = False
                for variant in [*self.hosts, *self.guests]:
                    variant.end_dense_phase()
            self._turn(turn, dense=dense)
            turn += 1

    def close(self) -> None:
        """Give the garbage collector its way again, and close the variants."""
        gc.unfreeze()
        gc.enable()
        for variant in [*self.hosts, *self.guests]:
            variant.close()

    def _turn(self, turn: int, *, dense: bool) -> None:
        """Let every host and one guest take a step."""
        guests = [self.guests[turn % len(self.guests)]] if self.guests else []
        takers = [*self.hosts, *guests]
        for i in self._order.permutation(len(takers)):
            sample = self._step(takers[i], turn, dense=dense)
            self.samples[takers[i].name].append(sample)

    def _step(self, variant: Variant, turn: int, *, dense: bool) -> Sample:
        """Take one step."""
        stepper, clock, snapshot = variant.stepper, self.clock, variant.snapshot_step()
        gc.collect(1)
        stepper.synchronize()
        variant.before_step()
        wall, process, thread = time.perf_counter(), time.process_time(), time.thread_time()
        clock.start()
        stepper.step(variant.extra)
        clock.call(COLLECTOR, gc.collect, 1)
        stepper.synchronize()
        parts = clock.stop()
        wall = time.perf_counter() - wall
        variant.after_step()
        thread = time.thread_time() - thread
        others = max(0.0, time.process_time() - process - thread)
        return Sample(
            turn=turn,
            wall=wall * 1000,
            parts=parts,
            others=others * 1000,
            due=variant.due(snapshot),
            dense=dense,
        )

    def _lose(self, variant: Variant, error: Exception) -> None:
        """Do without a guest that failed."""
        self.guests.remove(variant)
        self.samples.pop(variant.name)
        self.lost.append(f"{variant.name}: not measured, {type(error).__name__}: {error}")
