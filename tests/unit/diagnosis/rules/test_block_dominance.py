"""One block that holds nearly all of the gradient under a clip by the total norm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from odd_runs import cut
from traces import header

from yolo_stability.core.findings import Finding
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import healthy_run
from yolo_stability.diagnosis.rules.block_dominance import BlockDominance
from yolo_stability.trace.arrays import RunSeries

STEPS = 96
NAMES = healthy_run(1).names


def dominated(
    factor: float, block: int = 3, first: int = 20, last: int = STEPS, bound: float = 10.0
) -> RunSeries:
    """Return a run in which one block's gradient is multiplied, under a clip by the norm."""
    run = healthy_run(STEPS)
    norms = run.block_norm.astype(np.float64)
    norms[block, first:last] *= factor
    norm = np.sqrt((norms**2).sum(axis=0))
    return replace(
        run,
        block_norm=norms.astype(np.float32),
        norm=norm,
        clip=np.minimum(1.0, bound / norm) if bound else np.full(STEPS, np.nan),
    )


def look(run: RunSeries, clip: str | None = None, **known: Any) -> list[Finding]:
    head = header(effective={"clip": clip}) if clip else None
    return list(BlockDominance().look(DiagnosisContext(run, header=head, **known)))


@pytest.mark.parametrize("block", range(len(NAMES)))
def test_a_block_that_starves_the_others_is_a_warning(block: int) -> None:
    (found,) = look(dominated(1000.0, block))
    assert (found.severity, found.block) == ("warning", NAMES[block])
    assert (found.first_step, found.last_step) == (51, 95)
    assert found.observed > 0.999
    assert look(cut(dominated(1000.0, block), 51)) == []


@pytest.mark.parametrize("factor", [1.0, 3.0, 8.0])
def test_an_uneven_gradient_is_usual(factor: float) -> None:
    """Up to 0.97 of the squared norm in one block; healthy runs reach 0.92."""
    assert look(dominated(factor, first=0)) == []


def test_it_must_last_in_the_same_block() -> None:
    assert look(dominated(1000.0, first=20, last=51)) == []
    assert look(dominated(1000.0, first=20, last=52))
    a, b = dominated(1000.0, 1, 20, 40), dominated(1000.0, 2, 40, 60)
    both = np.maximum(a.block_norm, b.block_norm)
    norm = np.sqrt((both.astype(float) ** 2).sum(axis=0))
    assert look(replace(a, block_norm=both, norm=norm, clip=10 / norm)) == []


def test_without_a_tight_clip_nothing_starves() -> None:
    assert look(dominated(1000.0, bound=1e9)) == []
    assert look(dominated(1000.0, bound=0.0)) == []
    assert look(dominated(1000.0), "agc:0.01") == []
    assert look(dominated(1000.0), "norm:10")


@pytest.mark.parametrize("bound", [10.0, 0.0])
def test_one_huge_step_at_the_start_is_enough(bound: float) -> None:
    """As of a block of zeros in a loaded checkpoint: a norm of 1e11, and 60 in the next step."""
    (found,) = look(dominated(1e6, first=0, last=1, bound=bound))
    assert (found.severity, found.block) == ("warning", NAMES[3])
    assert (found.first_step, found.last_step) == (0, 0)
    assert look(dominated(1e6, first=3, last=4, bound=bound))
    assert look(dominated(1e6, first=4, last=5, bound=bound)) == []
    assert look(dominated(1e3, first=0, last=4, bound=bound)) == []
    later = dominated(1e6, first=0, last=1, bound=bound)
    assert look(replace(later, step=later.step + 50)) == []


def test_huge_first_norms_in_all_blocks_are_usual() -> None:
    """As of healthy pose models: 6e4, a quarter of it in the block with most."""
    run = dominated(1.0)
    scale = np.where(run.step < 6, 200.0, 1.0)
    norm = run.norm * scale
    blocks = (run.block_norm * scale).astype(np.float32)
    assert look(replace(run, block_norm=blocks, norm=norm, clip=np.minimum(1, 10 / norm))) == []


def with_updates(run: RunSeries, others: float, own: float) -> RunSeries:
    ratios = np.full((len(NAMES), 50), others, dtype=np.float32)
    ratios[3] = own
    weights = np.ones_like(ratios)
    return replace(run, sampled=np.arange(50), weight_norm=weights, update_ratio=ratios)


@pytest.mark.parametrize(
    ("others", "own", "severity"),
    [
        (1e-9, 1e-3, "critical"),
        (1e-4, 1e-1, "warning"),  # they move
        (1e-9, 1e-9, "warning"),  # nothing moves: a rate near 0
    ],
)
def test_only_blocks_that_stand_still_are_critical(
    others: float, own: float, severity: str
) -> None:
    (found,) = look(with_updates(dominated(1e5, first=10), others, own))
    assert found.severity == severity
    assert ("hardly moved" in found.message) == (severity == "critical")


def test_two_blocks_tell_nothing() -> None:
    run = dominated(1000.0, 1)
    pair = {"names": run.names[:2], "roles": run.roles[:2], "block_norm": run.block_norm[:2]}
    assert look(replace(run, **pair)) == []
