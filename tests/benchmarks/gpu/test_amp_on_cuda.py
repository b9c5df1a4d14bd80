"""Mixed precision and `compile=True` on a CUDA GPU: what a CPU cannot show."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "integration"))

pytestmark = [
    pytest.mark.trains,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="mixed precision needs a CUDA GPU; torch finds none"
    ),
]


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Watched:
    """A watched training on the GPU.

    Attributes:
        states: Tensors of model and EMA after 0, 1, 2, ... batches.
        bad: Names of tensors that were not finite at the end of a batch.
    """

    def __init__(
        self,
        folder: Path,
        *,
        scale: float | None = None,
        own: dict[str, Any] | None = None,
        **changed: Any,
    ):
        from training import MODELS, bad_tensors, overrides, state
        from ultralytics import YOLO

        from yolo_stability import StabilityMonitor

        self.model = YOLO(MODELS["detect"])
        if scale is not None:
            self.model.add_callback("on_pretrain_routine_end", scaler_of(scale))
        self.monitor = StabilityMonitor(**(own or {})).attach(self.model)
        self.bad: list[str] = []
        self.states: list[dict[str, torch.Tensor]] = []
        self.model.add_callback(
            "on_train_start", lambda trainer: self.states.append(state(trainer))
        )
        self.model.add_callback(
            "on_train_batch_end", lambda trainer: self.states.append(state(trainer))
        )
        self.model.add_callback(
            "on_train_batch_end", lambda trainer: self.bad.extend(bad_tensors(trainer))
        )
        self.model.train(**overrides("detect", folder, **{"device": "0", "amp": True, **changed}))

    @property
    def skipped(self) -> list[str | None]:
        """Why each step was left out."""
        found: list[str | None] = self.monitor.trace.steps["skipped"].to_list()
        return found

    def changed(self, batch: int) -> list[str]:
        """Return the names of the tensors that a batch has changed."""
        before, after = self.states[batch], self.states[batch + 1]
        return [name for name in before if not torch.equal(before[name], after[name])]


def scaler_of(scale: float) -> Any:
    """Return a callback that begins with this loss scale."""

    def begin(trainer: Any) -> None:
        trainer.scaler = torch.amp.GradScaler("cuda", init_scale=scale)

    return begin


@pytest.mark.parametrize(
    "optimizer", ["SGD", "AdamW"]
)  # on CUDA the second is fused: it leaves a step out by itself
@pytest.mark.parametrize(
    "scale", [2.0**8, 2.0**14]
)  # half precision overflows above about 2**9 here
def test_amp_and_its_overflows_are_stocks(
    scale: float, optimizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training import state, train_stock

    changed = {"device": "0", "amp": True, "epochs": 4, "optimizer": optimizer, "lr0": 0.001}
    begin = {"on_pretrain_routine_end": scaler_of(scale)}
    stock = train_stock("detect", tmp_path / "stock", monkeypatch, callbacks=begin, **changed)
    run = Watched(tmp_path / "watched", scale=scale, **changed)

    ours, theirs = run.model.trainer, stock.trainer
    assert run.skipped.count("scaler") == round(math.log2(scale / ours.scaler.get_scale()))
    assert ("scaler" in run.skipped) == (scale > 2**8)
    assert None in run.skipped
    assert ours.scaler.get_scale() == theirs.scaler.get_scale()
    assert ours.ema.updates == theirs.ema.updates == stock.steps == 16
    expected, seen = state(theirs), state(ours)
    assert [name for name in expected if not torch.equal(expected[name], seen[name])] == []
    recorded = run.monitor.trace.steps["grad_norm"].to_list()
    for norm, total in zip(recorded, stock.totals, strict=True):
        assert norm == pytest.approx(total, rel=1e-5) or not (
            math.isfinite(norm) or math.isfinite(total)
        )


def test_norms_are_those_of_the_loss_whatever_the_precision(tmp_path: Path) -> None:
    """At the first step, where the weights are the same: unscaled, or they would be 256 times as large."""
    single = Watched(tmp_path / "single", amp=False, epochs=1).monitor.trace
    half = Watched(tmp_path / "half", scale=256.0, epochs=1).monitor.trace
    brain = Watched(tmp_path / "brain", amp="bf16", epochs=1).monitor.trace

    assert single.steps["amp_scale"].null_count() == brain.steps["amp_scale"].null_count() == 4
    assert half.steps["amp_scale"][0] == 256.0
    blocks = len(single.header.blocks)
    expected = single.blocks["grad_norm"][:blocks].to_numpy()
    for other in (half, brain):
        assert other.steps["grad_norm"][0] == pytest.approx(single.steps["grad_norm"][0], rel=0.25)
        ratio = other.blocks["grad_norm"][:blocks].to_numpy() / expected
        assert 0.5 < float(np.median(ratio)) < 2.0
        assert 0.1 < ratio.min() <= ratio.max() < 10.0


@pytest.mark.parametrize("amp", [True, "bf16"])
@pytest.mark.parametrize("fault", ["nan_loss@5", "inf_pixel@5", "nan_grad@5"])
def test_one_bad_number_costs_one_step(fault: str, amp: bool | str, tmp_path: Path) -> None:
    run = Watched(tmp_path, scale=256.0 if amp is True else None, own={"fault": fault}, amp=amp)

    whose = (
        "scaler" if fault.startswith("nan_grad") and amp is True else "guard"
    )  # an overflow looks the same
    assert run.skipped == [None] * 5 + [whose] + [None] * 2
    assert run.monitor.stopped is None
    assert run.bad == []
    assert whose == "scaler" or run.changed(5) == []
    assert run.changed(6) != []
    scaler = run.model.trainer.scaler
    assert scaler.is_enabled() == (amp is True)
    assert not scaler.is_enabled() or scaler.get_scale() in {128.0, 256.0}


@pytest.mark.full  # compiling takes minutes
def test_a_compiled_model_is_recorded_and_guarded(tmp_path: Path) -> None:
    eager = Watched(tmp_path / "eager", scale=256.0, epochs=1).monitor.trace
    run = Watched(tmp_path / "compiled", scale=256.0, own={"fault": "inf_pixel@5"}, compile=True)
    assert hasattr(run.model.trainer.model, "_orig_mod")
    assert run.skipped == [None] * 5 + ["guard"] + [None] * 2
    assert run.bad == []
    assert run.changed(5) == []
    assert run.changed(6) != []
    trace = run.monitor.trace
    assert [b.name for b in trace.header.blocks] == [b.name for b in eager.header.blocks]
    assert trace.steps["grad_norm"][0] == pytest.approx(eager.steps["grad_norm"][0], rel=0.25)
    assert trace.blocks["grad_norm"].null_count() == 0
