"""A recorded run gives the decision that the running one gave, and the labels say whether it was
right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from traces import noisy, record, write

from yolo_stability.benchmarks.plan import RunOutcome
from yolo_stability.core.actions import Ending
from yolo_stability.core.types import StepRecord
from yolo_stability.diagnosis.rescue_policy import Rescuer
from yolo_stability.studies.rescue_rate.replay import acted_folder, first_decision, replay_folder
from yolo_stability.trace import load_trace
from yolo_stability.trace.records import as_records

HEALTHY = [record(s, [3.0 + s % 3, 4.0, 2.0, 12.0], loss=8 - 0.01 * s) for s in range(60)]
VANISHING = [record(s, [1e-5 * (1 + s % 2), 4.0, 2.0, 12.0], loss=8.0) for s in range(60)]


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    names = [f"model.{i} C3k2" for i in range(3)]
    records = noisy(40, 3)
    read = list(as_records(load_trace(write(tmp_path, records, names=names))))
    assert len(read) == 40
    for one, other in zip(records, read, strict=True):
        assert (one.step, one.epoch, one.skipped, one.accumulate) == (
            other.step,
            other.epoch,
            other.skipped,
            2,
        )
        assert other.loss == pytest.approx(one.loss, rel=1e-6)
        assert other.lr_by_group == pytest.approx(one.lr_by_group, rel=1e-6)
        assert other.loss_items.keys() == one.loss_items.keys()
        assert [b.block for b in other.blocks] == names
        assert [b.grad_norm for b in other.blocks] == pytest.approx(
            [b.grad_norm for b in one.blocks], rel=1e-6
        )
        assert [b.update_ratio is None for b in other.blocks] == [
            b.update_ratio is None for b in one.blocks
        ]


def test_the_first_decision_is_that_of_the_rules(tmp_path: Path) -> None:
    told = {"requested": {"norm": "none"}}
    found = first_decision(load_trace(write(tmp_path / "bad", VANISHING, **told)))
    assert found is not None
    step, decision = found
    assert isinstance(decision, Ending)
    assert (step, decision.cause) == (3, "normalization")
    assert first_decision(load_trace(write(tmp_path / "good", HEALTHY))) is None


def benchmark(folder: Path, arms: dict[str, tuple[list[StepRecord], dict[str, Any]]]) -> Path:
    """A benchmark folder with one run an arm."""
    for arm, (records, told) in arms.items():
        run = folder / "runs" / arm / "detect" / "yolo26n" / "0"
        write(run, records, **told)
        spec = {
            "arm": arm,
            "task": "detect",
            "model": "yolo26n.yaml",
            "seed": 0,
            "settings": {"batch": 8},
        }
        (run / "spec.json").write_text(json.dumps(spec))
        RunOutcome(digest="d", outcome="finished").write(run)
    return folder


def test_labels_say_what_was_right(tmp_path: Path) -> None:
    right, wrong = {"requested": {"norm": "none"}}, {"requested": {"act": "sigmoid"}}
    folder = benchmark(
        tmp_path,
        {
            "control": (HEALTHY, {}),
            "healthy-sgd": (VANISHING, right),  # would have been ended for nothing
            "no-norm": (VANISHING, right),
            "fault-no-norm-gain": (VANISHING, wrong),  # ended for a cause that is not the label's
            "fault-bad-gain": (VANISHING[:1], right),
        },
    )
    found = replay_folder(folder)
    assert found.healthy.value == 0.5
    assert found.too_short == 1
    assert found.decisions["no-norm"] == {"ended: normalization": 1}
    assert found.decisions["control"] == {"no intervention": 1}
    assert found.decisions["fault-no-norm-gain"] == {"ended: activation": 1}
    assert found.built_in.value == 0.5


ENDED = {"cause": "normalization", "text": "ended", "advice": "norm=batch"}
LOWERED = {"remedy": "lower_rate", "cause": "learning_rate", "why": "long updates", "value": "0.1"}


def acted(run: Path, step: int, kind: str, data: dict[str, Any]) -> None:
    """Let a rescue have done something in a run."""
    event = {"attempt": 0, "step": step, "kind": kind, "block": None, "data": data}
    (run / "stability" / "events.jsonl").write_text(json.dumps(event) + "\n")


def test_what_was_done_is_read_off_the_events(tmp_path: Path) -> None:
    folder = benchmark(
        tmp_path,
        {
            "control": (HEALTHY, {}),
            "rescue-auto": (HEALTHY, {}),
            "healthy-sgd": (HEALTHY, {}),
            "healthy-sgd+rescue-auto": (HEALTHY, {}),  # something was done to it
            "healthy-cosine": (HEALTHY, {}),
            "healthy-cosine+rescue-auto": (
                VANISHING,
                {},
            ),  # nothing was said, and yet it is not the same
            "no-norm+rescue-auto": (VANISHING, {}),
            "bad-init+rescue-auto": (VANISHING, {}),  # too late
            "sigmoid-no-norm+rescue-auto": (
                VANISHING,
                {},
            ),  # a learning rate is not what is wrong with it
            "fault-deep-plain+rescue-auto": (VANISHING, {}),  # nothing was done
        },
    )
    runs = {arm.name: arm / "detect" / "yolo26n" / "0" for arm in (folder / "runs").iterdir()}
    acted(runs["healthy-sgd+rescue-auto"], 3, "rescue", LOWERED)
    acted(runs["no-norm+rescue-auto"], 29, "rescue_stop", ENDED)
    acted(runs["bad-init+rescue-auto"], 30, "rescue_stop", {**ENDED, "cause": "initialization"})
    acted(runs["sigmoid-no-norm+rescue-auto"], 3, "rescue", LOWERED)
    found = acted_folder(folder)
    assert found.healthy.value == pytest.approx(1 / 3)
    assert found.built_in.value == 0.25
    assert found.decisions["rescue-auto"] == {"no intervention": 1}
    assert found.decisions["healthy-cosine+rescue-auto"] == {"another trace: unknown": 1}
    assert found.decisions["no-norm+rescue-auto"] == {"ended: normalization": 1}
    assert found.decisions["sigmoid-no-norm+rescue-auto"] == {"lower_rate: learning_rate": 1}
    assert "control" not in found.decisions
    assert "structural faults ended in time: 0.250 (0.046 to 0.699)" in found.lines()
    assert found.unbroken == 0


LATE = [*HEALTHY[:40], *(record(s, [0.0] * 4, loss=0.0) for s in range(40, 60))]


@pytest.mark.parametrize(
    ("bare", "fitness", "step", "built_in", "unbroken"),
    [
        (LATE, 0.0, 69, 1.0, 0),  # the run without a rescue breaks down at step 40 or so
        (LATE, 0.0, 80, 0.0, 0),
        (LATE, 0.0, None, 0.0, 0),
        (HEALTHY, 0.4, None, None, 1),  # it learns: nothing to end, nothing done
        (HEALTHY, 0.4, 3, 0.0, 0),  # ended though it would have learnt
        (HEALTHY, 0.01, None, 0.0, 0),  # it learns nothing, whatever the rules see
    ],
)
def test_the_onset_is_that_of_the_run_without_a_rescue(
    bare: list[StepRecord],
    fitness: float,
    step: int | None,
    built_in: float | None,
    unbroken: int,
    tmp_path: Path,
) -> None:
    arms = {"control": (HEALTHY, {}), "bad-init": (bare, {}), "bad-init+rescue-auto": (HEALTHY, {})}
    folder = benchmark(tmp_path, arms)
    metrics = {"metrics/mAP50(B)": fitness}
    run = folder / "runs" / "bad-init" / "detect" / "yolo26n" / "0"
    RunOutcome(digest="d", outcome="finished", metrics=metrics).write(run)
    if step is not None:
        data = {**ENDED, "cause": "initialization"}
        acted(
            folder / "runs" / "bad-init+rescue-auto" / "detect" / "yolo26n" / "0",
            step,
            "rescue_stop",
            data,
        )
    found = acted_folder(folder)
    assert (found.built_in.value, found.unbroken) == (built_in, unbroken)


def test_the_rules_are_asked_at_the_end_of_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a running training, which validates nothing that is in trouble."""
    steps = [record(s, [3.0, 4.0, 2.0, 12.0], loss=8 - 0.01 * s, epoch=s // 13) for s in range(39)]
    asked: list[int] = []
    ask = Rescuer.ask

    def noted(self: Rescuer) -> Any:
        asked.append(self._seen)
        return ask(self)

    monkeypatch.setattr(Rescuer, "ask", noted)
    assert first_decision(load_trace(write(tmp_path, steps))) is None
    assert {13, 26, 39} <= set(asked)
