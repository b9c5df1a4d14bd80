"""Preparation of a batch before its forward pass: faults, warm-up, exclusions, data-based init."""

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
    """Prepares each batch and injects the requested fault.

    Args:
        state: State of the training.
        switches: Switches of the run; one may initialize weights from the first batch.
        journal: Counters of the run.
        warmup: Warm-up progress of the run.

    Attributes:
        excluded_images: Names of image files excluded from batches.
    """

    def __init__(
        self, state: LoopState, switches: Switches, journal: Journal, warmup: WarmUp
    ) -> None:
        self.excluded_images: set[str] = set()
        self._state, self._switches, self._journal, self._warmup = state, switches, journal, warmup
        self._fault = parse_fault(switches.settings.fault)

    def begin(self) -> None:
        """Inject a fault into the next forward pass, if it is due."""
        if self._fault:
            self._fault.before_forward(self._state.host, self._journal.iteration)

    def prepare(self, batch: dict[str, Any]) -> bool:
        """Modify a preprocessed batch in place.

        Args:
            batch: The preprocessed batch.

        Returns:
            Whether the batch was used to initialize new weights.
        """
        if self._fault:
            self._fault.on_batch(batch, self._journal.iteration)
        self._warmup.apply(self._state, self._journal.iteration)
        if self.excluded_images:
            exclude_images(batch, self.excluded_images)
        if not self._switches.on_first_batch(self._state.model, batch["img"]):
            return False
        start_over(self._state)
        self._journal.notice(f"init: {self._switches.done['init']}")
        return True

    def damage_gradients(self) -> None:
        """Inject a fault into the accumulated gradients, if it is due."""
        if self._fault:
            self._fault.on_gradients(self._state.host, self._journal.step)
