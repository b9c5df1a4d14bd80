"""Update sampling: the measured steps, and consistency before and after the update."""

from __future__ import annotations

from yolo_stability.gradients.updates import UpdateSampler


def measured(sampler: UpdateSampler, steps: range) -> list[int]:
    """Return the steps that are due; `wants` must agree, however often it is called."""
    found = []
    for step in steps:
        wanted = [sampler.wants(step) for _ in range(3)]
        due = sampler.due(step)
        assert wanted == [due] * 3
        found += [step] if due else []
    return found


def test_the_first_steps_and_those_after_an_alarm_are_all_measured() -> None:
    sampler = UpdateSampler([], every=10, dense=4)
    assert measured(sampler, range(35)) == [0, 1, 2, 3, 10, 20, 30]
    sampler.alarm()
    assert measured(sampler, range(35, 52)) == [35, 36, 37, 38, 40, 50]


def test_never_is_never() -> None:
    sampler = UpdateSampler([], every=0)
    sampler.alarm()
    assert measured(sampler, range(20)) == []
