"""All switches of one run: what they do to a model, its optimizer and its gradients, and what they say about it."""

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

# They divide each gradient by its own running size, so a change of its length hardly reaches the weights.
_SCALE_FREE = frozenset({"Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop"})


class SwitchSettings(Protocol):
    """The settings that switches read; `StabilitySettings` has them."""

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
        """Return the same settings with some of them changed."""
        ...


class Switches:
    """The switches of one run.

    Args:
        settings: Settings with a value for each switch.

    Attributes:
        done: What each switch that is set has really changed, one sentence by key.
        warnings: What a user should know before training: switches that hardly act.

    Raises:
        ConfigError: A value is impossible.
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
                f"damage on purpose: {FAULTS.summary(kind).partition(': ')[2].rstrip('.')}"
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
        """Return the YAML dictionary of a model with its depth as asked for.

        Args:
            config: The stock model's, or that of a checkpoint.
        """
        factor = self.settings.depth_mult
        if factor == 1.0:
            return dict(config)
        new, before, after = deepen(config, factor)
        self.done["depth_mult"] = f"{after} repeats of layers instead of {before}"
        if before == after:
            self.warnings.append(
                f"depth_mult={factor:g} changes nothing: rounded, every layer keeps its repeats ({before} in all)."
            )
        return new

    def edit(self, model: nn.Module, *, pretrained: bool, resumed: bool = False) -> None:
        """Change a freshly built model in place; weights are loaded into it afterwards.

        Args:
            model: The model.
            pretrained: Weights will be loaded.
            resumed: They are those of the same run.

        Raises:
            ConfigError: A switch finds nothing in the model that it could change.
        """
        s = self.settings
        if s.act is not None:
            changed, stay = apply_activation(model, s.act)
            _require(
                changed,
                f"act={s.act}: this model has no activation that can be exchanged. Leave act out.",
            )
            self.done["act"] = f"{changed} activations are {s.act}{_others(stay, 'elsewhere')}"
        # After the activations, for some norms become part of them.
        if s.norm != STOCK_NORM:
            self._normalize(model)
        if not s.residual:
            removed, stay = remove_residuals(model)
            _require(
                removed,
                "residual=false: this model has no skip connection that can be switched off"
                f"{f' ({stay} are written into its blocks)' if stay else ''}. Leave residual out.",
            )
            self.done["residual"] = (
                f"{removed} skip connections off{_others(stay, 'written into their blocks')}"
            )
        if s.init != STOCK_INIT:
            self._initialize(model, pretrained=pretrained, resumed=resumed)

    def on_first_batch(self, model: nn.Module, images: Tensor) -> bool:
        """Finish an initialisation that needs data; return whether weights have changed."""
        if not self._waits_for_data:
            return False
        self._waits_for_data = False
        layers = self._init.on_first_batch(model, images)
        if layers:
            self.done["init"] = f"{layers} layers scaled to unit variance on the first batch"
        return layers > 0

    def after_train_mode(self, model: nn.Module) -> None:
        """Correct what `model.train()` has just set; it comes once an epoch."""
        if self._norm.freezes:
            freeze_statistics(model)

    def _normalize(self, model: nn.Module) -> None:
        """Exchange the normalisation."""
        layers = sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())
        _require(
            layers,
            f"norm={self.settings.norm}: this model has no BatchNorm that could be changed. Leave norm out.",
        )
        replaced = apply_norm(model, self._norm)
        if self._norm.freezes:
            self.done["norm"] = f"{layers} BatchNorm layers keep their running statistics"
            return
        instead = self._norm.layer(8)
        text = f"{replaced.removed} BatchNorm layers {f'are {type(instead).__name__}' if instead else 'are gone'}"
        if replaced.merged:
            text += (
                f", {replaced.merged} blocks of parallel convolutions became one convolution each"
            )
        if replaced.kept:
            text += f"; {', '.join(f'{n} {k}' for k, n in replaced.kept.items())} stay"
        self.done["norm"] = text

    def _initialize(self, model: nn.Module, *, pretrained: bool, resumed: bool) -> None:
        """Draw the weights anew."""
        if resumed:
            self.done["init"] = "the weights go on from where they were"
            return
        text = f"init={self.settings.init}"
        layers = self._init.apply(model)
        self.done["init"] = f"{layers} layers"
        self._waits_for_data = not pretrained
        if pretrained:
            self.warnings.append(
                f"{text} acts only on layers that the pretrained weights do not fill; "
                "start from a .yaml, or with pretrained=False, to see it act."
            )
        norms = sum("Norm" in type(m).__name__ for m in model.modules())
        if self._init.hidden_by_norm and norms > layers // 2:
            self.warnings.append(
                f"{text} is hidden: {norms} normalisation layers undo a change of scale. Try it with norm=none."
            )

    # The optimizer and its gradients

    def build(self, optimizer: Optimizer, *, asked: str) -> None:
        """Change a freshly built optimizer.

        Args:
            optimizer: The optimizer.
            asked: What `optimizer=` said.
        """
        s, name = self.settings, type(optimizer).__name__
        if s.lr_mult != 1.0:
            scale_learning_rate(optimizer, s.lr_mult)
            self.done["lr_mult"] = (
                f"{len(optimizer.param_groups)} groups of {name}, warm-up and schedule follow"
            )
            if asked.lower() == "auto":
                lr = optimizer.param_groups[-1]["lr"] / s.lr_mult
                self._warn(
                    f"lr_mult={s.lr_mult:g} multiplies lr {lr:g}, which optimizer=auto picked by itself ({name}); "
                    "name an optimizer and lr0 to know what is multiplied."
                )
        if s.clip != STOCK_CLIP:
            self.done["clip"] = (
                "gradients are not clipped"
                if s.clip == "none"
                else f"gradients are clipped by {self.clip}"
            )
            if name in _SCALE_FREE:
                self._warn(
                    f"clip={s.clip} hardly acts: {name} divides each gradient by its own running size."
                )
        if s.l1:
            self.done["l1"] = f"sign(weight) x {s.l1:g} is added to the gradients"

    def regularize(self, params: Iterable[nn.Parameter]) -> bool:
        """Add the gradient of the L1 penalty, if one is set; return whether gradients changed."""
        if not self.settings.l1:
            return False
        weights = penalized(params)
        add_l1(weights, self.settings.l1)
        return bool(weights)

    def _warn(self, text: str) -> None:
        """Keep a warning, once: optimizers are built anew after an out-of-memory error."""
        if text not in self.warnings:
            self.warnings.append(text)


def _require(count: int, otherwise: str) -> None:
    """Raise if a switch found nothing to change."""
    if not count:
        raise ConfigError(otherwise)


def _others(count: int, where: str) -> str:
    """Say how many of a kind stay, if any."""
    return f"; {count} {where} stay" if count else ""
