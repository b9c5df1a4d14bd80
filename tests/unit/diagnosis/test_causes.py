"""Causes ranked for runs that were given one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bad_steps import nan_from
from traces import header

from yolo_stability.core.findings import Diagnosis
from yolo_stability.diagnosis.causes import rank_causes
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.diagnose import diagnose_series
from yolo_stability.diagnosis.examples import healthy_run, with_rows
from yolo_stability.trace.arrays import RunSeries

RUN = healthy_run()


def deep(ratio: float) -> RunSeries:
    """A run whose first block gets this share of the head's gradient."""
    norms = RUN.block_norm.copy()
    head = np.hypot(norms[3].astype(float), norms[4])
    norms[0] = head * ratio
    return replace(RUN, block_norm=norms)


def diagnosed(run: RunSeries, requested: Any = None, effective: Any = None) -> Diagnosis:
    if requested is None and effective is None:
        return diagnose_series(run)
    return diagnose_series(run, header=header(requested=requested or {}, effective=effective or {}))


def test_nothing_is_ranked_without_trouble() -> None:
    assert rank_causes(DiagnosisContext(RUN), []) == ()
    assert diagnosed(RUN, {"norm": "none", "init": "gain:9"}).causes == ()


def test_scores_are_shares_with_something_left_for_unknown() -> None:
    found = diagnosed(deep(1e-6), {"norm": "none", "depth_mult": 3})
    assert sum(c.score for c in found.causes) == pytest.approx(1)
    scores = {c.name: c.score for c in found.causes}
    assert len(scores) == len(found.causes)
    assert 0 < scores["unknown"] < 0.2
    assert scores["normalization"] > scores["depth"] > scores["activation"]
    assert all(c.evidence and "\n" not in c.evidence for c in found.causes)
    assert next(c for c in found.causes if c.name == "normalization").evidence.startswith(
        ("norm=none", "in the first")
    )


def test_trouble_without_any_evidence_is_unknown() -> None:
    found = diagnosed(with_rows(RUN, slice(60, 61), norm=float(RUN.norm[60]) * 80))
    assert (found.verdict, found.cause, len(found.causes)) == ("stable", "unknown", 1)


@pytest.mark.parametrize(
    ("ratio", "cause"),
    [(1e-10, "activation"), (1e-6, "normalization"), (2e-4, "normalization")],
    ids=str,
)
def test_gradients_lost_along_the_depth_from_the_start(ratio: float, cause: str) -> None:
    found = diagnosed(deep(ratio))
    assert found.cause == cause
    assert "in the first steps the first block's gradient was" in found.causes[0].evidence


def test_an_absurd_loss_before_any_update_points_to_the_initialization() -> None:
    run = with_rows(RUN, slice(None), loss=RUN.loss * 1e6)
    assert diagnosed(run).cause == "initialization"
    assert (
        diagnosed(replace(run, step=run.step + 50)).cause != "initialization"
    )  # a resumed run has had updates


def test_updates_that_replace_the_weights_are_the_learning_rates() -> None:
    run = with_rows(RUN, slice(2, 12), update=8.0)
    assert diagnosed(run).cause == "learning_rate"
    both = with_rows(deep(1e-6), slice(2, 12), update=8.0)
    assert diagnosed(both).cause == "normalization"  # large updates follow from the structure


def test_a_learning_rate_that_jumps_is_reported_with_its_step() -> None:
    run = with_rows(RUN, slice(60, 96), lr=0.5, update=8.0, update_block=1)
    run = with_rows(run, slice(62, 96), loss=1e4)
    found = diagnosed(run)
    assert found.cause == "learning_rate"
    assert found.causes[0].evidence == "the learning rate jumped by a factor of 100 at step 60"
    warm = with_rows(RUN, slice(0, 4), lr=1e-5)
    warm = with_rows(warm, slice(60, 96), loss=np.nan)
    assert all("jumped by" not in c.evidence for c in diagnosed(warm).causes)


def test_the_first_bad_step_separates_batch_from_numeric_range() -> None:
    assert diagnosed(nan_from(50, loss=True, blocks=5)).cause == "data"
    found = diagnosed(nan_from(50, loss=False, blocks=2))
    assert found.cause == "numeric_range"
    assert (
        found.causes[0].evidence
        == "at step 50 the loss was finite and the gradients of 2 of 5 blocks were not"
    )
    risen = with_rows(
        nan_from(50, loss=True, blocks=5), slice(40, 50), loss=1e4, update=4.0, update_block=1
    )
    assert diagnosed(risen).cause == "learning_rate"


def test_one_block_alone_that_leaps_is_no_batch() -> None:
    norms = RUN.block_norm.copy()
    norms[1, 60] *= 1e4
    one = replace(RUN, block_norm=norms, norm=np.sqrt((norms.astype(float) ** 2).sum(axis=0)))
    assert diagnosed(one).cause == "numeric_range"
    leap = RUN.block_norm[:, 60:61] * 1e3
    every = with_rows(RUN, slice(60, 61), norm=RUN.norm[60] * 1e3, block_norm=leap, loss=200.0)
    assert diagnosed(every).cause == "data"


@pytest.mark.parametrize(
    ("requested", "effective", "cause"),
    [
        ({"norm": "none"}, {}, "normalization"),
        ({"act": "sigmoid"}, {}, "activation"),
        ({"init": "gain:20"}, {}, "initialization"),
        ({"depth_mult": 4.0, "residual": False}, {}, "depth"),
        ({}, {"groups": {"weight": {"lr": 0.5}}, "optimizer": "AdamW"}, "learning_rate"),
        ({}, {"groups": {"weight": {"lr": 3.0}}, "optimizer": "SGD"}, "learning_rate"),
        ({}, {"batch": 1}, "batch_noise"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_settings_speak_where_the_trace_is_mute(requested: Any, effective: Any, cause: str) -> None:
    run = with_rows(RUN, slice(60, 61), norm=float(RUN.norm[60]) * 80)
    assert diagnosed(run).cause == "unknown"
    assert diagnosed(run, requested, effective).cause == cause


@pytest.mark.parametrize(
    ("requested", "effective"),
    [
        (
            {
                "norm": "batch",
                "act": "silu",
                "init": "default",
                "depth_mult": 1.0,
                "residual": True,
            },
            {},
        ),
        ({}, {"groups": {"weight": {"lr": 0.005}}, "optimizer": "AdamW", "batch": 16}),
        ({}, {"groups": {"weight": {"lr": 0.01}}, "optimizer": "MuSGD"}),
    ],
    ids=["model", "adam", "musgd"],
)
def test_usual_settings_speak_for_nothing(requested: Any, effective: Any) -> None:
    run = with_rows(RUN, slice(60, 61), norm=float(RUN.norm[60]) * 80)
    assert diagnosed(run, requested, effective).cause == "unknown"


def test_the_first_block_alone_is_the_one_that_an_image_reaches_first() -> None:
    """A hot pixel among few images: where the noise is too small for other blocks to show it."""
    norms = RUN.block_norm.copy()
    norms[0, 60] *= 1e3
    found = diagnosed(
        replace(with_rows(RUN, slice(60, 61), norm=float(norms[0, 60])), block_norm=norms)
    )
    assert found.cause == "data"


def test_what_is_built_in_weighs_less_against_a_sudden_fault() -> None:
    nan = nan_from(50, loss=True, blocks=5)
    settings = {"norm": "none", "act": "sigmoid"}
    assert diagnosed(nan, settings).cause == "data"
