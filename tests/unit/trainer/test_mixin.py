"""Ownership of the optimizer step, and the copy of the stock step's body."""

from __future__ import annotations

import ast
import inspect
import textwrap

from ultralytics.engine.trainer import BaseTrainer
from ultralytics.models.yolo.detect import DetectionTrainer

from yolo_stability.compat.ultralytics import STOCK_MAX_NORM
from yolo_stability.trainer import trainers
from yolo_stability.trainer.mixin import StabilityMixin, owns_step
from yolo_stability.trainer.trainers import stability_class

STOCK_BODY = """
self.scaler.unscale_(self.optimizer)
if self.device.type == 'npu' and TORCH_2_0:
    torch.nn.utils.clip_grad_norm_(self.model.parameters(), max_norm=10.0, foreach=False)
else:
    torch.nn.utils.clip_grad_norm_(self.model.parameters(), max_norm=10.0)
self.scaler.step(self.optimizer)
self.scaler.update()
self.optimizer.zero_grad()
if self.ema:
    self.ema.update(self.model)
"""


class Plain(DetectionTrainer):
    """Inherits the stock step."""


class OwnStep(DetectionTrainer):
    """Overrides the step."""

    def optimizer_step(self) -> None:
        """Override the step."""


class Inherits(OwnStep):
    """Inherits an overridden step."""


class Mixed(StabilityMixin, DetectionTrainer):
    """Already has the mixin."""

    def optimizer_step(self) -> None:
        """Extend the step."""
        super().optimizer_step()


def test_stock_body_is_the_one_that_the_mixin_replaces() -> None:
    """On failure Ultralytics has changed its optimizer step: update `StabilityMixin` to match."""
    function = ast.parse(textwrap.dedent(inspect.getsource(BaseTrainer.optimizer_step))).body[0]
    assert isinstance(function, ast.FunctionDef)
    body = "\n".join(
        ast.unparse(statement) for statement in function.body[1:]
    )  # without the docstring
    assert body == STOCK_BODY.strip()
    assert f"max_norm={STOCK_MAX_NORM}" in body


def test_owns_the_step_unless_the_user_has_one() -> None:
    assert owns_step(stability_class(DetectionTrainer))
    assert owns_step(stability_class(Plain))
    assert owns_step(Mixed)
    assert not owns_step(stability_class(OwnStep))
    assert not owns_step(stability_class(Inherits))


def test_stock_trainers_get_the_static_class_and_users_a_class_of_their_own() -> None:
    assert stability_class(DetectionTrainer) is trainers.StabilityDetectionTrainer
    made = stability_class(Plain)
    assert made is stability_class(Plain)
    assert issubclass(made, StabilityMixin)
    assert issubclass(made, Plain)
    assert stability_class(Mixed) is Mixed


def test_a_users_class_with_the_name_of_a_stock_one_is_not_mistaken_for_it() -> None:
    impostor = type("DetectionTrainer", (DetectionTrainer,), {})
    assert issubclass(stability_class(impostor), impostor)


def test_names_end_in_trainer_or_the_loggers_of_ultralytics_do_not_attach() -> None:
    assert all(
        name.endswith("Trainer") for name in trainers.__all__ if name.startswith("Stability")
    )
    assert stability_class(Plain.__mro__[1]).__name__.endswith("Trainer")
    assert "Trainer" in stability_class(type("MyTrainer", (DetectionTrainer,), {})).__name__
