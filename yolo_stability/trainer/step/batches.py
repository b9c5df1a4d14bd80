"""What happens to a batch before its forward: faults, a restored warm-up, quarantine, weights made from data."""

from __future__ import annotations

from typing import Any

from yolo_stability.guard.incidents.batch import exclude_images
from yolo_stability.guard.snapshots import start_over
from yolo_stability.interventions.faults import parse_fault
from yolo_stability.interventions.switches import Switches
from yolo_stability.trainer.step.journal import Journal
from yolo_stability.trainer.step.loop_state import LoopState
from yolo_stability.trainer.step.warmup import WarmUp

__all__ = ["Batches"]


class Batches:
    """Prepares each batch, and strikes with the fault that was asked for.

    Args:
        state: The training.
        switches: They may initialise weights from the first batch.
        journal: Where the run is.
        warmup: Where its warm-up is.

    Attributes:
        left_out: Names of image files that batches do without.
    """

    def __init__(
        self, state: LoopState, switches: Switches, journal: Journal, warmup: WarmUp
    ) -> None:
        self.left_out: set[str] = set()
        self._state, self._switches, self._journal, self._warmup = state, switches, journal, warmup
        self._fault = parse_fault(switches.settings.fault)

    def begin(self) -> None:
        """Arrange what goes wrong in the coming forward."""
        if self._fault:
            self._fault.before_forward(self._state.host, self._journal.iteration)

    def prepare(self, batch: dict[str, Any]) -> bool:
        """Change a preprocessed batch in place; return whether it has given the model new weights."""
        if self._fault:
            self._fault.on_batch(batch, self._journal.iteration)
        self._warmup.apply(self._state, self._journal.iteration)
        if self.left_out:
            exclude_images(batch, self.left_out)
        if not self._switches.on_first_batch(self._state.model, batch["img"]):
            return False
        start_over(self._state)
        self._journal.notice(f"init: {self._switches.done['init']}")
        return True

    def damage_gradients(self) -> None:
        """Damage a finished gradient, if that is due."""
        if self._fault:
            self._fault.on_gradients(self._state.host, self._journal.step)
