"""Localizes a failure in a model: to the module in the forward, or the operation in the backward.

Hooks watch the model for one pass and are removed afterwards; pass a copy, never the model in
training.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from yolo_stability.gradients.blocks import model_blocks
from yolo_stability.guard.incidents.custom_code import has_custom_loss, inside_custom
from yolo_stability.guard.incidents.magnitudes import all_finite, largest, tensors_in

__all__ = ["Pass", "Phase", "Place", "block_of", "run_evaluation", "run_pass"]

Phase = Literal["forward", "loss", "backward", "gradient"]
# no module of a normalized network turns numbers below the first into numbers above the second
_USUAL, _ABSURD = 1e5, 1e10


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Location at which a number stopped being finite.

    Attributes:
        phase: Forward of a module, loss, backward, or a gradient after it.
        block: Block of the model, such as `model.0 Conv`, or the class that computes the loss.
        layer: Innermost module, such as `model.0.conv Conv2d`.
        operation: Operation whose derivative failed, named by autograd.
        parameter: Parameter whose gradient was hit.
        largest_input: Largest magnitude in the module's input, and in the gradient that reached it;
            None if no module failed.
        custom: Whether the code of the module, or of the loss, is neither torch's nor Ultralytics'.
    """

    phase: Phase
    block: str
    layer: str | None = None
    operation: str | None = None
    parameter: str | None = None
    largest_input: float | None = None
    custom: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """Result of one pass of a batch.

    Attributes:
        loss: The loss.
        bad: Whether the loss, a buffer or a gradient is not finite.
        place: Location of the first failure; None if there is none or it was not located.
    """

    loss: float
    bad: bool
    place: Place | None = None


@dataclass(slots=True)
class _Call:
    """One call of a module."""

    name: str
    module: nn.Module
    first: int
    largest_input: float
    last: int = -1

    @property
    def inputs_finite(self) -> bool:
        """Whether every input was finite."""
        return math.isfinite(self.largest_input)


@dataclass(slots=True)
class _Failure:
    """An operation whose derivative is not finite although its input is."""

    operation: str
    number: int
    parameter: str | None
    largest_gradient: float


@dataclass(slots=True)
class _PassLog:
    """Observations of one pass."""

    calls: list[_Call] = field(default_factory=list)
    bad: _Call | None = None
    passed_on: _Call | None = None
    leap: _Call | None = None
    failure: _Failure | None = None


def run_pass(
    model: nn.Module, batch: dict[str, Any], *, autocast: torch.dtype | None, locate: bool = True
) -> Pass:
    """Run a batch forward and, if that succeeds, backward; gradients accumulate in the model.

    Args:
        model: Copy of a model in training mode; its buffers change.
        batch: Batch as the trainer passes it to the model.
        autocast: Precision of AMP; None if disabled.
        locate: Whether to locate the failure, which takes twice the time.
    """
    log = _PassLog()
    device = batch["img"].device
    precision = torch.autocast(device.type, dtype=autocast, enabled=autocast is not None)
    with _forward_watched(model, log) if locate else _nothing(), precision, torch.enable_grad():
        loss = model(batch)[0].sum()
    value = float(loss.detach())
    if not (
        torch.isfinite(loss.detach()) and all_finite(buffer for _, buffer in _statistics(model))
    ):
        return Pass(loss=value, bad=True, place=_forward_place(model, log) if locate else None)
    with _backward_watched(model, loss, log) if locate else _nothing():
        loss.backward()
    if all_finite(p.grad for p in model.parameters() if p.grad is not None):
        return Pass(loss=value, bad=False)
    return Pass(loss=value, bad=True, place=_backward_place(model, log) if locate else None)


def run_evaluation(
    model: nn.Module, batch: dict[str, Any], *, autocast: torch.dtype | None
) -> Place | None:
    """Run a batch forward in evaluation mode, as a validation does, and return where it fails.

    Args:
        model: Copy of a model in evaluation mode.
        batch: Batch as the validator passes it to the model.
        autocast: Precision of AMP; None if disabled.

    Returns:
        Location of the first number that is not finite; None if all are, the loss included.
    """
    log, device = _PassLog(), batch["img"].device
    precision = torch.autocast(device.type, dtype=autocast, enabled=autocast is not None)
    with precision, torch.no_grad():
        with _forward_watched(model, log):
            predictions = model(batch["img"])
        if log.bad or log.passed_on:
            return _forward_place(model, log)
        loss = model.loss(batch, predictions)[0]  # type: ignore[operator]
    if all_finite([loss]):
        return None
    return Place(phase="loss", block=_loss_name(model), custom=has_custom_loss(model))


def block_of(model: nn.Module, path: str) -> str:
    """Return the block of a parameter or module, such as `model.0 Conv` for `model.0.conv`.

    Args:
        model: The unwrapped model.
        path: Dotted name in the model.
    """
    names = [block.name for block in model_blocks(model)]
    holders = [name for name in names if f"{path}.".startswith(f"{name.split(' ')[0]}.")]
    if holders:
        return max(holders, key=len)
    top = ".".join(path.split(".")[:2])
    return f"{top} {type(model.get_submodule(top)).__name__}" if path else type(model).__name__


