"""One case of the bench: its variants made, their turns taken, its rows estimated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from cases import title
from estimate import (
    MERGE,
    Row,
    Turns,
    cpu_of,
    own_row,
    peer_row,
    shares_of,
    trace_draws,
    undisturbed_ms,
)
from measure import DENSE_STEPS, Interleaver, Sample
from parts import PartClock, clocked_parts
from peers import peers
from stepping import Setup
from table import as_json, table
from variants import (
    AGAIN,
    CHEAPER_BUILD,
    DEARER_BUILD,
    FULL,
    GUARDED,
    RECORDED,
    SAME_BUILD,
    STOCK,
    Maker,
    Variant,
    differing,
    halves_the_guard,
    makes_dearer,
)
from verdicts import verdicts_on

FIRST = f"{FULL}, first {DENSE_STEPS} steps"


def case(setup: Setup, folder: Path, seconds: float, *, builds: bool = False) -> dict[str, Any]:
    """Measure one case.

    Args:
        setup: What is trained.
        folder: For the runs.
        seconds: Time for the turns.
        builds: Take changed builds along instead of parts of the default and peers.
    """
    clock = PartClock()
    maker = Maker(setup, folder, clock)
    variants = [maker.stock(STOCK), maker.stock(AGAIN), maker.ours(FULL)]
    missing: list[str] = []
    if builds:
        variants += [maker.ours(name, kind=FULL) for name in (SAME_BUILD, DEARER_BUILD)]
        variants += [maker.ours(CHEAPER_BUILD, kind=FULL)]
    else:
        variants += [maker.ours(name, guest=True) for name in (RECORDED, GUARDED)]
        found, missing = peers(maker)
        variants += found
    bench = Interleaver(variants, clock)
    with clocked_parts(clock):
        try:
            stock_ms = bench.warm_up()
            if builds:
                makes_dearer(variants[-2], stock_ms / 1000 / 100)
                halves_the_guard(variants[-1])
            bench.run(seconds)
            notes = differing(variants)
        finally:
            bench.close()
    found_rows = rows(variants, bench.samples)
    if setup.device != "cpu":
        found_rows = [replace(row, clocked=None, rest=None, thread=None) for row in found_rows]
    notes = [*missing, *bench.lost, *notes, *(line for v in variants for line in v.trouble())]
    step_ms = float(np.median([cpu_of(sample) for sample in bench.samples[STOCK]]))
    name = title(setup)
    return {
        "title": name,
        "stock_ms": step_ms,
        "undisturbed_ms": undisturbed_ms(bench.samples[STOCK]),
        "clock_ms": clock.cost(),
        "rows": as_json(found_rows),
        "verdicts": verdicts_on(found_rows) if builds else {},
        "notes": notes,
        "text": "\n".join([f"\n{name}", table(found_rows, step_ms), *notes]),
    }


def rows(variants: Sequence[Variant], samples: dict[str, list[Sample]]) -> list[Row]:
    """Return the table.

    Args:
        variants: All of them, stock and stock again first.
        samples: Their steps by name.
    """
    stock = by_turn(samples[STOCK])
    both = by_turn([*samples[STOCK], *samples[AGAIN]])
    stock_ms = undisturbed_ms(samples[STOCK])
    merging = [s for taken in samples.values() for s in taken if MERGE in s.due]
    merges = Turns(merging, both) if merging else None
    found = [own_row(AGAIN, Turns(samples[AGAIN], stock), {})]
    for variant in variants[2:]:
        taken = samples.get(variant.name, [])
        if variant.run is None and taken:
            found.append(peer_row(variant.name, Turns(taken, both), variant.cycles))
        for name, dense in ((variant.name, False), (FIRST, True)):
            chosen = [s for s in taken if s.dense == dense] or (taken if variant.guest else [])
            if variant.run and chosen and (variant.name == FULL or not dense):
                turns = Turns(chosen, both)
                trace = trace_draws(turns, merges, stock_ms)
                every = turns if dense else Turns(taken, both)
                found.append(own_row(name, turns, shares_of(turns, variant.rare), trace, every))
    return found


def by_turn(samples: Sequence[Sample]) -> dict[int, list[Sample]]:
    """Return steps by their turn."""
    found: defaultdict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        found[sample.turn].append(sample)
    return found
