"""Where a NaN or an Inf can get into a training: each place with what puts it there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import BaseModel
from ultralytics.utils.torch_utils import unwrap_model

Strike = Callable[[Any, float], None]
VALUES = {5: float("nan"), 10: float("inf"), 15: float("-inf")}
"""Value by iteration; an epoch has four iterations, so the last one is at the end of an epoch."""


@dataclass(frozen=True)
class Place:
    """One place.

    Attributes:
        name: What a person calls it.
        strike: Puts the value there; called with the trainer before the batch that meets it.
        net: What must catch it: `skip` (the step is left out), `rollback` (the last healthy state
            is put back at the end of the epoch), `harmless` (no box of that kind is matched),
            `shown` (only what is shown is touched).
        task: detect or pose.
        changed: Keys of the training.
    """

    name: str
    strike: Strike
    net: str = "skip"
    task: str = "detect"
    changed: dict[str, Any] = field(default_factory=dict)


class Blow:
    """Fault due at this iteration; set before the batch, consumed by the computation."""

    batch: Callable[[dict[str, Any]], None] | None = None
    loss: Callable[[Any], Any] | None = None
    handles: tuple[Any, ...] = ()


def net_of(trainer: Any) -> Any:
    return unwrap_model(trainer.model)


def first(tensor: Tensor, value: float) -> None:
    """Put the value into the first element."""
    with torch.no_grad():
        tensor.detach().view(-1)[:1] = value


def whole(tensor: Tensor, value: float) -> None:
    """Put the value everywhere."""
    with torch.no_grad():
        tensor.detach().fill_(value)


def in_batch(key: str, put: Callable[[Tensor, float], None]) -> Strike:
    def strike(_: Any, value: float) -> None:
        Blow.batch = lambda batch: put(batch[key], value)

    return strike


def in_loss(change: Callable[[Any, Any, float], Any]) -> Strike:
    def strike(_: Any, value: float) -> None:
        Blow.loss = lambda out: change(*out, value)

    return strike


def items_changed(loss: Any, items: Any, value: float) -> Any:
    """Change one loss item alone; a dict since Ultralytics 8.4.120, a tensor before."""
    if isinstance(items, dict):
        key = next(iter(items))
        return loss, {**items, key: torch.full_like(items[key], value)}
    items = items.clone()
    items[0] = value
    return loss, items


def in_gradient(
    choose: Callable[[str, nn.Parameter], bool], *, all_of_them: bool = False
) -> Strike:
    """Damage the gradient of the first matching parameter, or of all, after the backward pass."""

    def strike(trainer: Any, value: float) -> None:
        def hook(grad: Tensor) -> Tensor:
            struck = grad.clone()
            first(struck.contiguous() if not struck.is_contiguous() else struck, value)
            return struck

        named = [
            p for n, p in net_of(trainer).named_parameters() if choose(n, p) and p.requires_grad
        ]
        assert named
        Blow.handles = tuple(p.register_hook(hook) for p in (named if all_of_them else named[:1]))

    return strike


def in_activation(index: int) -> Strike:
    def strike(trainer: Any, value: float) -> None:
        def hook(_: Any, __: Any, out: Tensor) -> Tensor:
            return torch.cat([out[:1] + value, out[1:]])

        Blow.handles = (net_of(trainer).model[index].register_forward_hook(hook),)

    return strike


def in_tensor(of: str, part: str, put: Callable[[Tensor, float], None] = first) -> Strike:
    """Strike the first tensor of model or EMA whose name holds a text."""

    def strike(trainer: Any, value: float) -> None:
        model = net_of(trainer) if of == "model" else trainer.ema.ema
        put(next(t for n, t in model.state_dict(keep_vars=True).items() if part in n), value)

    return strike


def in_optimizer(slot: str) -> Strike:
    def strike(trainer: Any, value: float) -> None:
        first(
            next(s[slot] for s in trainer.optimizer.state.values() if s.get(slot) is not None),
            value,
        )

    return strike


def in_group(key: str) -> Strike:
    def strike(trainer: Any, value: float) -> None:
        group = max(trainer.optimizer.param_groups, key=lambda g: g["weight_decay"])
        group[key] = (value, group[key][1]) if isinstance(group[key], tuple) else value

    return strike


def in_scaler(trainer: Any, value: float) -> None:
    """Strike the scale of AMP; the training must have one."""
    whole(trainer.scaler._scale, value)


ADAM = {"optimizer": "AdamW"}


def named(part: str) -> Callable[[str, nn.Parameter], bool]:
    return lambda n, _: part in n


PLACES = (
    Place("one pixel of an image", in_batch("img", first)),
    Place("a whole image", in_batch("img", lambda t, v: whole(t[0], v))),
    Place("every image of a batch", in_batch("img", whole)),
    Place("a box of a batch", in_batch("bboxes", first), net="harmless"),
    Place("every box of a batch", in_batch("bboxes", whole), net="harmless"),
    Place("a keypoint of a batch", in_batch("keypoints", first), task="pose"),
    Place("the activations of a backbone block", in_activation(1)),
    Place("the activations of a neck block", in_activation(6)),
    Place("the loss", in_loss(lambda loss, items, v: (loss * v, items))),
    Place("a loss item alone", in_loss(items_changed), net="shown"),
    Place("the gradient of the backbone", in_gradient(named("model.2."))),
    Place("the gradient of the neck", in_gradient(named("model.6."))),
    Place("the gradient of the box branch", in_gradient(named(".cv2."))),
    Place("the gradient of the class branch", in_gradient(named(".cv3."))),
    Place("the gradient of the one-to-one box branch", in_gradient(named("one2one_cv2"))),
    Place("the gradient of the one-to-one class branch", in_gradient(named("one2one_cv3"))),
    Place("the gradient of the keypoint branch", in_gradient(named(".cv4.")), task="pose"),
    Place("the gradient of a bias", in_gradient(lambda n, p: n.endswith("cv2.0.2.bias"))),
    Place("the gradient of a BatchNorm weight", in_gradient(named("bn.weight"))),
    Place("every gradient", in_gradient(lambda *_: True, all_of_them=True)),
    Place("a convolution's weight", in_tensor("model", "model.2.cv1.conv.weight"), net="rollback"),
    Place("a BatchNorm weight", in_tensor("model", "model.6.cv2.bn.weight"), net="rollback"),
    Place("a bias of the head", in_tensor("model", "one2one_cv3.0.2.bias"), net="rollback"),
    Place("BatchNorm's running mean", in_tensor("model", "model.1.bn.running_mean")),
    Place("BatchNorm's running variance", in_tensor("model", "model.1.bn.running_var")),
    Place("a weight of the EMA", in_tensor("ema", "model.0.conv.weight"), net="rollback"),
    Place("the EMA's running mean", in_tensor("ema", "bn.running_mean"), net="rollback"),
    Place("the EMA's running variance", in_tensor("ema", "bn.running_var", whole), net="rollback"),
    Place("SGD's momentum buffer", in_optimizer("momentum_buffer"), net="rollback"),
    Place("AdamW's first moment", in_optimizer("exp_avg"), net="rollback", changed=ADAM),
    Place("AdamW's second moment", in_optimizer("exp_avg_sq"), net="rollback", changed=ADAM),
    Place("the learning rate", in_group("lr"), net="rollback"),
    Place("the momentum", in_group("momentum"), net="rollback"),
    Place("the weight decay", in_group("weight_decay"), net="rollback"),
    Place("AdamW's betas", in_group("betas"), net="rollback", changed=ADAM),
    Place("the scale of AMP", in_scaler, net="rollback"),
)


def hands_of(place: Place, struck: list[float]) -> dict[str, Callable[[Any], None]]:
    """Return what to do at events of a training so that the place is struck."""
    count = iter(range(10**9))

    def begin(trainer: Any) -> None:
        value = VALUES.get(next(count))
        if value is not None:
            place.strike(trainer, value)
            struck.append(value)

    def end(_: Any) -> None:
        for handle in Blow.handles:
            handle.remove()
        Blow.handles, Blow.batch, Blow.loss = (), None, None

    return {"on_train_batch_start": begin, "on_train_batch_end": end}


@contextlib.contextmanager
def blows(patch: Any) -> Iterator[None]:
    """Let batches and losses take what is due.

    Args:
        patch: pytest's monkeypatch.
    """
    preprocess, loss = DetectionTrainer.preprocess_batch, BaseModel.loss

    def preprocessed(trainer: Any, batch: Any) -> Any:
        batch = preprocess(trainer, batch)
        if Blow.batch and trainer.model.training:
            Blow.batch(batch)
        return batch

    def lost(model: Any, *args: Any, **kwargs: Any) -> Any:
        out = loss(model, *args, **kwargs)
        return Blow.loss(out) if Blow.loss and model.training else out

    with patch.context() as context:
        context.setattr(DetectionTrainer, "preprocess_batch", preprocessed)
        context.setattr(BaseModel, "loss", lost)
        yield
