"""Frozen data types that pass from trainer to report; standard library only.

Units: gradient norms are L2, AMP-unscaled, before clipping, unless a name contains `clipped`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from yolo_stability.core import views

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "AS_READ",
    "BRITISH",
    "BlockSpec",
    "BlockStats",
    "CauseName",
    "EndReason",
    "EndState",
    "EpochRecord",
    "Event",
    "FaultCause",
    "Learning",
    "RunHeader",
    "Severity",
    "Skip",
    "StepRecord",
    "Trace",
    "VerdictWord",
]

AS_READ: Any = {"extra": "forbid"}
"""pydantic configuration of types that are read from files: unknown keys are an error."""
Skip = Literal["guard", "scaler"]
Severity = Literal["info", "warning", "critical"]
VerdictWord = Literal["stable", "unstable", "failed", "inconclusive"]
FaultCause = Literal[
    "learning_rate",
    "batch_noise",
    "normalization",
    "initialization",
    "activation",
    "depth",
    "data",
    "numeric_range",
]
CauseName = Literal[FaultCause, "module", "evaluation", "settings", "unknown"]
BRITISH = {"normalisation": "normalization", "initialisation": "initialization"}
"""Cause names in files of schema 1, with their names of today."""
Learning = Literal["learned", "declined", "not_learned", "too_early", "unknown"]
EndState = Literal["finished", "stopped", "interrupted", "exception", "killed", "running"]
EndReason = Literal["patience", "time", "guard", "fail_on", "rescue", "user"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSpec:
    """One block of a model: `model.model[index]`, with the head split by branch.

    Attributes:
        name: Display name, such as `model.6 C3k2` or `model.23.cv3 Detect cls`; unique in a model.
        index: Position in `model.model`; -1 for parameters outside it.
        module_type: Class name of the module, such as `C3k2`.
        role: backbone, neck, or a head branch: box, cls, keypoints, mask, angle, proto,
            one2one_box, ...
        param_names: Names of its trainable parameters in `model.named_parameters()`.
        numel: Number of scalar weights in those parameters.
    """

    name: str
    index: int
    module_type: str
    role: str
    param_names: tuple[str, ...]
    numel: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockStats:
    """Effect of one optimizer step on one block.

    Attributes:
        block: Name of the block.
        grad_norm: L2 norm of its gradient, unscaled, before clipping; None without a gradient
            (frozen).
        nonfinite_count: Elements of its gradient that are NaN or Inf.
        weight_norm: L2 norm of its weights before the step; None where not sampled.
        update_ratio: ||delta w|| / ||w|| of the step; None where not sampled.
    """

    block: str
    grad_norm: float | None
    nonfinite_count: int = 0
    weight_norm: float | None = None
    update_ratio: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One optimizer step; a row of `trace.steps` and its rows of `trace.blocks`.

    Attributes:
        attempt: Replay index, incremented by a recovery, an OOM restart or a resume.
        step: Optimizer step, counted from 0 over the whole trace, never repeated.
        iteration: Last forward/backward pass of this step, counted from 0 over the whole trace.
        epoch: Epoch, counted from 0.
        accumulate: Iterations whose gradients this step sums.
        loss: Mean loss over those iterations, as the trainer back-propagates it.
        loss_items: Mean of each named loss item.
        lr_by_group: Learning rate of each parameter group, by name.
        momentum: Momentum, or beta1 for Adam-type optimizers; None where the optimizer has neither.
        grad_norm: Total gradient norm (root sum of squares of the blocks).
        clip_coef: Gradient norm after clipping divided by the norm before; None where this package
            clipped nothing.
        amp_scale: Loss scale of the AMP scaler; None when AMP is off.
        skipped: None when the update was applied, else what skipped it.
        nonfinite: Elements of the gradients that are NaN or Inf.
        seconds: Wall time since the previous step.
        blocks: One entry per block, in the order of the header.
        micro_norm: Gradient norm after the first of several accumulated iterations, unscaled; None
            where not sampled.
        images: Images of all iterations of the step; None in a plain loop.
        objects: Labeled objects in them after augmentation; None where batches have no labels.
        input_min: Smallest value of the preprocessed input of one iteration; None where not
            sampled.
        input_max: Largest value of it.
        input_mean: Mean of it.
        input_std: Standard deviation of it.
    """

    attempt: int
    step: int
    iteration: int
    epoch: int
    accumulate: int
    loss: float
    loss_items: Mapping[str, float]
    lr_by_group: Mapping[str, float]
    momentum: float | None
    grad_norm: float | None
    clip_coef: float | None
    amp_scale: float | None
    skipped: Skip | None
    nonfinite: int
    seconds: float
    blocks: tuple[BlockStats, ...]
    micro_norm: float | None = None
    images: int | None = None
    objects: int | None = None
    input_min: float | None = None
    input_max: float | None = None
    input_mean: float | None = None
    input_std: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One epoch; a row of `trace.epochs`.

    Attributes:
        attempt: Replay index.
        epoch: Epoch, counted from 0.
        steps: Optimizer steps taken in it.
        images: Images trained on in it; None where unknown.
        val: Validation loss items by name, such as `box_loss`.
        metrics: Metrics by name, such as `mAP50-95(B)`.
        fitness: Ultralytics' fitness; None without a validation.
        seconds: Wall time of the epoch, with its validation.
        validated: Whether the epoch ended with a validation.
    """

    attempt: int
    epoch: int
    steps: int
    images: int | None
    val: Mapping[str, float]
    metrics: Mapping[str, float]
    fitness: float | None
    seconds: float
    validated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event of a run: a skip, a recovery, a stop.

    Attributes:
        attempt: Attempt it belongs to.
        step: Optimizer step at which it occurred.
        kind: guard_skip, guard_stop, scaler_skip, rollback, nan_recovery, oom_restart, resume,
            notice, finding, fail_on, incident, evaluation, rescue, rescued, rescue_stop, end.
        block: Block concerned, if one can be named.
        data: Details, JSON-able.
    """

    attempt: int
    step: int
    kind: str
    block: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHeader:
    """Description of a run: the content of `header.json`.

    Attributes:
        schema_version: Version of the trace layout.
        run_id: Random name of this run.
        config_digest: Hash of the requested settings.
        seed: Seed given to the trainer.
        requested: Settings that the user requested.
        effective: Settings in effect: optimizer, lr, momentum, decay, accumulate, clip, norm
            layers, frozen.
        versions: Versions of Python, torch, ultralytics and this package.
        device: Description of the device.
        dataset_digest: Hash of image names, sizes and labels of the train set; None where unknown.
        blocks: Blocks in the order in which they are recorded.
        started: ISO 8601 time of the start, with time zone.
    """

    schema_version: int
    run_id: str
    config_digest: str
    seed: int | None
    requested: Mapping[str, Any]
    effective: Mapping[str, Any]
    versions: Mapping[str, str]
    device: str
    dataset_digest: str | None
    blocks: tuple[BlockSpec, ...]
    started: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Trace:
    """Telemetry of a run, read back from disk.

    Attributes:
        path: The `stability/` folder it was read from.
        header: Description of the run.
        steps: One row per optimizer step, ordered by (attempt, step).
        blocks: One row per (attempt, step, block).
        events: One row per event: attempt, step, kind, block, data (JSON text).
        epochs: One row per (attempt, epoch): steps, images, `val/` and `metrics/` columns, fitness,
            seconds, validated; None in traces of schema 1 without a `results.csv` beside them.

    Example:
        >>> import tempfile, torch, yolo_stability
        >>> model = torch.nn.Linear(2, 1)
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with tempfile.TemporaryDirectory() as out:
        ...     with yolo_stability.record(model, sgd, out, plots=False) as recorder:
        ...         model(torch.ones(3, 2)).mean().backward()
        ...         recorder.step()
        ...         sgd.step()
        ...     yolo_stability.load_trace(out).steps["step"].to_list()
        [0]
    """

    path: Path
    header: RunHeader
    steps: pl.DataFrame
    blocks: pl.DataFrame
    events: pl.DataFrame
    epochs: pl.DataFrame | None = None

    def __repr__(self) -> str:
        steps, blocks = self.steps.height, len(self.header.blocks)
        counts = f"{steps} steps of {blocks} blocks, {self.events.height} events"
        return f"<Trace '{self.path}': {counts}>"

    def _repr_html_(self) -> str:
        """Return the trace as HTML for a notebook."""
        return views.html(self)
