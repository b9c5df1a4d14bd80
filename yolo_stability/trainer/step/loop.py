"""One watched run: what happens before a forward, at the optimizer step, and when the run must end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yolo_stability.compat.ultralytics import Trainer, inner_model
from yolo_stability.config import StabilitySettings
from yolo_stability.core.types import BlockSpec, Event, Skip, StepRecord
from yolo_stability.gradients.blocks import model_blocks
from yolo_stability.gradients.norms import BlockIndex, to_host
from yolo_stability.gradients.updates import UpdateSampler
from yolo_stability.guard.baseline import Baseline
from yolo_stability.guard.distributed import agree, all_ranks
from yolo_stability.guard.guard import Guard, Reason
from yolo_stability.guard.incidents.batch import leave_out
from yolo_stability.guard.incidents.capture import IncidentKeeper
from yolo_stability.guard.outcome import Outcome
from yolo_stability.guard.snapshots import HealthyStates, start_over
from yolo_stability.interventions.clips._base import Gradient
from yolo_stability.interventions.faults._base import parse_fault
from yolo_stability.interventions.switches import Switches
from yolo_stability.trainer.step.accumulation import Window, gradient_norm
from yolo_stability.trainer.step.gradient_reading import Reading, read_gradients, unscaled
from yolo_stability.trainer.step.records import (
    GroupRates,
    StepPlace,
    completed,
    skip_details,
    step_record,
    worst_block,
)
from yolo_stability.trainer.step.warmup import WarmUp

__all__ = ["Watch"]

_NOTHING = torch.zeros(0)
_DOUBT = 8  # steps between two looks of the rules
_NO_DATA: Mapping[str, Any] = {}


class Watch:
    """Follows a trainer from its first batch to its last.

    The trainer calls, in this order: `begin_iteration`, then at an optimizer step `before_unscale`, `admits`,
    `clip`, `before_update`, `after_update`; without one `end_iteration`.

    Args:
        trainer: The trainer, after its set-up.
        settings: Guard, sampling and fault.
        switches: What clips and regularises.
        on_record: Receives each step record.
        on_event: Receives each event.
        first_step: Optimizer step to count on from.
        first_iteration: Iteration to count on from.
        attempt: Attempt to start with.
    """

    def __init__(
        self,
        trainer: Trainer,
        settings: StabilitySettings,
        switches: Switches,
        *,
        on_record: Callable[[StepRecord], None],
        on_event: Callable[[Event], None],
        first_step: int = 0,
        first_iteration: int = 0,
        attempt: int = 0,
    ) -> None:
        model = inner_model(trainer)
        self.blocks: tuple[BlockSpec, ...] = model_blocks(model)
        self.step, self.iteration, self.attempt = first_step, first_iteration, attempt
        self.stopped: str | None = None
        self.left_out: set[str] = set()
        self._unhealthy_step = self._unresolved_skip = self.doubtful_step = -1
        self._settings, self._switches, self._on_record, self._on_event = (
            settings,
            switches,
            on_record,
            on_event,
        )
        self._index = BlockIndex.of(model, self.blocks)
        self._window, self._fault = Window(), parse_fault(settings.fault)
        self._sampler = UpdateSampler(
            [p for p in self._index.params if p.requires_grad], settings.watch_every
        )
        self._sampled_positions = self._index.positions[
            np.array([p.requires_grad for p in self._index.params], bool)
        ]
        self._guard = Guard(trainer) if settings.guard != "off" else None
        self._youngest = (
            4 if settings.rescue == "off" else 16
        )  # what a rescue wants to go back to lies before trouble
        self._limit = (
            0
            if settings.guard == "stop"
            else max(settings.guard_limit, 1 if settings.rescue == "off" else 3)
        )
        self.warmup = WarmUp()
        self.warmup.begin_epoch(trainer, trainer.start_epoch, first_iteration)
        self._healthy: HealthyStates | None = None
        if self._guard:
            self.begin_anew(trainer)
        self._incidents = IncidentKeeper(trainer, settings, self.emit)
        self.baseline, self.outcome = Baseline(), Outcome()
        self._reading: Reading | None = None
        self._held: StepRecord | None = None
        self._deferred: tuple[Tensor, Tensor, Tensor] = (_NOTHING, _NOTHING, _NOTHING)
        self._rates, self._coefficient, self._sampling = GroupRates(), _NOTHING, False
        self._clock = time.perf_counter()

    @property
    def unhealthy_step(self) -> int:
        """Last step that was unhealthy, or that was skipped and no healthy one has followed yet; -1 if none.

        A skipped step leaves the weights alone: the next healthy step proves that the batch was to blame.
        """
        return max(self._unhealthy_step, self._unresolved_skip)

    # Iterations

    def begin_iteration(self, trainer: Trainer) -> None:
        """Note that a batch is about to be preprocessed and passed forward."""
        if self._guard and self._window.iterations == 0:
            self._guard.before_window()
        self._window.begin()
        if self._fault:
            self._fault.before_forward(trainer, self.iteration)

    def on_batch(self, trainer: Trainer, batch: dict[str, Tensor]) -> None:
        """See the preprocessed batch of this iteration."""
        if self._fault:
            self._fault.on_batch(batch, self.iteration)
        self.warmup.apply(trainer, self.iteration)
        if self.left_out:
            leave_out(batch, self.left_out)
        if self._switches.on_first_batch(inner_model(trainer), batch["img"]):
            start_over(trainer)
            self.notice(f"init: {self._switches.done['init']}")
            if self._guard and self._healthy:
                self._guard.before_window()
                self.begin_anew(trainer)
        self._incidents.keep(trainer, batch, self.iteration, first=self._window.iterations == 0)

    def end_iteration(self, trainer: Trainer) -> None:
        """Close an iteration; if no optimizer step followed its backward, take its losses along."""
        if self._window.pending:
            self._window.absorb(trainer)
            if self._window.iterations == 1 and self._sampler.wants(self.step):
                self._window.micro_norm = gradient_norm(self._index)
            self._incidents.note_loss(trainer)
            if self._guard:
                self._guard.screen_losses(trainer)
        self.iteration += 1
        if self.stopped:
            trainer.stop = True  # `time=` resets it after each step

    # The optimizer step

    def before_unscale(self, trainer: Trainer) -> None:
        """Take the losses of the last iteration along; apply a fault that is due."""
        self._window.absorb(trainer)
        if self._fault:
            self._fault.on_gradients(trainer, self.step)

    def admits(self, trainer: Trainer) -> bool:
        """Measure the gradients and decide; a step that is not admitted has been undone and recorded."""
        largest = (self._guard or self._incidents).largest_buffer()
        reading = read_gradients(trainer, self._index, self._window, largest, self._deferred)
        self._complete_held(*reading.deferred)
        local, reading = reading.signs, replace(reading, signs=agree(trainer, reading.signs))
        evidence = self._incidents.evidence(trainer, reading.signs, local)
        reason = reading.signs.reason if self._guard else None
        if self._guard is None or reason is None:
            self._reading = reading
            self._incidents.write(trainer, evidence, self.step, self.attempt)
            return True
        self._guard.undo(trainer)
        self._sampler.alarm()
        self._finish(trainer, reading, "guard")
        self.emit(
            "guard_skip",
            worst_block(self.blocks, reading),
            skip_details(reading, reason, self._guard.in_a_row),
        )
        self._incidents.write(trainer, evidence, self.step, self.attempt)
        self._unresolved_skip = self.step
        if self._healthy:
            self._healthy.observe(trainer, self.step, healthy=False)
        if self._guard.in_a_row > self._limit:
            self._stop(trainer, reason)
        self.step += 1
        return False

    def clip(self, trainer: Trainer) -> None:
        """Add what regularises, then clip; stock's own clip reuses the norm that was measured."""
        assert self._reading is not None
        params = [p for p in trainer.model.parameters() if p.grad is not None]
        total, norm = self._reading.total, self._reading.raw_norm
        if self._switches.regularise(params):
            total = torch.nn.utils.get_total_norm([p.grad for p in params if p.grad is not None])
            norm = float(total)
        foreach = False if trainer.device.type == "npu" else None  # as the stock body
        gradient = Gradient(params=params, total=total, norm=norm, foreach=foreach)
        coefficient = self._switches.clip.apply(gradient)
        if isinstance(coefficient, Tensor):
            self._coefficient, coefficient = coefficient, None
        self._reading = replace(self._reading, clip_coef=coefficient)

    def before_update(self) -> None:
        """Copy the weights if this step's update is to be measured."""
        self._sampling = self._sampler.due(self.step)
        if self._sampling:
            self._sampler.before()

    def after_update(self, trainer: Trainer) -> None:
        """Record the step that was taken."""
        reading, self._reading = self._reading, None
        assert reading is not None
        updates = self._sampler.after() if self._sampling else (_NOTHING, _NOTHING)
        self._deferred, self._coefficient = (*updates, self._coefficient), _NOTHING
        if self._guard:
            self._guard.accept(trainer)
        applied = self._record_applied(trainer, reading)
        if applied:
            self.outcome.observe(
                self.step, reading.signs.loss, reading.grad_norm, reading.clip_coef
            )
        if applied and self._healthy:
            healthy = self.baseline.judge(reading.signs.loss, reading.grad_norm)
            if healthy:
                self._unresolved_skip = -1
            else:
                self._unhealthy_step = self.step
                self._sampler.alarm()
            healthy = healthy and (
                self.doubtful_step < 0 or self.step > self.doubtful_step + _DOUBT
            )  # set by a judge
            self._healthy.observe(
                trainer, self.step + 1, healthy=healthy, place=self.warmup.place(self.iteration + 1)
            )
        self.step += 1

    def record_only(self, trainer: Trainer) -> None:
        """Record a step whose body belongs to somebody else's trainer; call before that body runs.

        The gradients are still multiplied by the AMP scale then; a norm is linear, so dividing it is exact enough.
        """
        self.before_unscale(trainer)
        reading = unscaled(
            read_gradients(trainer, self._index, self._window, _NOTHING, self._deferred)
        )
        self._incidents.write(
            trainer, self._incidents.evidence(trainer, reading.signs), self.step, self.attempt
        )
        self._record_applied(trainer, reading)
        self.step += 1

    # Recoveries and the end

    def restart(self, kind: str, data: dict[str, Any]) -> None:
        """Note that the trainer starts an epoch over: kind and details of the event."""
        self.attempt += 1
        self._window.clear()
        self.emit(kind, None, data)

    def keep_finite(self, trainer: Trainer) -> None:
        """Put the last healthy state back if the present one is not finite.

        A huge learning rate can blow weights up in one step whose gradients were finite.
        """
        if not (self._guard and self._healthy):
            return
        if not all_ranks(trainer, self._guard.is_finite(trainer)):
            restored = self._restore(trainer, self._healthy)
            self.emit(
                "rollback", None, {"restored_step": restored, "why": "the weights were not finite"}
            )

    def notice(self, text: str) -> None:
        """Say something once, in console and trace."""
        self.emit("notice", None, {"text": text})

    def skipped_to_the_end(self) -> str | None:
        """Say so if the run ends with steps that were all skipped; None otherwise."""
        count = self._guard.in_a_row if self._guard else 0
        return (
            f"the last {count} steps were all skipped: nothing was learnt from them"
            if count > 1
            else None
        )

    def flush(self) -> None:
        """Hand over the record that still waits for its update ratio."""
        if self._held is not None:
            self._complete_held(*to_host(*self._deferred))

    def roll_back(self, trainer: Trainer, before: int | None) -> int:
        """Put back the last healthy state, from before a step if that is known; return its step."""
        assert self._healthy and self._guard  # noqa: PT018
        self._guard.in_a_row, self.baseline = 0, Baseline()
        return self._restore(trainer, self._healthy, before)

    def begin_anew(self, trainer: Trainer) -> None:
        """Take the present state for the healthy one, and forget those before: a run or a sitting begins here."""
        place = self.warmup.place(self.iteration)
        self._healthy = HealthyStates(trainer, self.step, youngest=self._youngest, place=place)

    def end_early(
        self, trainer: Trainer, kind: str, text: str, data: Mapping[str, Any] = _NO_DATA
    ) -> None:
        """End the run with its last healthy state if there is one.

        Args:
            trainer: The trainer.
            kind: Kind of the event.
            text: Why, in one sentence without its full stop.
            data: More for the event.
        """
        restored = self._restore(trainer, self._healthy) if self._healthy else None
        kept = "" if restored is None else f" The state of step {restored} was restored and saved."
        self.stopped = f"{text}.{kept}"
        self.emit(kind, None, {**data, "text": self.stopped, "restored_step": restored})
        trainer.stop = True

    def _restore(self, trainer: Trainer, healthy: HealthyStates, before: int | None = None) -> int:
        """Put the last healthy state back; return its step. No record of what is undone may arrive later."""
        self.flush()
        self._unhealthy_step = self.step
        self._window.clear()
        self._sampler.alarm()
        trainer.optimizer.zero_grad()
        healthy.restore(trainer, before)
        self.warmup.return_to(healthy.place, self.iteration)
        return healthy.step

    def _stop(self, trainer: Trainer, reason: Reason) -> None:
        """End the run because the guard has skipped too many steps."""
        assert self._guard is not None
        text = f"{self._guard.in_a_row} step(s) in a row were non-finite ({reason}) at step {self.step}"
        self.end_early(trainer, "guard_stop", text, {"reason": reason})

    def _record_applied(self, trainer: Trainer, reading: Reading) -> bool:
        """Record a step that the guard let pass; return whether the AMP scaler did, too."""
        overflowed = reading.signs.scaler_enabled and reading.signs.nonfinite_gradients > 0
        self._finish(trainer, reading, "scaler" if overflowed else None)
        if overflowed:
            self.emit(
                "scaler_skip", worst_block(self.blocks, reading), {"scale": reading.amp_scale}
            )
        return not overflowed

    def _finish(self, trainer: Trainer, reading: Reading, skipped: Skip | None) -> None:
        """Build the record of the step and hand it over, or hold it until its update ratio arrives."""
        now = time.perf_counter()
        place = StepPlace(
            attempt=self.attempt,
            step=self.step,
            iteration=self.iteration,
            accumulate=max(self._window.iterations, 1),
        )
        record = step_record(
            trainer, self.blocks, reading, place, self._rates, skipped, now - self._clock
        )
        self._clock = now
        self._window.clear()
        if any(len(vector.reshape(-1)) for vector in self._deferred):
            self._held = record
        else:
            self._on_record(record)

    def _complete_held(
        self,
        weights: NDArray[np.float64],
        deltas: NDArray[np.float64],
        coefficient: NDArray[np.float64],
    ) -> None:
        """Add what was still on the device to the held record and hand it over."""
        record, self._held = self._held, None
        self._deferred = (_NOTHING, _NOTHING, _NOTHING)
        if record is not None:
            positions = self._sampled_positions
            self._on_record(completed(record, self._index, positions, weights, deltas, coefficient))

    def emit(self, kind: str, block: str | None, data: dict[str, Any]) -> None:
        """Hand over an event of the current step."""
        self._on_event(
            Event(attempt=self.attempt, step=self.step, kind=kind, block=block, data=data)
        )
