"""Counts what a step does, by part of the package: torch ops, host syncs, bytes copied and Python calls.

An op, a sync and a copy count for the innermost function of the package on the stack, a Python call for the module of
the function. What stock Ultralytics does inside the mixin's `optimizer_step` belongs to no part.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import yolo_stability

PACKAGE = Path(yolo_stability.__file__).parent
PARTS = {
    "compat/": "Ultralytics seam",
    "core/": "core",
    "diagnosis/": "rules",
    "gradients/": "norms",
    "gradients/optimizers.py": "record",
    "gradients/updates.py": "updates",
    "guard/": "guard",
    "guard/baseline.py": "recovery",
    "guard/checkpoints.py": "checkpoints",
    "guard/incidents/": "incidents",
    "guard/outcome.py": "recovery",
    "guard/snapshots.py": "snapshots",
    "interventions/": "clip and switches",
    "trace/": "trace",
    "trace/arrays.py": "rules",
    "trainer/": "session",
    "trainer/live_findings.py": "rules",
    "trainer/loggers/": "loggers",
    "trainer/outputs.py": "record",
    "trainer/step/": "step loop",
    "trainer/step/clipping.py": "clip and switches",
    "trainer/step/gradient_reading.py": "gradient reading",
    "trainer/step/healthy_steps.py": "recovery",
    "trainer/step/records.py": "record",
    "trainer/step/recovery.py": "recovery",
    "trainer/trainer_state.py": "Ultralytics seam",
}
"""Part of each module of the package, by the longest prefix of its path."""
UNLISTED = "no part in PARTS"
HOST_OF_STOCK = "trainer/mixin.py"
"""The module whose functions call stock Ultralytics: ops below them are stock's."""

COPIES = {"clone", "copy_", "_to_copy", "_foreach_copy_", "cat", "stack"}
"""Names of the aten ops whose results count as bytes copied."""
SYNCS = {
    "_local_scalar_dense": "item",
    "is_nonzero": "item",
    "equal": "equal",
    "masked_select": "nonzero",
    "nonzero": "nonzero",
    "_unique2": "unique",
    "unique_consecutive": "unique",
    "unique_dim": "unique",
}
"""Names of the aten ops that make the host wait for a device, and what the counts call them."""
HOST_METHODS = ("cpu", "numpy", "tolist")
"""Methods of a tensor that read it on the host, and show no op where it is there already."""
_COMPREHENSIONS = {"<dictcomp>", "<listcomp>", "<setcomp>"}  # Python 3.12 and later inline them


@dataclass(slots=True)
class Counts:
    """What one part did in one step.

    Attributes:
        ops: Torch ops as they reach the dispatcher.
        bytes: Bytes that ops in `COPIES` wrote.
        calls: Calls of Python functions of the package, comprehensions not counted.
        syncs: What would make the host wait for a device, by kind.
    """

    ops: int = 0
    bytes: int = 0
    calls: int = 0
    syncs: Counter[str] = field(default_factory=Counter)

    def add(self, other: Counts, sign: int = 1) -> None:
        """Add other counts, or subtract them with a sign of -1."""
        self.ops += sign * other.ops
        self.bytes += sign * other.bytes
        self.calls += sign * other.calls
        for kind, count in other.syncs.items():
            self.syncs[kind] += sign * count


def part_of(module: str) -> str:
    """Return the part that a module belongs to.

    Args:
        module: Its path below the package, such as `guard/buffers.py`.
    """
    prefixes = [prefix for prefix in PARTS if module.startswith(prefix)]
    return PARTS[max(prefixes, key=len)] if prefixes else UNLISTED


