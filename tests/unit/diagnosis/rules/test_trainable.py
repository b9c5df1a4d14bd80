"""Models that hardly can change, and frozen ones that are meant to be."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from epoch_tables import settings
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from odd_runs import cut, odd_runs

from yolo_stability.core.findings import Finding
from yolo_stability.core.types import RunHeader
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.examples import example_header, healthy_run
from yolo_stability.diagnosis.rules.trainable import Trainable
from yolo_stability.trace.arrays import RunSeries

NAN = math.nan
RUN = healthy_run()


def look(run: RunSeries, header: RunHeader | None, **how: Any) -> list[Finding]:
    return list(Trainable().look(DiagnosisContext(run, header=header, **how)))


def with_gradient(reached: list[int], missing: float = NAN, steps: int = 96) -> RunSeries:
    """Return a run in which only some of its blocks have a gradient."""
    run = healthy_run(steps)
    norms = np.full_like(run.block_norm, missing)
    norms[reached] = run.block_norm[reached]
    total = np.sqrt(np.nansum(norms.astype(float) ** 2, axis=0))
    return replace(run, block_norm=norms, norm=total)


def blocks(**effective: Any) -> RunHeader:
    """Return a header with five blocks, the last of a few weights; no weights were loaded."""
    return replace(
        example_header(), effective={"task": "detect", "loaded": False, **effective}, requested={}
    )


# --- frozen ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "severity"),
    [
        (0.0, "critical"),
        (0.001, "critical"),
        (0.019, "critical"),
        (0.1, "warning"),
        (0.49, "warning"),
    ],
)
def test_a_new_model_that_is_frozen(share: float, severity: str) -> None:
    header = settings(trainable_share=share, loaded=False)
    (found,) = look(RUN, header)
    assert (found.severity, found.observed, found.first_step) == (severity, share, 0)
    assert found.last_step == 95
    (live,) = look(RUN, header, live=True)
    assert live.severity == "warning"


@pytest.mark.parametrize("share", [0.5, 0.58, 0.999, 1.0, None])
def test_a_new_model_that_is_trainable_is_silent(share: float | None) -> None:
    assert look(RUN, settings(trainable_share=share, loaded=False)) == []


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3])
@pytest.mark.parametrize(
    "effective",
    [
        {"loaded": True},
        {"model": "yolo26n.pt"},
        {"model": "mine.yaml", "pretrained": "yolo26n.pt"},
        {"model": "mine.yaml", "loaded": True},
        {"model": None},
    ],
)
def test_a_loaded_model_may_be_frozen(share: float, effective: dict[str, Any]) -> None:
    assert look(RUN, settings(trainable_share=share, **effective)) == []


def test_older_headers_name_the_model() -> None:
    header = settings(trainable_share=0.001, model="yolov8n.yaml")
    assert look(RUN, header)[0].severity == "critical"


# --- without a gradient ---------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [NAN, 0.0])
def test_weights_without_a_gradient_on_a_new_model_are_critical(missing: float) -> None:
    run = with_gradient([4], missing)
    (found,) = look(run, blocks())
    assert (found.severity, found.first_step, found.last_step) == ("critical", 0, 95)
    assert "0.2% of the trainable weights" in found.message
    (live,) = look(run, blocks(), live=True)
    assert live.severity == "warning"


def test_no_gradient_at_all_is_critical() -> None:
    (found,) = look(with_gradient([], 0.0), blocks())
    assert found.severity == "critical"
    assert found.message.startswith("no trainable weight received a gradient")


@pytest.mark.parametrize("reached", [[3], [2], [3, 4]])
def test_a_part_without_a_gradient_is_a_warning(reached: list[int]) -> None:
    (found,) = look(with_gradient(reached), blocks())
    assert found.severity == "warning"


def test_on_a_loaded_model_it_is_a_warning() -> None:
    (found,) = look(with_gradient([4]), blocks(loaded=True))
    assert found.severity == "warning"


@pytest.mark.parametrize("reached", [[0, 1, 4], [0, 1, 2, 3], [0, 1, 2, 3, 4], [1, 2, 3]])
def test_most_of_the_weights_is_enough(reached: list[int]) -> None:
    assert look(with_gradient(reached), blocks()) == []


def test_frozen_blocks_need_no_gradient() -> None:
    frozen = [name for block in blocks().blocks[:4] for name in block.param_names]
    assert look(with_gradient([4]), blocks(loaded=True, frozen=frozen)) == []


@pytest.mark.parametrize("since", [1, 5, 7])
def test_a_gradient_within_the_first_steps_is_enough(since: int) -> None:
    run = with_gradient([4])
    norms = run.block_norm.copy()
    norms[:, since:] = RUN.block_norm[:, since:]
    assert look(replace(run, block_norm=norms, norm=RUN.norm), blocks()) == []


def test_layers_that_are_unfrozen_later_are_a_warning() -> None:
    run = with_gradient([4])
    norms, total = run.block_norm.copy(), run.norm.copy()
    norms[:, 40:], total[40:] = RUN.block_norm[:, 40:], RUN.norm[40:]
    (found,) = look(replace(run, block_norm=norms, norm=total), blocks())
    assert (found.severity, found.first_step, found.last_step) == ("warning", 0, 39)


def test_gradients_that_were_not_recorded_are_no_evidence() -> None:
    nothing = np.full_like(RUN.block_norm, NAN)
    assert look(replace(RUN, block_norm=nothing), blocks()) == []
    assert look(replace(RUN, block_norm=nothing, norm=np.full(96, NAN)), blocks()) == []
    assert look(with_gradient([4]), None) == []
    assert look(with_gradient([4]), settings(loaded=False)) != []


def test_a_loop_of_ones_own_may_train_its_parts_in_turns() -> None:
    header = replace(blocks(), effective={"loaded": False})
    assert look(with_gradient([3]), header) == []
    assert look(with_gradient([4]), header)[0].severity == "critical"


@pytest.mark.parametrize("loss", [0.0, NAN])
def test_a_loss_of_0_or_nan_is_another_fault(loss: float) -> None:
    run = replace(with_gradient([], 0.0), loss=np.full(96, loss))
    assert look(run, blocks()) == []


@pytest.mark.parametrize("steps", [1, 7])
def test_a_few_steps_are_no_evidence(steps: int) -> None:
    assert look(with_gradient([4], steps=steps), blocks()) == []


@pytest.mark.filterwarnings("error")
@hypothesis_settings(max_examples=80, deadline=None)
@given(run=odd_runs(), share=st.sampled_from([None, 0.001, 0.3, 1.0]))
def test_no_run_makes_it_raise_and_what_was_found_stays_found(
    run: RunSeries, share: float | None
) -> None:
    header, before = blocks(trainable_share=share), 0
    for steps in range(1, run.step.size + 1):
        found = look(cut(run, steps), header, live=True)
        assert len(found) >= before
        assert all(
            f.severity == "warning" and (f.last_step or 0) <= run.step[steps - 1] for f in found
        )
        before = len(found)
    look(run, header)
