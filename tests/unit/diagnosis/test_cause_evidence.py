"""Causes that incidents, validations and findings prove, and what comes before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bad_steps import incident, nan_from
from traces import header

from yolo_stability.core.findings import Cause, Diagnosis, Finding
from yolo_stability.diagnosis.causes import rank_causes
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.diagnose import diagnose_series
from yolo_stability.diagnosis.examples import event, healthy_run, with_rows
from yolo_stability.diagnosis.incidents import IncidentFacts
from yolo_stability.diagnosis.located import located
from yolo_stability.diagnosis.rules.rate_leap import RateLeap
from yolo_stability.trace.arrays import EpochSeries, RunSeries, SeriesEvent

RUN = healthy_run()
BROKEN = nan_from(50, loss=True, blocks=5)


def diagnosed(*incidents: IncidentFacts, run: RunSeries = BROKEN) -> Diagnosis:
    return diagnose_series(run, incidents=incidents)


def main(diagnosis: Diagnosis) -> Finding:
    """The finding about numbers that are not finite."""
    return next(f for f in diagnosis.findings if f.rule == "non_finite")


# --- module -----------------------------------------------------------------------------------------------------------


def test_the_same_module_over_different_images_is_the_cause() -> None:
    found = diagnosed(incident(50, "a.jpg"), incident(60, "b.jpg"))
    assert found.cause == "module"
    assert found.causes[0].score > 0.8
    assert "model.4 Own" in found.causes[0].evidence
    assert "2 different images" in found.causes[0].evidence


@pytest.mark.parametrize("phase", ["forward", "backward"])
def test_the_finding_names_module_images_and_what_to_correct(phase: str) -> None:
    found = main(diagnosed(incident(50, "a.jpg", phase=phase), incident(60, "b.jpg", phase=phase)))
    assert (found.block, found.images) == ("model.4 Own", ("a.jpg", "b.jpg"))
    assert "model.4 Own" in found.message
    assert "image a.jpg and 1 more" in found.message
    assert "correct the code of model.4 Own" in found.remedy
    assert ("derivative" in found.remedy) is (phase == "backward")
    assert "exclude" not in found.remedy


def test_a_module_is_the_cause_of_one_incident_too_if_all_else_was_in_range() -> None:
    """Without a guard only the first bad step is explained."""
    assert diagnosed(incident(50, "a.jpg")).cause == "module"
    assert diagnosed(incident(50)).cause == "module"  # gray images fail as well


def test_a_module_of_the_user_that_fails_in_half_precision_is_named_with_advice() -> None:
    half = {"only_in_half": True}
    own = diagnosed(*(incident(s, f"{s}.jpg", ranges={**half, "custom": True}) for s in (50, 60)))
    assert own.cause == "module"
    assert "half precision only" in own.causes[0].evidence
    assert "amp=False" in main(own).remedy
    stock = diagnosed(*(incident(s, f"{s}.jpg", ranges=half) for s in (50, 60)))
    assert stock.cause == "numeric_range"
    assert main(stock).block == "model.4 Own"


@pytest.mark.parametrize(
    "before",
    [
        {"lr": 5.0, "update": 8.0},
        {"update": 8.0, "update_block": 1},
        {"update": 0.3, "update_block": 1},
    ],
    ids=str,
)
def test_what_came_before_is_looked_at_before_module_and_batch(before: dict[str, Any]) -> None:
    run = with_rows(BROKEN, slice(44, 50), **before)
    for incidents in ((incident(50, "a.jpg"), incident(60, "b.jpg")), ()):
        found = diagnosed(*incidents, run=run)
        assert found.cause == "learning_rate"
        assert not {"module", "data"} & {c.name for c in found.causes}


def test_weights_that_had_grown_are_no_fault_of_module_or_image() -> None:
    grown = {"weight_growth": 400.0}
    found = diagnosed(incident(50, "a.jpg", ranges=grown), incident(60, "b.jpg", ranges=grown))
    assert found.cause == "learning_rate"
    assert not {"module", "data"} & {c.name for c in found.causes}


# --- data -------------------------------------------------------------------------------------------------------------


def test_an_image_that_is_bad_itself_is_the_cause_whatever_came_before() -> None:
    bad = incident(50, "a.jpg", block="model.0 Conv", ranges={"images_finite": False})
    high = with_rows(BROKEN, slice(44, 50), update=0.3, update_block=1)
    for run in (BROKEN, high):
        found = diagnosed(bad, run=run)
        assert found.cause == "data"
        assert "image a.jpg" in found.causes[0].evidence
        assert (main(found).block, main(found).images) == ("model.0 Conv", ("a.jpg",))
        assert "repair image a.jpg" in main(found).remedy


def test_an_image_in_range_is_blamed_by_two_incidents_or_not_at_all() -> None:
    loss = {"block": "v8DetectionLoss", "layer": None, "phase": "loss"}
    once = diagnosed(incident(50, "a.jpg", **loss))
    assert "a.jpg" not in once.causes[0].evidence
    assert "a.jpg" not in main(once).remedy
    twice = diagnosed(incident(50, "a.jpg", **loss), incident(66, "a.jpg", "b.jpg", **loss))
    assert twice.cause == "data"
    assert twice.causes[0].evidence == "image a.jpg made 2 steps fail"
    assert "repair image a.jpg" in main(twice).remedy


def test_a_mosaic_names_one_file_of_several_and_proves_nothing() -> None:
    loss = {"block": "v8DetectionLoss", "layer": None, "phase": "loss", "mixed": True}
    found = diagnosed(incident(50, "a.jpg", **loss), incident(66, "a.jpg", **loss))
    assert "a.jpg" not in found.causes[0].evidence


def test_incidents_among_the_events_are_used_where_none_are_given() -> None:
    given = incident(50, "a.jpg")
    data = {
        "images": list(given.images),
        "culprit_module": given.block,
        "layer": given.layer,
        "phase": given.phase,
        "reproduced": True,
        "ranges": given.ranges,
    }
    run = replace(BROKEN, events=(event("incident", 50, data),))
    assert diagnose_series(run).cause == "module"


# --- evaluation -------------------------------------------------------------------------------------------------------


def epochs(
    val: Sequence[float], train: Sequence[float] | None = None, *, validated: bool = True
) -> EpochSeries:
    """The epochs of a run with one validation loss."""
    count = len(val)
    values = {"val/box_loss": np.array(val), "metrics/mAP50(B)": np.zeros(count)}
    if train is not None:
        values["train/box_loss"] = np.array(train)
    return EpochSeries(
        epoch=np.arange(count),
        validated=np.full(count, validated),
        fitness=np.zeros(count),
        values=values,
        missing={name: np.zeros(count, dtype=bool) for name in values},
        steps=np.full(count, 16),
    )


ALARM = Finding(
    rule="validation",
    severity="critical",
    message="val/box_loss is not finite from epoch 3 on",
    column="val/box_loss",
    first_step=32,
    last_step=95,
    first_epoch=3,
)
NAN = float("nan")


def ranked(run: RunSeries, **more: Any) -> tuple[Cause, ...]:
    return rank_causes(DiagnosisContext(run, **more), [ALARM])


def test_validation_that_fails_while_training_does_not_is_the_cause() -> None:
    run = replace(RUN, epochs=epochs([1.0, 1.0, NAN, NAN, NAN, NAN]))
    first = ranked(run)[0]
    assert first.name == "evaluation"
    assert "4 epochs, first epoch 3" in first.evidence
    assert ranked(replace(RUN, epochs=epochs([NAN, 1.0], validated=False)))[0].name == "unknown"


def test_validation_that_fails_with_training_is_another_cause() -> None:
    run = replace(
        with_rows(RUN, slice(32, 96), loss=NAN), epochs=epochs([1, 1, NAN, NAN, NAN, NAN])
    )
    assert "evaluation" not in {c.name for c in ranked(run)}


def test_validation_of_a_model_whose_every_step_was_skipped_is_no_cause() -> None:
    stopped = with_rows(RUN, slice(0, 96), loss=NAN, guard=True)
    run = replace(stopped, epochs=epochs([NAN] * 6))
    assert "evaluation" not in {c.name for c in ranked(run)}


@pytest.mark.parametrize(("train", "alone"), [([1, 1, 1], True), ([1, NAN, NAN], False)])
def test_a_stock_run_compares_its_own_columns(train: list[float], alone: bool) -> None:
    run = replace(RUN, epochs=epochs([1, NAN, NAN], train))
    assert ("evaluation" in {c.name for c in ranked(run, stock=True)}) is alone


def test_a_leap_before_it_weighs_more() -> None:
    leapt = with_rows(RUN, slice(20, 96), lr=5.0)
    run = replace(leapt, epochs=epochs([1, 1, NAN, NAN, NAN, NAN]))
    context = DiagnosisContext(run)
    causes = rank_causes(context, [ALARM, *RateLeap().look(context)])
    assert causes[0].name == "learning_rate"


def evaluation(**data: Any) -> SeriesEvent:
    usual = {
        "reproduced": True,
        "weights_finite": True,
        "only_in_half": False,
        "text": "the first module that is not finite in evaluation mode is model.10 Own",
    }
    return SeriesEvent(kind="evaluation", step=32, block="model.10 Own", data={**usual, **data})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "model.eval()"),
        ({"only_in_half": True}, "amp=False"),
        ({"weights_finite": False}, "earlier state"),
    ],
)
def test_the_module_that_fails_in_evaluation_is_in_finding_and_advice(
    data: dict[str, Any], words: str
) -> None:
    run = replace(RUN, epochs=epochs([1, 1, NAN, NAN, NAN, NAN]), events=(evaluation(**data),))
    found = located(DiagnosisContext(run), ALARM)
    assert found.block == "model.10 Own"
    assert "model.10 Own" in found.message
    assert words in found.remedy
    assert "model.10 Own" in ranked(run)[0].evidence


def test_a_search_without_result_adds_nothing() -> None:
    run = replace(RUN, events=(evaluation(reproduced=False),))
    assert located(DiagnosisContext(run), ALARM) == ALARM


# --- settings, and findings that are causes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "cause"),
    [("no_match", "data"), ("trainable", "settings"), ("input_range", "data")],
)
def test_a_finding_can_be_the_cause_itself(rule: str, cause: str) -> None:
    found = replace(ALARM, rule=rule, column=None, message="what it saw")
    first = rank_causes(DiagnosisContext(RUN), [found])[0]
    assert (first.name, first.evidence) == (cause, "what it saw")


def test_the_usual_rate_of_rt_detr_is_far_lower() -> None:
    run = with_rows(RUN, slice(60, 61), norm=float(RUN.norm[60]) * 80)
    effective = {"optimizer": "AdamW", "groups": {"weight": {"lr": 0.005}}}
    plain = diagnose_series(run, header=header(requested={}, effective=effective))
    detr = header(requested={}, effective={**effective, "model": "rtdetr-l.yaml"})
    assert plain.cause == "unknown"
    assert diagnose_series(run, header=detr).cause == "learning_rate"