def _forward_place(model: nn.Module, log: _PassLog) -> Place:
    """Return the first module with finite input and bad output; if there is none, with bad input.

    A module that turns usual numbers into absurd ones comes first: the next one overflows on them.
    The model as a whole returns the loss: if it is the first, none of its modules failed.
    Statistics may overflow although every output is finite.
    """
    call = log.leap or log.bad or log.passed_on
    if call is not None and call.name:
        return _place_of(model, call, "forward")
    bad_buffer = next(
        (name for name, buffer in _statistics(model) if not all_finite([buffer])), None
    )
    if bad_buffer is None:
        return Place(phase="loss", block=_loss_name(model), custom=has_custom_loss(model))
    owner = bad_buffer.rpartition(".")[0]
    layer = f"{owner} {type(model.get_submodule(owner)).__name__}"
    return Place(phase="forward", block=block_of(model, owner), layer=layer)


def _backward_place(model: nn.Module, log: _PassLog) -> Place:
    """Return the module whose operation failed first, or the first bad parameter."""
    failure = log.failure
    if failure is None:
        bad = next(
            n
            for n, p in model.named_parameters()
            if p.grad is not None and not all_finite([p.grad])
        )
        return Place(phase="gradient", block=block_of(model, bad), parameter=bad)
    inside = [call for call in log.calls if call.first <= failure.number < call.last and call.name]
    if not inside:
        return Place(
            phase="backward",
            block=_loss_name(model),
            operation=failure.operation,
            custom=has_custom_loss(model),
        )
    place = _place_of(model, max(inside, key=lambda c: c.first), "backward")
    return replace(
        place,
        operation=failure.operation,
        parameter=failure.parameter,
        largest_input=max(place.largest_input or 0.0, failure.largest_gradient),
    )


def _place_of(model: nn.Module, call: _Call, phase: Phase) -> Place:
    """Return the place of a module's call."""
    return Place(
        phase=phase,
        block=block_of(model, call.name),
        layer=f"{call.name} {type(call.module).__name__}",
        largest_input=call.largest_input,
        custom=inside_custom(model, call.name),
    )


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _forward_watched(model: nn.Module, log: _PassLog) -> Iterator[None]:
    """Watch every call of every module.

    A module that several blocks share (such as one SiLU for all) gets the name that it has below
    its caller.
    """
    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    stack: list[_Call] = []

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        caller = f"{stack[-1].name}." if stack and stack[-1].name else ""
        below = [name for name in names[module] if name.startswith(caller)] or names[module]
        first = torch.autograd._get_sequence_nr()  # type: ignore[attr-defined]
        # checked now, since an activation may overwrite its input
        entered = largest(tensors_in((args, kwargs)))
        stack.append(
            _Call(name=min(below, key=len), module=module, first=first, largest_input=entered)
        )

    def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        call = stack.pop()
        call.last = torch.autograd._get_sequence_nr()  # type: ignore[attr-defined]
        log.calls.append(call)
        left = largest(tensors_in(output))
        if log.bad is None and not math.isfinite(left):
            log.passed_on = log.passed_on or call
            log.bad = call if call.inputs_finite else None
        elif not (log.leap or log.passed_on) and left > _ABSURD and call.largest_input < _USUAL:
            log.leap = call

    handles = [m.register_forward_pre_hook(before, with_kwargs=True) for m in names]
    handles += [m.register_forward_hook(after, with_kwargs=True) for m in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _backward_watched(model: nn.Module, loss: Tensor, log: _PassLog) -> Iterator[None]:
    """Watch every operation of the backward; the first that fails is the culprit."""
    names = {id(p): n for n, p in model.named_parameters()}
    handles = []
    for node in _nodes(loss):

        def seen(inner: Any, outer: Any, node: Any = node) -> None:
            if (
                log.failure is None
                and all_finite(tensors_in(outer))
                and not all_finite(tensors_in(inner))
            ):
                log.failure = _Failure(
                    node.name(),
                    node._sequence_nr(),
                    _hit_parameter(node, inner, names),
                    largest(tensors_in(outer)),
                )

        handles.append(node.register_hook(seen))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _nodes(loss: Tensor) -> Iterator[Any]:
    """Yield every operation of the loss's graph, except for its leaves."""
    waiting, known = [loss.grad_fn], {loss.grad_fn}
    while waiting:
        node = waiting.pop()
        if node is None or hasattr(node, "variable"):
            continue
        yield node
        for following, _ in node.next_functions:
            if following not in known:
                known.add(following)
                waiting.append(following)


def _hit_parameter(node: Any, gradients: Any, names: Mapping[int, str]) -> str | None:
    """Return the parameter that received a bad gradient from an operation, if any."""
    for (following, _), gradient in zip(node.next_functions, gradients, strict=False):
        if (
            isinstance(gradient, Tensor)
            and hasattr(following, "variable")
            and not all_finite([gradient])
        ):
            return names.get(id(following.variable))
    return None


def _loss_name(model: nn.Module) -> str:
    """Return the class that computes the loss."""
    return type(getattr(model, "criterion", model)).__name__


def _statistics(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the running statistics by name; other buffers, such as masks, may contain -inf."""
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            yield name, buffer
