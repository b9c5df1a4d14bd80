"""Which seed of an arm a report shows first."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from yolo_stability.benchmarks.rows import RunResultRow
from yolo_stability.report.moments import Pair, worst_pair


def pair(seed: int, onset: int | None) -> Pair:
    run = RunResultRow(
        arm="a",
        task="detect",
        model="m",
        seed=seed,
        outcome="finished",
        verdict="stable" if onset is None else "failed",
        onset_step=onset,
    )
    return Pair(run=run, series=Mock(), control=None, control_seed=None)


@pytest.mark.parametrize(
    ("onsets", "first"),
    [
        ((None, 40, 12), 2),
        ((40, None, 12), 2),
        ((None, 0), 1),
        ((None, None), 0),
        ((7, 7), 0),
    ],
)
def test_the_seed_with_the_earliest_onset_comes_first(
    onsets: tuple[int | None, ...], first: int
) -> None:
    found = tuple(pair(seed, onset) for seed, onset in enumerate(onsets))
    assert worst_pair(found).run.seed == first
