"""Runs a probe: builds a model with the switches and passes one batch forward and backward.

A trainer is set up as for a training, in a temporary folder, so that the switches take effect
through the same code. All settings share the data loaders and the batch of the first one.
"""

from __future__ import annotations

import copy
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from yolo_stability.compat.ultralytics import Trainer, inner_model, quiet, unset_deterministic
from yolo_stability.config import MODEL_SWITCHES, is_default
from yolo_stability.data.resolve import resolve_data
from yolo_stability.gradients.blocks import model_blocks
from yolo_stability.gradients.norms import BlockIndex, exact_norms
from yolo_stability.interventions.switches import Switches
from yolo_stability.studies.probe.activations import FlowHooks, modules_of
from yolo_stability.studies.probe.compare import classify_profile, compare_with_stock, with_growth
from yolo_stability.studies.probe.request import ProbeRequest
from yolo_stability.studies.probe.result import ProbeResult, Profile
from yolo_stability.trainer.base_monitor import Monitor
from yolo_stability.trainer.launch import load_model

__all__ = ["probe_checked"]

_DEFAULTS = {"imgsz": 160, "batch": 8, "seed": 0, "mosaic": 0.0}
# One batch, float32, in this process; without output files, plots and validation.
_FORCED = {
    "amp": False,
    "compile": False,
    "exist_ok": True,
    "mode": "train",
    "name": "probe",
    "optimizer": "SGD",  # unused, but `auto` would log its choice
    "plots": False,
    "resume": False,
    "save": False,
    "val": False,
    "verbose": False,
    "workers": 0,
}


def probe_checked(request: ProbeRequest) -> tuple[ProbeResult, ...]:
    """Probe settings on the same batch and compare each with the stock profile, measured once.

    Args:
        request: From `make_probe_request` or the command line; by default `imgsz` is 160, `batch` 8
            and `mosaic` 0.

    Returns:
        One result per setting, in the same order.

    Raises:
        ConfigError: A switch changes nothing in the model.
        DataError: The dataset does not exist or does not fit the task.
    """
    with quiet(), _process_as_before():
        yolo = load_model(request.model, request.task)
        resolved = resolve_data(request.data, yolo.task).data
        probes = _Probes(yolo, resolved, {**request.overrides, "data": str(request.data)})
        stock = probes.measure(Monitor())
        return tuple(_result(probes, stock, monitor) for monitor in request.monitors)


def _result(probes: _Probes, stock: _Passed, monitor: Monitor) -> ProbeResult:
    """Probe one setting and compare it with stock."""
    changed = _changed(monitor)
    passed = probes.measure(monitor) if changed else stock
    measures = compare_with_stock(passed.profile, stock.profile)
    verdict, reasons = classify_profile(measures)
    if not changed and measures.finite:
        reasons = ("This is the stock model, the reference for all other settings.",)
    return ProbeResult(
        blocks=passed.profile.blocks,
        total=passed.profile.total,
        loss=passed.profile.loss,
        verdict=verdict,
        reasons=reasons,
        measures=measures,
        reference=stock.profile,
        settings=changed,
        changes=dict(passed.switches.done),
        warnings=tuple(passed.switches.warnings),
        request=probes.request,
        seconds=passed.seconds,
    )


def _changed(monitor: Monitor) -> dict[str, Any]:
    """Return the switches that differ from stock."""
    values = monitor.settings.model_dump()
    return {key: values[key] for key in MODEL_SWITCHES if not is_default(key, values[key])}


@contextmanager
def _process_as_before() -> Iterator[None]:
    """Restore random states, thread count and determinism, which a trainer changes."""
    python, numpy, threads = random.getstate(), np.random.get_state(), torch.get_num_threads()  # noqa: NPY002
    try:
        with torch.random.fork_rng():
            yield
    finally:
        unset_deterministic()
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.set_num_threads(threads)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Passed:
    """The profile of one forward and backward pass."""

    profile: Profile
    switches: Switches
    seconds: float


