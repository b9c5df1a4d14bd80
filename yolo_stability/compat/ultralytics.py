"""Ultralytics names that the rest of the package needs, and all version differences.

All packages but `trainer/` reach Ultralytics through this one; two modules of `guard/incidents`
look up its layers. A trainer is typed `Any`: Ultralytics ships no type information, and users bring
their own classes.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from ultralytics import __version__ as ultralytics_version
from ultralytics.data import utils as data_utils
from ultralytics.data.converter import convert_coco
from ultralytics.data.utils import check_det_dataset, verify_image_label
from ultralytics.engine.trainer import BaseTrainer
from ultralytics.nn import modules
from ultralytics.nn.modules.conv import Conv, Conv2, ConvTranspose, RepConv
from ultralytics.nn.tasks import yaml_model_load
from ultralytics.utils import DEFAULT_CFG_DICT, LOGGER, RANK, ROOT
from ultralytics.utils.checks import check_file
from ultralytics.utils.torch_utils import unset_deterministic, unwrap_model

from yolo_stability.compat.losses import map_loss

__all__ = [
    "DEFAULT_CFG_DICT",
    "LOGGER",
    "RANK",
    "STOCK_MAX_NORM",
    "UNCONDITIONAL_RESIDUALS",
    "BaseTrainer",
    "Conv",
    "Conv2",
    "ConvTranspose",
    "RepConv",
    "RepVGGDW",
    "Trainer",
    "accumulation_target",
    "convert_coco",
    "dataset_config",
    "dataset_names",
    "finds_dataset",
    "group_names",
    "inner_model",
    "is_writer",
    "loss_items",
    "map_loss",
    "model_config",
    "quiet",
    "scale_tensor",
    "scan_label",
    "scanning",
    "stock_bias_rate",
    "stock_chooses_rate",
    "ultralytics_version",
    "unset_deterministic",
    "warmup_iterations",
]

Trainer = Any

# `BaseTrainer.optimizer_step` clips at this total norm, hard-coded; a test compares its source.
STOCK_MAX_NORM = 10.0

RepVGGDW: type[nn.Module] = modules.block.RepVGGDW

_RESIDUAL_CLASSES = (
    (modules.transformer, ("TransformerEncoderLayer", "TransformerLayer", "TransformerBlock")),
    (modules.transformer, ("DeformableTransformerDecoderLayer",)),
    (modules.block, ("ABlock", "ResNetBlock", "Residual")),
)
# Blocks that always add their input, whatever their settings.
UNCONDITIONAL_RESIDUALS: tuple[type[nn.Module], ...] = tuple(
    getattr(home, name)
    for home, names in _RESIDUAL_CLASSES
    for name in names
    if hasattr(home, name)
)


def is_writer() -> bool:
    """Return whether this process writes files: a single process, or rank 0 of DDP."""
    return RANK in {-1, 0}


def inner_model(trainer: Trainer) -> nn.Module:
    """Return the trainer's model without DDP or `torch.compile` wrappers."""
    model: nn.Module = unwrap_model(trainer.model)
    return model


def model_config(cfg: Any) -> dict[str, Any]:
    """Return a model's YAML dictionary from an argument of `get_model`: path, name or dict."""
    return dict(cfg) if isinstance(cfg, Mapping) else dict(yaml_model_load(cfg))


def loss_items(trainer: Trainer) -> dict[str, Tensor]:
    """Return the named loss items of the last batch, each 0-dim and on the device of the loss.

    `loss_items` is a dict since 8.4.120, and before that a tensor in the order of `loss_names`.
    Distillation adds an item of shape (1,), and an item may be a Python number.
    """
    items = getattr(trainer, "loss_items", None)
    if items is None:
        return {}
    if isinstance(items, Mapping):
        device = trainer.loss.device
        return {
            str(k): torch.as_tensor(v, device=device).detach().float().mean()
            for k, v in items.items()
        }
    values = items.detach().reshape(-1)
    names = list(getattr(trainer, "loss_names", ()))
    names += [f"item_{i}" for i in range(len(names), len(values))]
    return {str(name): value for name, value in zip(names, values, strict=False)}


def group_names(optimizer: torch.optim.Optimizer) -> list[str]:
    """Return a unique name per parameter group: weight, bn, bias, muon, or its number."""
    names: list[str] = []
    for i, group in enumerate(optimizer.param_groups):
        base = str(group.get("param_group", f"pg{i}"))
        twins = sum(n == base or n.startswith(f"{base}_") for n in names)
        names.append(f"{base}_{twins + 1}" if twins else base)
    return names


def scale_tensor(trainer: Trainer) -> Tensor:
    """Return the AMP loss scale, shape (1,), or an empty tensor when AMP is off.

    `GradScaler.get_scale()` would synchronize with the device; the tensor is transferred with the
    other values of the step.
    """
    scaler = trainer.scaler
    if not scaler.is_enabled():
        return torch.zeros(0)
    scale = getattr(scaler, "_scale", None)
    return (
        scale.reshape(1) if isinstance(scale, Tensor) else torch.tensor([float(scaler.get_scale())])
    )


