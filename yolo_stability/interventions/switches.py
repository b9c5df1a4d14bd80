"""Switches of one run: changes to its model, optimizer and gradients, and their descriptions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, Self

from torch import Tensor, nn
from torch.optim import Optimizer

from yolo_stability.core.errors import ConfigError
from yolo_stability.interventions.activation import apply_activation, check_activation
from yolo_stability.interventions.clips import make_clip
from yolo_stability.interventions.clips._base import STOCK_CLIP
from yolo_stability.interventions.depth import deepen
from yolo_stability.interventions.faults import FAULTS
from yolo_stability.interventions.inits import make_init
from yolo_stability.interventions.inits._base import STOCK_INIT
from yolo_stability.interventions.learning_rate import scale_learning_rate
from yolo_stability.interventions.norms import make_norm
from yolo_stability.interventions.norms._base import STOCK_NORM
from yolo_stability.interventions.norms._replace import apply_norm, freeze_statistics
from yolo_stability.interventions.regularization import add_l1, penalized
from yolo_stability.interventions.residual import remove_residuals

__all__ = ["SwitchSettings", "Switches"]

# They divide each gradient by a running average of its size, so clipping hardly affects the update.
_SCALE_FREE = frozenset({"Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop"})


class SwitchSettings(Protocol):
    """Settings that `Switches` reads; `StabilitySettings` implements them."""

    clip: str
    norm: str
    init: str
    act: str | None
    residual: bool
    depth_mult: float
    lr_mult: float
    l1: float
    fault: str | None

    def model_copy(self, *, update: Mapping[str, Any]) -> Self:
        """Return a copy of the settings with changes."""
        ...


class Switches:
    """The switches of one run.

    Args:
        settings: Settings with a value for each switch.

    Attributes:
        done: Effect of each active switch, one sentence by option.
        warnings: Notices before training: switches with hardly any effect.

    Raises:
        ConfigError: A value is invalid.
    """

    def __init__(self, settings: SwitchSettings) -> None:
        self.settings = settings
        self.clip = make_clip(settings.clip)
        self._norm, self._init = make_norm(settings.norm), make_init(settings.init)
        if settings.act is not None:
            check_activation(settings.act)
        self.done: dict[str, str] = {}
        if settings.fault is not None:
            kind = settings.fault.partition("@")[0].partition(":")[0]
            self.done["fault"] = (
                f"injected fault: {FAULTS.summary(kind).partition(': ')[2].rstrip('.')}"
            )
        self.warnings: list[str] = []
        self._waits_for_data = False

    @property
    def edit_model(self) -> bool:
        """Whether any switch changes the model."""
        s = self.settings
        stock = (STOCK_NORM, STOCK_INIT, None, True, 1.0)
        return (s.norm, s.init, s.act, s.residual, s.depth_mult) != stock

    # The model

    def configure(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the YAML dictionary of a model with the requested depth.

        Args:
            config: Dictionary of the stock model or of a checkpoint.
        """
        factor = self.settings.depth_mult
        if factor == 1.0:
            return dict(config)
        new, before, after = deepen(config, factor)
        self.done["depth_mult"] = f"{after} repeats of layers instead of {before}"
        if before == after:
            self.warnings.append(
                f"depth_mult={factor:g} changes nothing: after rounding, every layer keeps its "
                f"repeats ({before} in all)."
            )
        return new

    def edit(self, model: nn.Module, *, pretrained: bool, resumed: bool = False) -> None:
        """Change a new model in place; weights are loaded into it afterwards.

        Args:
            model: The model.
            pretrained: Whether weights will be loaded.
            resumed: Whether they are those of the same run.

        Raises:
            ConfigError: The model has nothing that a switch could change.
        """
        s = self.settings
        if s.act is not None:
            changed, stay = apply_activation(model, s.act)
            _require(
                changed,
                f"act={s.act}: this model has no activation that can be replaced. Remove act.",
            )
            self.done["act"] = f"{changed} activations are {s.act}{_others(stay, 'elsewhere')}"
        # After the activations, since some norms are inserted into them.
        if s.norm != STOCK_NORM:
            self._normalize(model)
        if not s.residual:
            removed, stay = remove_residuals(model)
            _require(
                removed,
                "residual=false: this model has no skip connection that can be disabled"
                f"{f' ({stay} are hard-coded in its blocks)' if stay else ''}. Remove residual.",
            )
            self.done["residual"] = (
                f"{removed} skip connections disabled{_others(stay, 'hard-coded in their blocks')}"
            )
        if s.init != STOCK_INIT:
            self._initialize(model, pretrained=pretrained, resumed=resumed)

    def on_first_batch(self, model: nn.Module, images: Tensor) -> bool:
        """Finish an initialization that needs data; return whether weights have changed."""
        if not self._waits_for_data:
            return False
        self._waits_for_data = False
        layers = self._init.on_first_batch(model, images)
        if layers:
            self.done["init"] = f"{layers} layers scaled to unit variance on the first batch"
        return layers > 0

    def after_train_mode(self, model: nn.Module) -> None:
        """Restore the frozen statistics after `model.train()`, which runs once per epoch."""
        if self._norm.freezes:
            freeze_statistics(model)

    def _normalize(self, model: nn.Module) -> None:
        """Replace the normalization."""
        layers = sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())
        _require(
            layers,
            f"norm={self.settings.norm}: this model has no BatchNorm that can be changed. Remove "
            "norm.",
        )
        replaced = apply_norm(model, self._norm)
        if self._norm.freezes:
            self.done["norm"] = f"{layers} BatchNorm layers keep their running statistics"
            return
        instead = self._norm.layer(8)
        kind = f"replaced by {type(instead).__name__}" if instead else "removed"
        text = f"{replaced.removed} BatchNorm layers {kind}"
        if replaced.merged:
            text += (
                f", {replaced.merged} blocks of parallel convolutions merged into one convolution "
                "each"
            )
        if replaced.kept:
            text += f"; {', '.join(f'{n} {k}' for k, n in replaced.kept.items())} unchanged"
        self.done["norm"] = text

    def _initialize(self, model: nn.Module, *, pretrained: bool, resumed: bool) -> None:
        """Draw new weights."""
        if resumed:
            self.done["init"] = "weights continue from the checkpoint"
            return
        text = f"init={self.settings.init}"
        layers = self._init.apply(model)
        self.done["init"] = f"{layers} layers"
        self._waits_for_data = not pretrained
        if pretrained:
            self.warnings.append(
                f"{text} affects only layers that the pretrained weights do not fill; to use it "
                "for all layers, start from a .yaml model or with pretrained=False."
            )
        norms = sum("Norm" in type(m).__name__ for m in model.modules())
        if self._init.hidden_by_norm and norms > layers // 2:
            self.warnings.append(
                f"{text} has hardly any effect: {norms} normalization layers undo a change of "
                "scale. Try it with norm=none."
            )

    # The optimizer and its gradients

    def build(self, optimizer: Optimizer, *, asked: str) -> None:
        """Change a new optimizer.

        Args:
            optimizer: The optimizer.
            asked: Value of the option `optimizer`.
        """
        s, name = self.settings, type(optimizer).__name__
        if s.lr_mult != 1.0:
            scale_learning_rate(optimizer, s.lr_mult)
            self.done["lr_mult"] = (
                f"{len(optimizer.param_groups)} groups of {name}, followed by warm-up and schedule"
            )
            if asked.lower() == "auto":
                lr = optimizer.param_groups[-1]["lr"] / s.lr_mult
                self._warn(
                    f"lr_mult={s.lr_mult:g} multiplies lr {lr:g}, which optimizer=auto chose "
                    f"together with {name}; set optimizer and lr0 to control the result."
                )
        if s.clip != STOCK_CLIP:
            self.done["clip"] = (
                "gradients are not clipped"
                if s.clip == "none"
                else f"gradients are clipped by {self.clip}"
            )
            if name in _SCALE_FREE:
                self._warn(
                    f"clip={s.clip} has hardly any effect: {name} divides each gradient by a "
                    "running average of its size."
                )
        if s.l1:
            self.done["l1"] = f"sign(weight) x {s.l1:g} is added to the gradients"

    def regularize(self, params: Iterable[nn.Parameter]) -> bool:
        """Add the gradient of the L1 penalty, if there is one; return whether gradients changed."""
        if not self.settings.l1:
            return False
        weights = penalized(params)
        add_l1(weights, self.settings.l1)
        return bool(weights)

    def _warn(self, text: str) -> None:
        """Store a warning once, since an out-of-memory error rebuilds the optimizer."""
        if text not in self.warnings:
            self.warnings.append(text)


def _require(count: int, otherwise: str) -> None:
    """Raise if a switch found nothing to change."""
    if not count:
        raise ConfigError(otherwise)


def _others(count: int, where: str) -> str:
    """Describe how many of a kind are unchanged, if any."""
    return f"; {count} {where} unchanged" if count else ""