class _Probes:
    """Passes the same batch through models with different switches.

    Args:
        yolo: The `YOLO` object to probe.
        data: The dataset for Ultralytics.
        overrides: Ultralytics keys.
    """

    def __init__(self, yolo: Any, data: str, overrides: Mapping[str, Any]) -> None:
        self._yolo = yolo
        self._requested = {**_DEFAULTS, **overrides}
        self._arguments = {
            **yolo.overrides,
            **self._requested,
            "data": data,
            "task": yolo.task,
            **_FORCED,
        }
        self._loaders: dict[str, Any] = {}
        self._batch: dict[str, Any] | None = None

    @property
    def request(self) -> dict[str, Any]:
        """Model, task and keys of the probe, including defaults."""
        asked = {key: value for key, value in self._requested.items() if key not in _FORCED}
        return {"model": str(self._arguments["model"]), "task": self._yolo.task, **asked}

    def measure(self, monitor: Monitor) -> _Passed:
        """Build the model with the switches of a monitor and pass the batch.

        Args:
            monitor: A monitor that is not attached yet.
        """
        started = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="yolo-stability-probe-") as folder:
            trainer = self._trainer(monitor, folder)
            try:
                self._set_up(trainer)
                batch = trainer.preprocess_batch(copy.deepcopy(self._batch))
                model = inner_model(trainer)
                switches = trainer.stability.switches(trainer)
                switches.on_first_batch(model, batch["img"])
                profile = _pass(trainer, model, batch)
            finally:
                monitor.close(trainer)
        return _Passed(profile=profile, switches=switches, seconds=time.perf_counter() - started)

    def _trainer(self, monitor: Monitor, folder: str) -> Trainer:
        """Build the trainer as for a training, with its model."""
        callbacks = defaultdict(
            list, {event: [function] for event, function in monitor.callbacks().items()}
        )
        # Ultralytics attaches its loggers, which would start runs, to classes named Trainer.
        from yolo_stability.trainer.trainers import stability_class  # imports all tasks

        parent = stability_class(self._yolo._smart_load("trainer"))
        trainer = type("StabilityProbe", (parent,), {})(
            overrides={**self._arguments, "project": folder}, _callbacks=callbacks
        )
        if self._yolo.ckpt:  # as `Model.train` does
            weights = None if self._arguments.get("pretrained") is False else self._yolo.model
            trainer.model = trainer.get_model(weights=weights, cfg=self._yolo.model.yaml)
        return trainer

    def _set_up(self, trainer: Trainer) -> None:
        """Set up a trainer for its first batch, and load that batch once."""
        load = trainer.get_dataloader

        def once(
            dataset_path: Any, batch_size: int = 16, rank: int = 0, mode: str = "train"
        ) -> Any:
            if mode not in self._loaders:
                self._loaders[mode] = load(
                    dataset_path, batch_size=batch_size, rank=rank, mode=mode
                )
            return self._loaders[mode]

        trainer.get_dataloader = once
        trainer._setup_train()
        trainer._model_train()
        if self._batch is None:
            self._batch = next(iter(trainer.train_loader))


def _pass(trainer: Trainer, model: nn.Module, batch: dict[str, Any]) -> Profile:
    """Pass a batch forward and backward and return the profile."""
    index = BlockIndex.of(model, model_blocks(model))
    flows = {block.name: FlowHooks() for block in index.blocks}
    handles = [
        module.register_forward_hook(flows[block.name].forward)
        for block in index.blocks
        for module in modules_of(model, block)
    ]
    try:
        loss = trainer.model(batch)[0].sum()
        loss.backward()
    finally:
        for handle in handles:
            handle.remove()
    grads, positions = index.with_gradient()
    norms = index.combine(exact_norms(grads), positions)
    blocks = [
        flows[block.name].finished(block, norm)
        for block, norm in zip(index.blocks, norms, strict=True)
    ]
    total = float(np.sqrt(np.sum([norm**2 for norm in norms if norm is not None])))
    return Profile(blocks=with_growth(blocks), total=total, loss=float(loss.detach()))
