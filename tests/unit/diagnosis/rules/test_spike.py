"""Thresholds of a spike: lower for one block alone, higher if its neighbors jump too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from yolo_stability.core.findings import Finding
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import healthy_run, with_rows
from yolo_stability.diagnosis.rules.spike import Spike
from yolo_stability.trace.arrays import Norms, RunSeries

RUN, AT = healthy_run(), 60
BEFORE = RUN.block_norm[:, AT - 8 : AT].max(axis=1)


def with_blocks(norms: Norms) -> RunSeries:
    """Return the run with other blocks; the total is theirs."""
    return with_rows(
        RUN, slice(None), block_norm=norms, norm=np.sqrt((norms.astype(float) ** 2).sum(axis=0))
    )


def leaping(blocks: Sequence[int], multiple: float) -> RunSeries:
    """Return a run in which some blocks reach a multiple of their highest of the 8 steps before."""
    norms = RUN.block_norm.copy()
    norms[list(blocks), AT] = BEFORE[list(blocks)] * np.float32(multiple)
    return with_blocks(norms)


def look(run: RunSeries) -> list[Finding]:
    return list(Spike().look(DiagnosisContext(run)))


@pytest.mark.parametrize("block", range(5))
def test_one_block_alone_needs_a_multiple_of_fifteen(block: int) -> None:
    (found,) = look(leaping([block], 16))
    assert (found.severity, found.block, found.first_step) == ("warning", RUN.names[block], AT)
    assert found.observed == pytest.approx(16)
    assert found.threshold == 15
    assert look(leaping([block], 14)) == []


def test_jumps_shared_by_neighbors_need_a_hundred() -> None:
    assert look(leaping([1, 2], 30)) == []
    (found,) = look(leaping([1, 2], 120))
    assert (found.block in {RUN.names[1], RUN.names[2]}, found.first_step, found.threshold) == (
        True,
        AT,
        100,
    )


def test_a_block_far_ahead_of_one_that_leapt_too_is_alone() -> None:
    run = leaping([3], 40)
    norms = run.block_norm.copy()
    norms[0, AT] = BEFORE[0] * np.float32(3.9)
    (found,) = look(with_blocks(norms))
    assert found.block == RUN.names[3]
    norms[0, AT] = BEFORE[0] * np.float32(4.1)
    assert look(with_blocks(norms)) == []


def test_blocks_that_had_slept_from_the_start_may_wake_up_together() -> None:
    """A level of the head without objects, and what leads to it."""
    norms = RUN.block_norm.copy()
    norms[1:3, :AT] *= np.float32(1e-5)
    assert look(with_blocks(norms)) == []
    norms[1:3, AT] *= np.float32(50)
    assert look(with_blocks(norms))[0].first_step == AT


@pytest.mark.parametrize("step", [8, 9, 40])
def test_the_first_eight_steps_are_excluded(step: int) -> None:
    norms = RUN.block_norm.copy()
    norms[2, step] *= np.float32(1e3)
    run = with_blocks(norms)
    assert [f.first_step for f in look(run)] == [step]
    norms = RUN.block_norm.copy()
    norms[2, 7] *= np.float32(1e3)
    assert look(with_blocks(norms)) == []


def test_two_blocks_tell_nothing_about_being_alone() -> None:
    run = leaping([0], 30)
    assert look(run) != []
    pair = {"names": run.names[:2], "roles": run.roles[:2], "block_norm": run.block_norm[:2]}
    assert look(replace(run, **pair)) == []


def test_after_a_step_without_norms_the_total_is_reported() -> None:
    """No block has a highest of the 8 steps before it: the sentence does without."""
    norms = RUN.block_norm.copy()
    norms[:, AT - 3] = np.nan
    norms[:, AT] = BEFORE * np.float32(200)
    (found,) = look(with_blocks(norms))
    assert found.first_step == AT
    assert "unknown" not in found.message
    assert found.observed > found.threshold == 50
