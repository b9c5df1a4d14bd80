"""Whether a model learned: each definition and its edges, over epochs made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from outcome_tables import STRICT, blocks, epochs_of, run_of, settings

from yolo_stability.core.findings import End, Finding
from yolo_stability.diagnosis.diagnose import diagnose_context
from yolo_stability.diagnosis.examples import event
from yolo_stability.diagnosis.outcome import hard_evidence, learning_of, resolver_of

NAN, INF = float("nan"), float("inf")
FINISHED = End(state="finished", epochs_done=10, epochs_planned=10)
RISE = (0.01, 0.1, 0.2, 0.3, 0.38, 0.4)


def learning(metric: Sequence[float], end: End | None = FINISHED, **known: Any) -> str:
    steps = known.pop("steps", 96)
    columns = {name: known.pop(name) for name in list(known) if "__" in name}
    epochs = epochs_of(metric, known.pop("column", "metrics/mAP50-95(B)"), **columns)
    return learning_of(run_of(epochs, steps, **known), end).learning


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (RISE, "learned"),
        ((0.05,), "learned"),
        ((0.0499,), "too_early"),
        ((0.0,), "too_early"),
        ((0.4, 0.2), "learned"),  # half of the best is enough
        ((0.4, 0.19), "too_early"),
        ((*RISE, 0.03, 0.02, 0.03), "not_learned"),
        ((*RISE, 0.03, 0.02, 0.05), "declined"),  # one of the last three is not below a tenth
        ((*RISE, 0.0, 0.0, 0.0), "not_learned"),
        ((*RISE, NAN, NAN, NAN), "not_learned"),  # a metric that is not finite is none
        ((*RISE, 0.0, 0.0), "too_early"),  # two of the last three
        ((*RISE, 0.15, 0.15, 0.15), "declined"),
        ((*RISE, 0.15, 0.15, 0.21), "learned"),
        ((*RISE, 0.15, 0.21, 0.15), "too_early"),
        ((0.4, 0.15, 0.15, 0.15), "too_early"),  # the last three begin among the first three
        ((0.4, 0.4, 0.4, 0.15, 0.15, 0.15), "declined"),
        ((0.009, 0.0, 0.0, 0.0, 0.0, 0.0), "too_early"),  # what never was cannot be lost
    ],
)
def test_learning_by_skill(metric: tuple[float, ...], expected: str) -> None:
    assert learning(metric) == expected


@pytest.mark.parametrize(
    ("metric", "steps", "end", "expected"),
    [
        ((0.0, 0.0), 2000, FINISHED, "not_learned"),
        ((0.0, 0.0), 1999, FINISHED, "too_early"),
        ((0.0, 0.0099), 2000, FINISHED, "not_learned"),
        ((0.0, 0.0101), 2000, FINISHED, "learned"),  # a long run needs less
        ((0.0, 0.0101), 1999, FINISHED, "too_early"),
        ((0.0,), 2000, replace(FINISHED, state="running", epochs_done=5), "too_early"),
        ((0.0,), 2000, replace(FINISHED, state="running", epochs_done=6), "not_learned"),
        ((0.0,), 2000, replace(FINISHED, state="killed", epochs_done=5), "too_early"),
        ((0.0,), 2000, replace(FINISHED, state="killed", epochs_planned=None), "too_early"),
        ((0.0,), 2000, replace(FINISHED, state="stopped", epochs_done=2), "not_learned"),
        ((0.0,), 2000, None, "not_learned"),
    ],
)
def test_a_long_run_that_finds_nothing(
    metric: tuple[float, ...], steps: int, end: End | None, expected: str
) -> None:
    assert learning(metric, end, steps=steps) == expected


def test_a_table_without_steps_is_long_from_100_epochs_on() -> None:
    assert learning([0.0] * 100, stock=True, steps=100) == "not_learned"
    assert learning([0.0] * 99, stock=True, steps=99) == "too_early"


@pytest.mark.parametrize("task", STRICT)
def test_each_task_has_its_metric(task: str) -> None:
    column = f"metrics/mAP50-95{STRICT[task]}"
    assert learning([0.4], column=column, header=settings(task=task)) == "learned"
    assert learning([0.4], column=column) == "learned"  # the columns tell the task


@pytest.mark.parametrize("kind", ["P", "M"])
def test_boxes_that_are_found_do_not_make_up_for_keypoints_or_masks(kind: str) -> None:
    epochs = epochs_of([0.0] * 6, f"metrics/mAP50-95({kind})")
    boxes = {"metrics/mAP50-95(B)": np.full(6, 0.6)}
    missing = {**epochs.missing, "metrics/mAP50-95(B)": np.zeros(6, dtype=bool)}
    both = replace(epochs, values={**boxes, **epochs.values}, missing=missing)
    task = {"P": "pose", "M": "segment"}[kind]
    for known in ({"header": settings(task=task)}, {}):
        assert learning_of(run_of(both, **known), FINISHED).learning == "too_early"


@pytest.mark.parametrize(
    ("top1", "facts", "expected"),
    [
        (0.6, {"nc": 2}, "learned"),  # skill 0.2
        (0.52, {"nc": 2}, "too_early"),
        (0.52, {"nc": 10}, "learned"),
        (0.92, {"nc": 2, "val_largest_share": 0.9}, "learned"),
        (0.9, {"nc": 2, "val_largest_share": 0.9}, "too_early"),
        (0.9, {}, "unknown"),  # against what?
        (1.0, {"nc": 1}, "not_learned"),
    ],
)
def test_accuracy_counts_above_that_of_the_largest_class(
    top1: float, facts: dict[str, Any], expected: str
) -> None:
    known = settings(task="classify", **facts)
    assert learning([top1], column="metrics/accuracy_top1", header=known) == expected


def test_a_run_that_was_never_validated_is_unknown() -> None:
    epochs = epochs_of(RISE, validated=[False] * 6)
    assert learning_of(run_of(epochs), FINISHED).learning == "unknown"
    assert learning([0.4], column="metrics/mIoU") == "unknown"
    some = epochs_of((0.0, 0.0, 0.4), validated=[False, False, True])
    assert learning_of(run_of(some), FINISHED).learning == "learned"


# --- hard evidence --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "loss", "expected"),
    [
        ((0.0,) * 5, (NAN,) * 5, (0, 4)),
        ((0.0,), (INF,), (0, 0)),
        ((0.1, 0.2, 0.0, 0.0, 0.0), (1, 1, NAN, NAN, NAN), (2, 4)),
        ((0.1, 0.2, NAN, NAN, NAN), (1, 1, NAN, NAN, NAN), (2, 4)),
        ((0.1, 0.2, 0.3, 0.0, 0.0), (1, 1, 1, NAN, NAN), None),
        ((0.1, 0.2, 0.3, 0.3, 0.3), (NAN,) * 5, None),  # metrics that learn
        ((0.0,) * 5, (NAN, NAN, NAN, NAN, 1.0), None),
    ],
)
def test_validation_losses_that_are_not_finite(
    metric: tuple[float, ...], loss: tuple[float, ...], expected: tuple[int, int] | None
) -> None:
    context = run_of(epochs_of(metric, val__cls_loss=loss))
    found = hard_evidence(context)
    assert (found and found.epochs) == expected
    if found is not None:
        assert (found.kind, found.column) == ("validation", "val/cls_loss")
        assert learning_of(context, FINISHED).learning == "not_learned"


def test_a_missing_loss_is_not_one_that_is_not_finite() -> None:
    epochs = epochs_of([0.0] * 3, val__cls_loss=[NAN] * 3)
    epochs = replace(epochs, missing={**epochs.missing, "val/cls_loss": np.ones(3, dtype=bool)})
    assert hard_evidence(run_of(epochs)) is None


def parts(**losses: float | np.ndarray) -> dict[str, Any]:
    return {
        "losses": {name: np.full(96, value) for name, value in losses.items()},
        "objects": np.where(np.arange(96) % 2, 3.0, 0.0),
    }


@pytest.mark.parametrize(
    ("losses", "facts", "expected"),
    [
        ({"box_loss": 0.0, "dfl_loss": 0.0, "cls_loss": 1.0}, {}, "train/box_loss"),
        ({"giou_loss": 0.0, "l1_loss": 0.0}, {}, "train/giou_loss"),
        ({"box_loss": 0.5, "dfl_loss": 0.0}, {}, None),  # by design without distributions
        ({"dfl_loss": 0.0}, {}, "train/dfl_loss"),
        ({"box_loss": 0.0, "dfl_loss": 0.5}, {"box": 0.0}, None),
        ({"box_loss": 0.0, "dfl_loss": 0.0}, {"box": 0.0, "dfl": 0.0}, None),
        ({"kobj_loss": 0.0, "box_loss": 0.5}, {}, None),  # by design with two dimensions
        ({"box_loss": np.where(np.arange(96) == 41, 1e-9, 0.0)}, {}, None),
        ({"box_loss": np.where(np.arange(96) == 42, 1.0, 0.0)}, {}, "train/box_loss"),
    ],
)
def test_boxes_that_are_never_matched(
    losses: dict[str, Any], facts: dict[str, Any], expected: str | None
) -> None:
    context = run_of(epochs_of([0.0] * 6), header=settings(**facts), **parts(**losses))
    found = hard_evidence(context)
    assert (found and found.column) == expected
    assert (found is None) or found.kind == "no_match"


def test_boxes_are_missed_only_once_there_were_objects_in_eight_steps() -> None:
    known = parts(box_loss=0.0)
    for count, expected in ((7, None), (8, "no_match")):
        known["objects"] = np.where(np.arange(96) < count, 1.0, 0.0)
        known["objects"][-1] = np.nan
        found = hard_evidence(run_of(epochs_of([0.0] * 6), **known))
        assert (found and found.kind) == expected


def test_an_epoch_without_objects() -> None:
    none = np.where(np.arange(96) < 80, 2.0, 0.0)
    found = hard_evidence(run_of(epochs_of([0.0] * 6), objects=none))
    assert found is not None
    assert (found.kind, found.epochs) == ("no_objects", (5, 5))
    none[-1] = 1.0
    assert hard_evidence(run_of(epochs_of([0.0] * 6), objects=none)) is None
    assert hard_evidence(run_of(epochs_of([0.0] * 6), objects=np.full(96, np.nan))) is None


def test_one_class_of_a_classification_shows_in_its_loss_of_zero() -> None:
    ones = epochs_of([1.0] * 6, "metrics/accuracy_top1")
    found = hard_evidence(run_of(ones, loss=np.zeros(96)))
    assert found is not None
    assert found.kind == "one_class"
    assert hard_evidence(run_of(ones)) is None
    assert hard_evidence(run_of(epochs_of([0.4]), header=settings(nc=1, task="detect"))) is None


@pytest.mark.parametrize(
    ("trained", "known", "expected"),
    [
        (199, {"model": "yolo26n.yaml"}, "trainable"),
        (200, {"model": "yolo26n.yaml"}, None),
        (199, {"model": "yolo26n.pt"}, None),
        (199, {"model": "yolo26n.yaml", "pretrained": "base.pt"}, None),
        (199, {"model": "yolo26n.yaml", "pretrained": True}, "trainable"),
        (199, {"model": "yolo26n.yaml", "loaded": True}, None),
        (9999, {"model": "yolo26n.pt", "loaded": False, "trainable_share": 0.019}, "trainable"),
        (199, {"model": "yolo26n.yaml", "trainable_share": 0.5}, None),
    ],
)
def test_next_to_nothing_trainable(
    trained: int, known: dict[str, Any], expected: str | None
) -> None:
    header = replace(settings(parameters=10_000, **known), blocks=blocks(trained))
    found = hard_evidence(run_of(epochs_of([0.0]), header=header))
    assert (found and found.kind) == expected


# --- what resolved trouble ------------------------------------------------------------------------


def trouble(
    first: int, last: int | None, rule: str = "spike", severity: Any = "critical"
) -> Finding:
    return Finding(rule=rule, severity=severity, message="m", first_step=first, last_step=last)


def test_a_rescue_resolves_what_came_before_it() -> None:
    acted = event("rescue", 50, {"remedy": "lower_rate"})
    context = run_of(epochs_of(RISE), 96, acted)
    assert resolver_of(context, trouble(40, 50)) == "rescue"
    assert resolver_of(context, trouble(40, 51)) is None
    assert resolver_of(context, trouble(40, None)) is None
    assert resolver_of(context, trouble(40, 50, severity="info")) is None
    gave_up = run_of(epochs_of(RISE), 96, acted, event("rescue_stop", 90))
    assert resolver_of(gave_up, trouble(40, 50)) is None


def test_the_guard_resolves_what_it_skipped_if_the_run_continued() -> None:
    skipped = np.isin(np.arange(96), (40, 44))
    context = run_of(epochs_of(RISE), guard=skipped)
    assert resolver_of(context, trouble(40, 44, "non_finite", "warning")) == "guard"
    assert resolver_of(context, trouble(40, 44, "non_finite", "critical")) is None
    assert resolver_of(context, trouble(40, 40)) == "guard"
    assert resolver_of(context, trouble(40, 41)) is None
    assert resolver_of(run_of(epochs_of(RISE)), trouble(40, 40)) is None
    at_the_end = run_of(epochs_of(RISE), guard=np.arange(96) > 92)
    assert resolver_of(at_the_end, trouble(93, 95)) is None


def test_a_rescued_run_that_ended_healthy_is_stable() -> None:
    acted = [event("rescue", 50, {"remedy": name}) for name in ("lower_rate", "tighten_clip")]
    found = diagnose_context(run_of(epochs_of(RISE), 96, *acted))
    assert (found.verdict, found.learning) == ("stable", "learned")
    assert found.rescued is not None
    assert (found.rescued.count, found.rescued.remedies, found.rescued.healthy_since) == (
        2,
        ("lower_rate", "tighten_clip"),
        51,
    )
    assert [f.resolved_by for f in found.findings] == ["rescue"]
    assert any(line.startswith("rescue: rescued 2 times") for line in found.lines())