def warmup_iterations(trainer: Trainer) -> int:
    """Return the number of warm-up iterations; newer versions exclude at least the last epoch."""
    batches = len(trainer.train_loader)
    if hasattr(trainer, "_get_warmup_iterations"):
        return int(trainer._get_warmup_iterations(batches))
    epochs = float(trainer.args.warmup_epochs)
    return max(round(epochs * batches), 100) if epochs > 0 else 0


def accumulation_target(trainer: Trainer) -> float:
    """Return the batches per step that the warm-up approaches; whole in newer versions only."""
    ramps_to_ratio = _ramps_to_ratio()
    return trainer.args.nbs / trainer.batch_size if ramps_to_ratio else float(trainer.accumulate)


@cache
def _ramps_to_ratio() -> bool:
    return "[1, self.args.nbs / self.batch_size]" in inspect.getsource(BaseTrainer._do_train)


def stock_chooses_rate(trainer: Trainer) -> bool:
    """Return whether under `optimizer=auto` Ultralytics has chosen the rate, not a custom trainer.

    Newer versions write the name of the optimizer that they chose into the arguments.
    """
    owners = (c for c in type(trainer).__mro__ if "build_optimizer" in vars(c))
    custom = [c for c in owners if not c.__module__.startswith(("ultralytics.", "yolo_stability."))]
    return not custom or str(trainer.args.optimizer).lower() != "auto"


def stock_bias_rate() -> float:
    """Return the default learning rate of biases at the start of warm-up."""
    return float(DEFAULT_CFG_DICT["warmup_bias_lr"])


@contextmanager
def quiet() -> Iterator[None]:
    """Hide Ultralytics' progress bars and information messages; warnings stay."""
    level = LOGGER.level
    LOGGER.setLevel("WARNING")
    try:
        yield
    finally:
        LOGGER.setLevel(level)


@contextmanager
def scanning() -> Iterator[None]:
    """Silence Ultralytics while images are read, and keep it from installing packages."""
    from ultralytics.utils import checks

    level, installs = LOGGER.level, checks.AUTOINSTALL
    LOGGER.setLevel("CRITICAL")
    checks.AUTOINSTALL = False
    try:
        yield
    finally:
        LOGGER.setLevel(level)
        checks.AUTOINSTALL = installs


def dataset_names() -> list[str]:
    """Return the names of the dataset YAMLs shipped with Ultralytics, such as `coco8.yaml`."""
    return sorted(path.name for path in (Path(ROOT) / "cfg" / "datasets").glob("*.yaml"))


def finds_dataset(name: str) -> bool:
    """Return whether Ultralytics finds a dataset YAML by name, suffix optional; no download."""
    if set(name) & set("*?[\0"):  # `check_file` expands glob patterns
        return False
    try:
        found = [
            check_file(f"{name}{suffix}", download=False, hard=False)
            for suffix in ("", ".yaml", ".yml")
        ]
    except OSError:  # an overlong name; newer versions return nothing
        return False
    return any(path and Path(path).suffix in {".yaml", ".yml"} for path in found)


def dataset_config(data: str) -> dict[str, Any]:
    """Return a data YAML as Ultralytics reads it, with absolute paths; downloads nothing.

    Args:
        data: Path of the YAML or of its folder, or the name of a dataset shipped with Ultralytics.

    Raises:
        Exception: Any exception: Ultralytics validates little and documents none.
    """
    with scanning(), _without_font():  # the training repeats these messages
        return dict(check_det_dataset(data, autodownload=False))


@contextmanager
def _without_font() -> Iterator[None]:
    """Keep Ultralytics from downloading its font, which is not needed to read a data YAML."""
    check_font = data_utils.check_font
    data_utils.check_font = lambda *_: None
    try:
        yield
    finally:
        data_utils.check_font = check_font


def scan_label(
    image: str, label: str, *, pose: bool, classes: int, kpt_shape: tuple[int, int]
) -> tuple[int, str, tuple[int, int]]:
    """Verify an image and its labels as Ultralytics' scan does; repairs JPEGs without end marker.

    Args:
        image: Path of the image.
        label: Path of its label file, which need not exist.
        pose: Whether keypoints are trained.
        classes: Number of classes.
        kpt_shape: Keypoints and values per keypoint; (0, 0) without keypoints.

    Returns:
        Number of labels kept, -1 if the image is ignored; Ultralytics' message; width and height in
        pixels, (0, 0) if the image is ignored.
    """
    with np.errstate(all="ignore"):
        result = verify_image_label((image, label, "", pose, classes, *kpt_shape, False))
    if result[0] is None:
        return -1, str(result[-1]), (0, 0)
    height, width = result[2]
    return len(result[1]), str(result[-1]), (int(width), int(height))
