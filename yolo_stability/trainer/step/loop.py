"""`StepLoop`: the per-batch and per-step work of a watched run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from yolo_stability.config import StabilitySettings
from yolo_stability.core.types import StepRecord
from yolo_stability.gradients.updates import NOTHING, UpdateSampling
from yolo_stability.guard.guard import Guard, Reason
from yolo_stability.guard.incidents.capture import Evidence, IncidentKeeper
from yolo_stability.interventions.switches import Switches
from yolo_stability.trainer.step.batches import Batches
from yolo_stability.trainer.step.clipping import Clipping
from yolo_stability.trainer.step.gradient_reading import (
    GradientReader,
    Reading,
    agreed,
    unscaled,
)
from yolo_stability.trainer.step.inputs import is_sampled
from yolo_stability.trainer.step.journal import Journal
from yolo_stability.trainer.step.loop_state import LoopState
from yolo_stability.trainer.step.records import RecordKeeper, skip_details, worst_block
from yolo_stability.trainer.step.recovery import Recovery

__all__ = ["StepLoop"]


class StepLoop:
    """Follows a training from its first batch to its last.

    The trainer calls, in this order: `begin_iteration`, then at an optimizer step `before_unscale`,
    `admits`, `clip`, `before_update`, `after_update`; without one `end_iteration`.

    Args:
        state: State of the training, after its setup.
        settings: The yolo_stability options.
        switches: Clip and regularization.
        journal: Counters of the run; receives events.
        on_record: Receives each step record.

    Attributes:
        journal: Counters and events.
        reader: Measures gradients.
        batches: Prepares batches.
        records: Builds one record per step.
        recovery: Keeps healthy states and restores them.
    """

    def __init__(
        self,
        state: LoopState,
        settings: StabilitySettings,
        switches: Switches,
        journal: Journal,
        on_record: Callable[[StepRecord], None],
    ) -> None:
        self._state, self.journal = state, journal
        self.reader = GradientReader(state)
        self._sampling = UpdateSampling(self.reader.index, settings.watch_every)
        self._guard = Guard(state) if settings.guard != "off" else None
        self.recovery = Recovery(state, settings, journal, self._guard, self._before_restore)
        self.batches = Batches(state, switches, journal, self.recovery.warmup)
        self._clipping = Clipping(switches)
        self._incidents = IncidentKeeper(state, settings, journal.emit)
        self.records = RecordKeeper(
            state, self.reader, journal, self._sampling.positions, on_record
        )

    # Iterations

    def begin_iteration(self) -> None:
        """Register that a batch is about to be preprocessed and passed forward."""
        if self._guard and self.reader.window.iterations == 0:
            self._guard.before_window()
        self.reader.window.begin()
        self.batches.begin()

    def on_batch(self, batch: dict[str, Tensor]) -> None:
        """Prepare the preprocessed batch of this iteration and keep it for incidents."""
        if self.batches.prepare(batch):
            self.recovery.new_weights()
        self.reader.window.look(batch, measure=is_sampled(self.journal.step))
        first = self.reader.window.iterations == 0
        self._incidents.keep(self._state, batch, self.journal.iteration, first=first)

    def end_iteration(self) -> None:
        """Close an iteration; without an optimizer step, add its losses to the window."""
        if self.reader.window.pending:
            self.reader.end_iteration(measure=self._sampling.wants(self.journal.step))
            self._incidents.note_loss(self._state)
            if self._guard:
                self._guard.screen_losses(self._state)
        self.journal.iteration += 1
        if self.journal.stopped:
            self._state.stop()  # again, because `time=` resets the flag after each step

    # The optimizer step

    def before_unscale(self) -> None:
        """Add the losses of the latest iteration; apply a fault that is due."""
        self.reader.window.absorb(self._state)
        self.batches.damage_gradients()

    def admits(self) -> bool:
        """Measure the gradients and decide whether to take the step.

        Returns:
            Whether the step is admitted; a rejected step has already been undone and recorded.
        """
        largest = (self._guard or self._incidents).largest_buffer()
        reading = self.reader.read(largest, self.records.deferred)
        self.records.complete(*reading.deferred)
        local, reading = reading.signs, agreed(self._state, reading)
        evidence = self._incidents.evidence(self._state, reading.signs, local)
        reason = reading.signs.reason
        if self._guard is None or reason is None:
            self.reader.hold(reading)
            self._explain(evidence)
            return True
        self._skip(self._guard, reading, reason, evidence)
        return False

    def clip(self) -> None:
        """Apply the L1 penalty, then clip."""
        self.reader.hold(self._clipping.apply(self._state, self.reader.take()))

    def before_update(self) -> None:
        """Copy the weights if the update of this step is sampled."""
        self._sampling.before_update(self.journal.step)

    def after_update(self) -> None:
        """Record the step that was taken."""
        reading = self.reader.take()
        self.records.deferred = (
            *self._sampling.after_update(),
            self._clipping.take_coefficient(),
        )
        if self._guard:
            self._guard.accept(self._state)
        if self.records.applied(reading):
            step, loss, norm = self.journal.step, reading.signs.loss, reading.grad_norm
            self.records.outcome.observe(step, loss, norm, reading.clip_coef)
            if not self.recovery.applied(loss, norm):
                self._sampling.alarm()
        self.journal.step += 1

    def record_only(self) -> None:
        """Record a step of a trainer with its own `optimizer_step`; call before that method.

        The gradients are still multiplied by the AMP scale. Norms are linear in it, so dividing
        them is accurate.
        """
        self.before_unscale()
        reading = unscaled(self.reader.read(NOTHING, self.records.deferred))
        self._explain(self._incidents.evidence(self._state, reading.signs))
        self.records.applied(reading)
        self.journal.step += 1

    def restart(self, kind: str, data: dict[str, Any]) -> None:
        """Register that the trainer restarts an epoch.

        Args:
            kind: Kind of the event to emit.
            data: Details of the event.
        """
        self.journal.attempt += 1
        self.reader.window.clear()
        self.journal.emit(kind, None, data)

    def _skip(
        self, guard: Guard, reading: Reading, reason: Reason, evidence: Evidence | None
    ) -> None:
        """Undo and record a rejected step."""
        guard.undo(self._state)
        self._sampling.alarm()
        self.records.add(reading, "guard")
        block = worst_block(self.reader.blocks, reading)
        self.journal.emit("guard_skip", block, skip_details(reading, reason, guard.in_a_row))
        self._explain(evidence)
        self.recovery.skipped(reason)
        self.journal.step += 1

    def _explain(self, evidence: Evidence | None) -> None:
        """Write the incident of a bad step, if there is evidence of one."""
        self._incidents.write(self._state, evidence, self.journal.step, self.journal.attempt)

    def _before_restore(self) -> None:
        """Flush records and clear the window before a rollback, so that no record arrives later."""
        self.records.flush()
        self.reader.window.clear()
        self._sampling.alarm()