class StepCounter:
    """Collects the counts of one step.

    Attributes:
        parts: Counts by part.
        total: Ops, syncs and bytes of the whole step, stock's own included; no calls.
    """

    def __init__(self) -> None:
        self.parts: dict[str, Counts] = {}
        self.total = Counts()
        self._modules: dict[str, str | None] = {}

    def op(self, name: str, written: Iterable[Tensor]) -> None:
        """Count an op by its name without namespace and overload, and the tensors that it wrote."""
        copied = sum(t.numel() * t.element_size() for t in written) if name in COPIES else 0
        for counts in self._concerned():
            counts.ops += 1
            counts.bytes += copied
            if name in SYNCS:
                counts.syncs[SYNCS[name]] += 1

    def sync(self, kind: str) -> None:
        """Count a sync that shows no op on the CPU."""
        for counts in self._concerned():
            counts.syncs[kind] += 1

    def profile(self, frame: FrameType, event: str, _: Any) -> None:
        """Count a Python call; for `sys.setprofile`."""
        if event == "call" and frame.f_code.co_name not in _COMPREHENSIONS:
            module = self._module(frame)
            if module:
                self._of(module).calls += 1

    def _concerned(self) -> Iterator[Counts]:
        """Yield the counts that something belongs to that is happening now."""
        yield self.total
        frame: FrameType | None = sys._getframe(2)
        while frame is not None and self._module(frame) is None:
            frame = frame.f_back
        module = None if frame is None else self._module(frame)
        if module is not None and module != HOST_OF_STOCK:
            yield self._of(module)

    def _of(self, module: str) -> Counts:
        return self.parts.setdefault(part_of(module), Counts())

    def _module(self, frame: FrameType) -> str | None:
        """Return the module of the package that a frame runs, by its path below it; None for other code."""
        file = frame.f_code.co_filename
        if file not in self._modules:
            path = Path(file)
            inside = path.is_relative_to(PACKAGE)
            self._modules[file] = path.relative_to(PACKAGE).as_posix() if inside else None
        return self._modules[file]


class _Dispatch(TorchDispatchMode):
    """Shows every op to a counter."""

    def __init__(self, counter: StepCounter) -> None:
        super().__init__()
        self._counter = counter

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.partition("::")[2]
        if name == "index" and any(_is_mask(index) for index in args[1]):
            self._counter.sync("nonzero")
        self._counter.op(name, _tensors(args[0] if args and _is_nothing(result) else result))
        return result


def _is_mask(index: Tensor | None) -> bool:
    """Return whether an index is a mask, whose true elements must be counted first."""
    return index is not None and index.dtype in {torch.bool, torch.uint8}


def _is_nothing(result: Any) -> bool:
    """Return whether an op gave nothing: it wrote into its first argument."""
    return result is None or (isinstance(result, tuple) and not result)


def _tensors(value: Any) -> list[Tensor]:
    """Return the tensors that an op gave or was given, a list of them or one."""
    values = value if isinstance(value, list | tuple) else [value]
    return [v for v in values if isinstance(v, Tensor)]


@contextmanager
def counting() -> Iterator[StepCounter]:
    """Count what this thread does inside the context."""
    counter = StepCounter()
    with ExitStack() as stack:
        for name in HOST_METHODS:
            method = _counted(getattr(Tensor, name), counter, name)
            stack.enter_context(patch.object(Tensor, name, method))
        stack.enter_context(patch.object(Tensor, "to", _counted_move(Tensor.to, counter)))
        # to_host then takes the way of a device, where the vectors of a step travel together
        stack.enter_context(patch("yolo_stability.gradients.norms._is_on_host", _on_a_device))
        # whether Ultralytics' settings ask for MLflow is a matter of the machine
        stack.enter_context(patch("yolo_stability.trainer.loggers.mlflow.enabled", _not_enabled))
        stack.enter_context(_Dispatch(counter))
        before = sys.getprofile()
        sys.setprofile(counter.profile)
        try:
            yield counter
        finally:
            sys.setprofile(before)


def _on_a_device(tensor: Tensor) -> bool:
    """Answer as if no tensor were on the host."""
    return False


def _not_enabled(setting: str) -> bool:
    """Answer as if no tracker were on."""
    return False


def _counted(method: Callable[..., Any], counter: StepCounter, kind: str) -> Callable[..., Any]:
    """Return a method of a tensor that counts as a sync."""

    def read(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        counter.sync(kind)
        return method(tensor, *args, **kwargs)

    return read


def _counted_move(method: Callable[..., Any], counter: StepCounter) -> Callable[..., Any]:
    """Return `Tensor.to` that counts as a sync where it names the host: a `torch.device` is that of the training."""

    def move(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        place = args[0] if args else kwargs.get("device")
        if isinstance(place, str) and place == "cpu":
            counter.sync("cpu")
        return method(tensor, *args, **kwargs)

    return move
