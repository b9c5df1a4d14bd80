"""Evidence from the settings of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from yolo_stability.core.text import brief
from yolo_stability.core.types import RunHeader
from yolo_stability.diagnosis.cause_evidence.base import CauseEvidence, scaled
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.usual_rates import usual_rates

__all__ = ["from_settings"]


def from_settings(context: DiagnosisContext, *, sudden: bool) -> Iterator[CauseEvidence]:
    """Yield evidence from the settings; sudden trouble lowers the weight of the structure."""
    assert context.header is not None
    requested, effective = context.header.requested, context.header.effective
    built_in, rate = (0.2, 0.5) if sudden else (1.0, 1.0)
    yield from (scaled(item, built_in) for item in _model_settings(requested))
    yield from (scaled(item, rate) for item in _rate_settings(context.header))
    batch = effective.get("batch")
    if isinstance(batch, int) and batch <= 2 and context.run.accumulate.max(initial=1) * batch <= 2:
        yield CauseEvidence(
            weights={"batch_noise": 3.0},
            text=f"each step used {batch} image{'s' if batch > 1 else ''}",
        )


def _model_settings(requested: Mapping[str, Any]) -> Iterator[CauseEvidence]:
    if str(requested.get("norm")) == "none":
        yield CauseEvidence(weights={"normalization": 4.0}, text="norm=none: no normalization")
    if requested.get("act") in {"sigmoid", "tanh"}:
        yield CauseEvidence(weights={"activation": 5.0}, text=f"act={requested['act']} saturates")
    init = str(requested.get("init") or "default")
    if init.startswith("gain"):
        yield CauseEvidence(weights={"initialization": 6.0}, text=f"init={init}")
    depth = requested.get("depth_mult")
    if isinstance(depth, int | float) and depth > 1.5:
        yield CauseEvidence(weights={"depth": 4.0}, text=f"depth_mult={depth:g}")
    if requested.get("residual") is False:
        yield CauseEvidence(weights={"depth": 2.0}, text="residual=false: no skip connections")


def _rate_settings(header: RunHeader) -> Iterator[CauseEvidence]:
    rates = [group.get("lr", 0.0) for group in (header.effective.get("groups") or {}).values()]
    name = str(header.effective.get("optimizer") or "")
    plain = usual_rates(header)[1]
    if rates and max(rates) > plain:
        text = f"a learning rate of {brief(max(rates))} with {name}"
        yield CauseEvidence(
            weights={"learning_rate": 4.0 if max(rates) > 3 * plain else 2.0}, text=text
        )
    if header.requested.get("warmup_epochs") == 0 and rates and max(rates) > plain / 2:
        yield CauseEvidence(weights={"learning_rate": 0.5}, text="no warm-up")
