"""Names of Ultralytics that the rest of the package needs, and every version quirk.

All but `trainer/` reach Ultralytics through this folder; two modules of `guard/incidents` look its layers up. A trainer
is typed `Any`: Ultralytics ships no type information, and users bring classes of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
# Blocks that add their input whatever their settings say.
UNCONDITIONAL_RESIDUALS: tuple[type[nn.Module], ...] = tuple(
    getattr(home, name)
    for home, names in _RESIDUAL_CLASSES
    for name in names
    if hasattr(home, name)
)


def is_writer() -> bool:
    """Return whether this process writes files: the only one, or rank 0 of DDP."""
    return RANK in {-1, 0}


def inner_model(trainer: Trainer) -> nn.Module:
    """Return the trainer's model without DDP or `torch.compile` wrappers."""
    model: nn.Module = unwrap_model(trainer.model)
    return model


def model_config(cfg: Any) -> dict[str, Any]:
    """Return the YAML dictionary of a model from what `get_model` takes: a path, a name or such a dictionary."""
    return dict(cfg) if isinstance(cfg, Mapping) else dict(yaml_model_load(cfg))


def loss_items(trainer: Trainer) -> dict[str, Tensor]:
    """Return the named loss items of the last batch, each 0-dim and on the device of the loss.

    `loss_items` is a dict since 8.4.120 and a tensor in the order of `loss_names` before. Distillation adds an item
    of shape (1,), and an item may be a plain number.
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
    """Return a unique name per parameter group: Ultralytics' own (weight, bn, bias, muon), else its number."""
    names: list[str] = []
    for i, group in enumerate(optimizer.param_groups):
        base = str(group.get("param_group", f"pg{i}"))
        twins = sum(n == base or n.startswith(f"{base}_") for n in names)
        names.append(f"{base}_{twins + 1}" if twins else base)
    return names


def scale_tensor(trainer: Trainer) -> Tensor:
    """Return the AMP loss scale, shape (1,), or an empty tensor when AMP is off.

    `GradScaler.get_scale()` would wait for the device; the tensor travels with the one transfer of the step.
    """
    scaler = trainer.scaler
    if not scaler.is_enabled():
        return torch.zeros(0)
    scale = getattr(scaler, "_scale", None)
    return (
        scale.reshape(1) if isinstance(scale, Tensor) else torch.tensor([float(scaler.get_scale())])
    )


def warmup_iterations(trainer: Trainer) -> int:
    """Return the iterations of the warm-up; newer versions leave at least the last epoch out of it."""
    batches = len(trainer.train_loader)
    if hasattr(trainer, "_get_warmup_iterations"):
        return int(trainer._get_warmup_iterations(batches))
    epochs = float(trainer.args.warmup_epochs)
    return max(round(epochs * batches), 100) if epochs > 0 else 0


def stock_bias_rate() -> float:
    """Return the rate at which biases begin a warm-up unless one is asked for."""
    return float(DEFAULT_CFG_DICT["warmup_bias_lr"])


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Ultralytics' progress bars and information lines off the terminal; warnings stay."""
    level = LOGGER.level
    LOGGER.setLevel("WARNING")
    try:
        yield
    finally:
        LOGGER.setLevel(level)


@contextmanager
def scanning() -> Iterator[None]:
    """Look at images without a word from Ultralytics, and without its installing a package for one it cannot open."""
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
    """Return the names of the dataset YAMLs that ship with Ultralytics, such as `coco8.yaml`."""
    return sorted(path.name for path in (Path(ROOT) / "cfg" / "datasets").glob("*.yaml"))


def finds_dataset(name: str) -> bool:
    """Return whether Ultralytics finds a dataset YAML by this name, with or without its suffix; no download."""
    if set(name) & set("*?[\0"):  # `check_file` globs
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
    """Return a data YAML as Ultralytics reads it, with absolute paths; nothing is downloaded.

    Args:
        data: Path of the YAML or of a folder with one, or the name of a dataset that Ultralytics ships.

    Raises:
        Exception: Whatever Ultralytics raises: it checks little and documents none of it.
    """
    with scanning(), _without_font():  # the training will say it all again
        return dict(check_det_dataset(data, autodownload=False))


@contextmanager
def _without_font() -> Iterator[None]:
    """Read a data YAML without Ultralytics' looking for its font, which it would download: nothing is drawn here."""
    check_font = data_utils.check_font
    data_utils.check_font = lambda *_: None
    try:
        yield
    finally:
        data_utils.check_font = check_font


def scan_label(
    image: str, label: str, *, pose: bool, classes: int, kpt_shape: tuple[int, int]
) -> tuple[int, str]:
    """Let Ultralytics verify an image and its labels as its own scan does; a JPEG without end marker is rewritten.

    Args:
        image: The image.
        label: Its label file, which need not exist.
        pose: Whether keypoints are trained.
        classes: Number of classes.
        kpt_shape: Keypoints and numbers a keypoint; (0, 0) where there are none.

    Returns:
        Labels that stay, -1 where the image is ignored, and what Ultralytics says about it.
    """
    with np.errstate(all="ignore"):
        result = verify_image_label((image, label, "", pose, classes, *kpt_shape, False))
    return (-1 if result[0] is None else len(result[1])), str(result[-1])
