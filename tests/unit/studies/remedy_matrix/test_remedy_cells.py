"""What counts as saved, how sure a gain is, and which cells are recommended."""

from __future__ import annotations

import pytest
from fabricated import rows

from yolo_stability.benchmarks.rows import Interval
from yolo_stability.benchmarks.statistics import wilson
from yolo_stability.studies.remedy_matrix.matrix import (
    OutcomeCounts,
    RemedyCell,
    cell_of,
    count_outcomes,
    gain_of,
    price_of,
)

CONTROL = rows(0.8, 0.8, 0.8, 0.8, 0.8)
DEAD, ALIVE = [0.0] * 5, [0.8] * 5


def counted(hits: int, runs: int) -> OutcomeCounts:
    nothing = Interval(value=None)
    return OutcomeCounts(
        seeds=tuple(range(runs)),
        saved=hits,
        share=wilson(hits, runs),
        fitness=nothing,
        ended_early=0,
        called_failed=0,
        unlearned=0,
    )


def test_a_run_is_saved_that_ended_by_itself_and_learned_half_of_its_own_control() -> None:
    control = rows(0.8, 0.4, 0.8)
    own = count_outcomes(rows(0.4, 0.1, 0.39), control)
    assert (own.saved, own.unlearned, own.ended_early) == (1, 2, 0)
    assert own.fitness.value == pytest.approx((0.5 + 0.25 + 0.39 / 0.8) / 3)


@pytest.mark.parametrize(
    ("changes", "saved", "seen"),
    [
        ({}, 5, 5),
        ({"verdict": "unstable"}, 5, 5),
        ({"verdict": "failed"}, 0, 5),
        ({"outcome": "stopped"}, 0, 5),
        ({"outcome": "crashed"}, 0, 5),
        (
            {"outcome": "crashed", "steps": 0},
            0,
            0,
        ),  # it never began: a broken machine, not a failure
        ({"outcome": "timeout"}, 0, 0),
        ({"outcome": "memory"}, 0, 0),
    ],
)
def test_how_a_run_ended_decides(changes: dict[str, object], saved: int, seen: int) -> None:
    own = count_outcomes(rows(*ALIVE, **changes), CONTROL)
    assert (own.saved, len(own.seeds)) == (saved, seen)


def test_a_seed_without_a_healthy_control_counts_nowhere() -> None:
    control = {**rows(0.8, 0.8, 0.0), 3: rows(0.8, verdict="failed")[0]}
    own = count_outcomes(rows(*ALIVE), control)
    assert own.seeds == (0, 1)


def test_a_run_without_any_fitness_has_learned_nothing() -> None:
    own = count_outcomes(rows(None, 0.8, outcome="stopped"), CONTROL)
    assert own.unlearned == 1
    assert own.fitness.value == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("a", "m", "b", "n", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17, 873-890, table II, method 10
        (56, 70, 48, 80, 0.0524, 0.3339),
        (9, 10, 3, 10, 0.1705, 0.8090),
        (6, 7, 2, 7, 0.0582, 0.8062),
        (5, 56, 0, 29, -0.0381, 0.1926),
        (0, 10, 0, 20, -0.1611, 0.2775),
        (10, 10, 0, 20, 0.6791, 1.0000),
        (10, 10, 0, 10, 0.6075, 1.0000),
    ],
)
def test_the_interval_of_a_gain_is_that_of_the_paper(
    a: int, m: int, b: int, n: int, low: float, high: float
) -> None:
    gain = gain_of(counted(a, m), counted(b, n))
    assert gain.low == pytest.approx(low, abs=6e-5)
    assert gain.high == pytest.approx(high, abs=6e-5)
    assert gain.value == pytest.approx(a / m - b / n)


def test_nothing_measured_is_no_gain() -> None:
    assert gain_of(counted(0, 0), counted(0, 5)) == Interval(value=None)


def cell(
    own: list[float], alone: list[float], price: list[float], *, void: bool = False
) -> RemedyCell:
    return cell_of(
        "cause",
        price_of("remedy", "detect", "remedy", count_outcomes(rows(*price), CONTROL)),
        arm="cause+remedy",
        void=void,
        replaced=[],
        own=count_outcomes(rows(*own), CONTROL),
        alone=count_outcomes(rows(*alone), CONTROL),
    )


@pytest.mark.parametrize(
    ("own", "alone", "price", "verdict"),
    [
        (ALIVE, DEAD, ALIVE, "recommended"),
        ([0.8, 0.8, 0.8, 0.8, 0.0], DEAD, ALIVE, "recommended"),
        (
            [0.8, 0.8, 0.8, 0.0, 0.0],
            DEAD,
            ALIVE,
            "unproven",
        ),  # Newcombe alone would do: 0.03 to 0.88; p = 0.07
        (ALIVE, ALIVE, ALIVE, "unproven"),
        (DEAD, ALIVE, ALIVE, "unproven"),
        (ALIVE, DEAD, [0.73] * 5, "recommended"),
        (ALIVE, DEAD, [0.71] * 5, "costly"),
        (ALIVE[:4], DEAD, ALIVE, "anecdotal"),
        (ALIVE, DEAD[:4], ALIVE, "anecdotal"),
        (ALIVE, DEAD, ALIVE[:4], "anecdotal"),
        (ALIVE, DEAD, [], "anecdotal"),
        ([], DEAD, ALIVE, "missing"),
    ],
)
def test_what_is_recommended(
    own: list[float], alone: list[float], price: list[float], verdict: str
) -> None:
    assert cell(own, alone, price).verdict == verdict


def test_what_changes_nothing_is_told_as_such() -> None:
    assert cell(ALIVE, DEAD, ALIVE, void=True).verdict == "void"
