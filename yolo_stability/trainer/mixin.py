"""Trainer mixin that makes the optimizer step observable and guarded.

Gradients are unscaled and still modifiable only between `scaler.unscale_` and the clip, inside
`BaseTrainer.optimizer_step`. No callback fires there (Ultralytics lists `optimizer_step` and
`on_before_zero_grad` but never calls them), and an optimizer hook sees clipped gradients only. The
mixin therefore replaces the method's body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from yolo_stability.compat.ultralytics import (
    BaseTrainer,
    Trainer,
    inner_model,
    is_writer,
    model_config,
)
from yolo_stability.guard.checkpoints import atomic_checkpoints
from yolo_stability.interventions.switches import Switches
from yolo_stability.trainer.hooks import CONSTRUCTION

__all__ = ["Session", "StabilityMixin", "owns_step"]


class Session(Protocol):
    """Interface of the session that watches a trainer; implemented in `trainer/session.py`.

    Attributes:
        owner: The monitor; its `close(trainer)` writes the results.
        loop: The step loop; None until the training starts.
    """

    owner: Any
    loop: Any

    @property
    def stopped(self) -> str | None:
        """Reason why the guard, `fail_on` or a rescue ended the run; None otherwise."""

    def switches(self, trainer: Trainer) -> Switches:
        """Return the switches of this run."""

    def before_save(self, trainer: Trainer) -> None:
        """Make sure that the state to be saved is finite."""

    def after_save(self, trainer: Trainer) -> None:
        """Register a checkpoint that has been saved."""

    def validated(self, trainer: Trainer, metrics: Mapping[str, Any]) -> None:
        """Register that the current epoch has been validated, with these results."""

    def recovered(self, trainer: Trainer) -> None:
        """Register that Ultralytics restored `last.pt`."""

    def failed_to_recover(self, trainer: Trainer) -> None:
        """Register that Ultralytics gave up after an epoch that was not finite."""


class StabilityMixin:
    """Trainer mixin: `class MyTrainer(StabilityMixin, DetectionTrainer)`.

    Without a monitor the trainer behaves as the stock one.

    Attributes:
        stability: Session that watches this trainer; None until a monitor is bound.
    """

    stability: Session | None = None

    def __init__(self: Trainer, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        CONSTRUCTION.report(self)

    def get_model(
        self: Trainer, cfg: Any = None, weights: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Build the model as stock does, modified by the switches before weights are loaded."""
        switches = self.stability.switches(self) if self.stability else None
        if switches is None or not switches.edit_model:
            return super().get_model(cfg, weights, *args, **kwargs)  # type: ignore[misc]
        config = switches.configure(model_config(cfg))
        model = super().get_model(config, None, *args, **kwargs)  # type: ignore[misc]
        switches.edit(model, pretrained=weights is not None, resumed=bool(self.resume))
        if weights:
            model.load(weights)
        return model

    def build_stock_model(self: Trainer, config: Mapping[str, Any]) -> Any:
        """Return an unmodified model with newly initialized weights.

        Args:
            config: YAML dictionary of the model.
        """
        return super().get_model(config, None, verbose=False)  # type: ignore[misc]

    def build_optimizer(
        self: Trainer, model: Any, name: str = "auto", *args: Any, **kwargs: Any
    ) -> Any:
        """Build the optimizer as stock does, and apply `lr_mult` before the scheduler is built."""
        optimizer = super().build_optimizer(model, name, *args, **kwargs)  # type: ignore[misc]
        if self.stability:
            self.stability.switches(self).build(optimizer, asked=name)
        return optimizer

    def _model_train(self: Trainer) -> None:
        """Set training mode as stock does; a switch may keep BatchNorm in evaluation mode."""
        super()._model_train()  # type: ignore[misc]
        if self.stability:
            self.stability.switches(self).after_train_mode(inner_model(self))

    def train(self: Trainer) -> Any:
        """Train as stock does, and write the results even after an error or Ctrl-C.

        Before Ultralytics 8.4.150 an error or Ctrl-C skips `teardown`.
        """
        try:
            return super().train()  # type: ignore[misc]
        finally:
            if self.stability:
                self.stability.owner.close(self)

    def optimizer_step(self: Trainer) -> None:
        """Take one optimizer step as stock does; measure it before the clip and skip it if bad."""
        loop = self.stability.loop if self.stability else None
        if loop is None:
            super().optimizer_step()  # type: ignore[misc]
            return
        if not owns_step(type(self)):
            loop.record_only()
            super().optimizer_step()  # type: ignore[misc]
            return
        loop.before_unscale()
        self.scaler.unscale_(self.optimizer)
        if not loop.admits():
            return
        loop.clip()
        loop.before_update()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        if self.ema:
            self.ema.update(self.model)
        loop.after_update()

    def preprocess_batch(self: Trainer, batch: Any) -> Any:
        """Preprocess as stock does; an injected fault may damage the result."""
        batch = super().preprocess_batch(batch)  # type: ignore[misc]
        loop = self.stability.loop if self.stability else None
        if loop is not None and self.model.training:
            loop.on_batch(batch)
        return batch

    def save_model(self: Trainer) -> Any:
        """Save as stock does, but atomically and never a non-finite state over a healthy one."""
        if not self.stability:
            return super().save_model()  # type: ignore[misc]
        self.stability.before_save(self)
        with atomic_checkpoints(self):
            saved = super().save_model()  # type: ignore[misc]
        self.stability.after_save(self)
        return saved

    def validate(self: Trainer) -> Any:
        """Validate as stock does; without this, metrics of an earlier epoch would look like new."""
        result = super().validate()  # type: ignore[misc]
        if self.stability:
            first = result[0] if isinstance(result, tuple) else None
            self.stability.validated(self, first if isinstance(first, Mapping) else {})
        return result

    def final_eval(self: Trainer) -> None:
        """Validate as stock does, but write the stripped checkpoints atomically."""
        if not self.stability or not is_writer():
            super().final_eval()  # type: ignore[misc]
            return
        with atomic_checkpoints(self, copy=True):
            super().final_eval()  # type: ignore[misc]

    def _handle_nan_recovery(self: Trainer, epoch: int) -> bool:
        """Recover as stock does, unless the run has already been stopped."""
        if self.stability and self.stability.stopped:
            return False
        try:
            recovered: bool = super()._handle_nan_recovery(epoch)  # type: ignore[misc]
        except Exception:
            if self.stability:
                self.stability.failed_to_recover(self)
            raise
        if recovered and self.stability:
            self.stability.recovered(self)
        return recovered


def owns_step(cls: type) -> bool:
    """Return whether the mixin may replace the optimizer step.

    It may if no class after it in the MRO overrides `BaseTrainer.optimizer_step`.
    """
    behind = cls.__mro__[cls.__mro__.index(StabilityMixin) + 1 :]
    owner = next((c for c in behind if "optimizer_step" in vars(c)), None)
    return owner is BaseTrainer
