"""`WatchedRun`: one run of one trainer, with its step loop, trace, checkpoints and sinks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo_stability.compat.ultralytics import Trainer, is_writer
from yolo_stability.config import StabilitySettings
from yolo_stability.core.signals import shielded
from yolo_stability.core.types import RunHeader
from yolo_stability.guard.distributed import is_distributed
from yolo_stability.guard.incidents.evaluation import EvaluationCheck
from yolo_stability.guard.preconditions import require_sound_start
from yolo_stability.interventions.switches import Switches
from yolo_stability.trace import (
    FOLDER,
    SCHEMA_VERSION,
    clear_trace,
    lock_folder,
    resume_point,
    unlock_folder,
)
from yolo_stability.trace.arrays import PER_IMAGE
from yolo_stability.trainer.epoch_log import EpochLog
from yolo_stability.trainer.live_findings import LiveFindings
from yolo_stability.trainer.loggers import Sink
from yolo_stability.trainer.notices import few_steps, limits, mistakes
from yolo_stability.trainer.outputs import Outputs
from yolo_stability.trainer.policy import Policy
from yolo_stability.trainer.rescue.controller import Rescue
from yolo_stability.trainer.rescue.preconditions import check_rescue
from yolo_stability.trainer.rescue.prepare import prepare_rescue
from yolo_stability.trainer.run_end import end_data, session_end
from yolo_stability.trainer.settings import effective
from yolo_stability.trainer.settings.sidecar import SIDECAR, resumed_settings, write_sidecar
from yolo_stability.trainer.step.journal import Journal
from yolo_stability.trainer.step.loop import StepLoop
from yolo_stability.trainer.trainer_state import TrainerState

__all__ = ["WatchedRun"]

_SLOW_SECONDS = 0.3


class WatchedRun:
    """State of the package while one trainer trains.

    Args:
        owner: The monitor that watches the trainer.
        settings: The yolo_stability options.
        requested: Settings the user requested; None to record the trainer arguments that differ
            from Ultralytics' defaults.
        sinks: Sinks of this run.
        policy: Creates the policy that evaluates the run, from the effective settings; None for no
            policy.
        owns_step: Whether the mixin replaces the trainer's optimizer step.
        trace_version: Version of the trace of a new run; a resumed one keeps its own.
    """

    def __init__(
        self,
        owner: Any,
        settings: StabilitySettings,
        requested: Mapping[str, Any] | None,
        sinks: Sequence[Sink],
        policy: Callable[[StabilitySettings], Policy] | None = None,
        *,
        owns_step: bool = True,
        trace_version: int = SCHEMA_VERSION,
    ) -> None:
        self.owner = owner
        self.loop: StepLoop | None = None
        self.header: RunHeader | None = None
        self._settings, self._requested = settings, requested
        self._outputs, self._version = Outputs(sinks), trace_version
        self._epochs = EpochLog(self._outputs.epoch)
        self._outer_error: BaseException | None = None
        self._make_policy, self._owns_step = policy, owns_step
        self._rescue: Rescue | None = None
        self._evaluation: EvaluationCheck | None = None
        self._switches: Switches | None = None
        self._locked: Path | None = None
        self._epoch = 0
        self._before = (0, 0)  # steps and iterations of earlier sessions
        self._oom_retries = self._batch = 0
        self._clock = time.monotonic()
        self._ended = self._closed = self._saved_since_stop = False

    @property
    def stopped(self) -> str | None:
        """Reason why the guard, `fail_on` or a rescue ended the run; None otherwise."""
        return self.loop.journal.stopped if self.loop else None

    @property
    def closed(self) -> bool:
        """Whether all outputs have been written and closed."""
        return self._closed

    def switches(self, trainer: Trainer) -> Switches:
        """Return the switches of this run; a resumed run uses those of its first session.

        They are needed long before the training starts, because the model is built with them.
        """
        if self._switches is None:
            if trainer.resume:
                self._settings = resumed_settings(
                    trainer.save_dir, self._settings, self._outputs.warn
                )
            self._switches = Switches(self._settings)
        return self._switches

    # Events of the training loop, in chronological order

    def lock(self, trainer: Trainer) -> None:
        """Lock the run folder; raise StabilityError if another run trains in it."""
        if self._locked is None and is_writer():
            folder = trainer.save_dir / FOLDER
            self._outputs.warn(lock_folder(folder))
            self._locked = folder

    def start(self, trainer: Trainer) -> None:
        """Open the trace and start watching; until then the trainer can be sent to workers."""
        self.lock(trainer)
        self._outer_error = sys.exception()  # the training may run in someone's `except` block
        folder = trainer.save_dir / FOLDER
        point = resume_point(folder) if trainer.resume else None
        first = effective.first_header(folder, self._outputs.warn) if point else None
        self._version = first.schema_version if first else self._version
        # Order matters: for a resumed run, `switches` replaces the settings.
        switches, requested = self.switches(trainer), self._settings
        self._settings = effective.supported(trainer, requested, owns_step=self._owns_step)
        self._batch = trainer.batch_size
        self._before = (point.step + 1, point.iteration + 1) if point else (0, 0)
        state = TrainerState(trainer)
        loop = self._make_loop(state, switches, attempt=point.attempt + 1 if point else 0)
        loop.reader.loss_factor = effective.loss_factor(trainer, self._version)
        self._evaluation = EvaluationCheck(loop.journal.emit, enabled=requested.incidents > 0)
        cost = check_rescue(state, self._settings)
        self.loop = loop  # from here on, `close` writes
        if is_writer():
            self._open(trainer, loop, requested, first, resumed=point is not None)
        else:
            self._outputs.mute()
        if self._make_policy:
            policy = self._make_policy(self._settings)
            summed = loop.reader.loss_factor == PER_IMAGE
            policy.open(loop.reader.blocks, self.header, summed=summed)
            self._outputs.findings = LiveFindings(policy, self._outputs.event, self._outputs.warn)
        if requested.rescue != "off":
            findings = self._outputs.findings
            self._rescue = prepare_rescue(
                state,
                loop,
                findings.policy if findings else None,
                switches,
                self._settings.rescue,
                cost,
                known=point is not None,
            )
        if point:
            data = {"requested": dict(self._requested or {}), "settings": requested.model_dump()}
            loop.journal.emit("resume", None, {**data, "epoch": trainer.start_epoch})
        for text in limits(trainer, switches, requested, self._settings):
            loop.journal.notice(text)

    def _make_loop(self, state: TrainerState, switches: Switches, *, attempt: int) -> StepLoop:
        """Return the step loop; nothing is written yet."""
        if self._settings.guard != "off":
            require_sound_start(state)
        step, iteration = self._before
        journal = Journal(self._outputs.event, attempt=attempt, step=step, iteration=iteration)
        return StepLoop(state, self._settings, switches, journal, self._outputs.record)

    def begin_epoch(self, trainer: Trainer) -> None:
        """Detect that the loop restarted the epoch after an out-of-memory error."""
        retries = getattr(trainer, "_oom_retries", 0)
        if self.loop and retries > self._oom_retries:
            self.loop.restart("oom_restart", {"epoch": trainer.epoch, "batch": trainer.batch_size})
        self._oom_retries, self._epoch = retries, trainer.epoch
        if self.loop:
            self.loop.recovery.begin_epoch(trainer.epoch)
            self._epochs.begin(trainer, self.loop)

    def end_iteration(self, trainer: Trainer) -> None:
        """Close an iteration, flush delayed records, and respond to findings.

        A record waits for its update ratio until the next step, which saves a GPU synchronization.
        On a CPU there is nothing to save, and where steps are slow the saving is negligible, while
        a killed process would lose the waiting record.
        """
        assert self.loop is not None
        self.loop.end_iteration()
        now = time.monotonic()
        if trainer.device.type == "cpu" or now - self._clock > _SLOW_SECONDS:
            self.loop.records.flush()
        self._clock = now
        self._act(self.loop)

    def _act(self, loop: StepLoop, *, stepped: bool = True) -> None:
        """End or rescue the run if the findings require it."""
        findings = self._outputs.findings
        if findings is None or self.stopped is not None:
            return
        if findings.critical and self._settings.fail_on == "critical":
            step = loop.journal.step
            text = f"fail_on=critical ended the run at step {step}: {findings.critical}"
            loop.recovery.end_early("fail_on", text)
        elif self._rescue and findings.policy:
            loop.recovery.doubt(findings.policy.doubtful_step)
            self._rescue.act(stepped=stepped)

    def end_epoch(self, trainer: Trainer) -> None:
        """Flush records and end the epoch; roll back a non-finite state, which hangs validation."""
        if self.loop:
            self.loop.records.flush()
            findings = self._outputs.findings
            if findings and self._rescue:  # before an unhealthy state is validated and saved
                findings.ask()
                self._act(self.loop, stepped=False)
            self.loop.recovery.keep_finite()
        self._outputs.end_epoch(trainer.epoch)

    def before_save(self, trainer: Trainer) -> None:
        """Make sure that the state to be saved is finite."""
        # In a distributed run only rank 0 saves, so it cannot agree with the other ranks here.
        if self.loop and not is_distributed(trainer):
            self.loop.recovery.keep_finite()

    def after_save(self, trainer: Trainer) -> None:
        """Consider the checkpoint for `healthy.pt`."""
        self._saved_since_stop = self.stopped is not None
        if self.loop:
            self._outputs.saved(
                trainer.last,
                step=self.loop.journal.step,
                unhealthy_step=self.loop.recovery.unhealthy_step,
                proven=self.stopped is not None,
            )

    def validated(self, trainer: Trainer, metrics: Mapping[str, Any]) -> None:
        """Register that the current epoch has been validated; explain losses not finite."""
        self._epochs.validated()
        if self._evaluation and is_writer():
            self._evaluation.after_validation(TrainerState(trainer), metrics)

    def recovered(self, trainer: Trainer) -> None:
        """Register that Ultralytics restored `last.pt` and replays the epoch."""
        if self.loop:
            self._epochs.end(trainer, self.loop, replayed=True)
            self.loop.restart("nan_recovery", {"epoch": self._epoch})
        if self._rescue:
            self._rescue.recovered()

    def failed_to_recover(self, trainer: Trainer) -> None:
        """Record the epoch with which Ultralytics gave up."""
        if self.loop:
            self._epochs.end(trainer, self.loop, replayed=True)

    def end_fit_epoch(self, trainer: Trainer) -> None:
        """Record the epoch, and save the restored state of a run that was ended early.

        It is saved with `save=False` too.
        """
        if self.loop:
            self._epochs.end(trainer, self.loop)
        if self.stopped and is_writer() and not self._saved_since_stop:
            trainer.save_model()

    def ended(self) -> None:
        """Register that the training loop has completed."""
        self._ended = True

    def close(self, trainer: Trainer, error: BaseException | None = None) -> None:
        """Write all outputs, however the training ended; a second interrupt waits meanwhile.

        Args:
            trainer: The trainer.
            error: Exception that is being handled, if any.
        """
        with shielded():
            if self.loop is not None and not self._closed:
                self._closed = True
                self._finish(trainer, self.loop, None if error is self._outer_error else error)
            if self._locked is not None:
                unlock_folder(self._locked)
                self._locked = None

    def _finish(self, trainer: Trainer, loop: StepLoop, error: BaseException | None) -> None:
        """Flush records, emit the end event, and close all outputs."""
        loop.records.flush()
        if self._ended:
            self._notice(few_steps(loop.journal, self._before, self._epoch, self._batch))
        ended = self._ended and self.stopped is None
        if ended:
            self._notice(loop.records.outcome.failure())
            self._notice(loop.recovery.skipped_to_the_end())
        end = session_end(
            trainer, self._epochs, ended=self._ended, early=loop.journal.stopped_by, error=error
        )
        loop.journal.emit("end", None, end_data(end, self.stopped))
        self._outputs.close(
            step=loop.journal.step,
            unhealthy_step=loop.recovery.unhealthy_step,
            ended=ended,
        )

    def _notice(self, text: str | None) -> None:
        """Emit a notice, if there is one."""
        if text and self.loop:
            self.loop.journal.notice(text)

    def _open(
        self,
        trainer: Trainer,
        loop: StepLoop,
        settings: StabilitySettings,
        first: RunHeader | None,
        *,
        resumed: bool,
    ) -> None:
        """Write sidecar and header; a resumed run keeps its first ID and requested settings."""
        assert self._switches is not None
        folder = trainer.save_dir / FOLDER
        try:
            write_sidecar(trainer.save_dir, settings)
        except OSError as error:
            self._outputs.warn(
                f"{SIDECAR} could not be written: {error.strerror}; "
                "a resumed run will use the defaults."
            )
        given = self._requested or effective.requested_settings(trainer)
        requested = {**given, **settings.model_dump()}
        options = effective.options_in_force(
            self._settings, self._switches, loop.reader.loss_factor, owns_step=self._owns_step
        )
        header = effective.build_header(
            trainer, loop.reader.blocks, requested, options, self._version
        )
        if first is not None:
            header = effective.as_first_recorded(header, first)
        elif not resumed:
            clear_trace(folder)
        self.header = header
        for text in mistakes(trainer, header):
            self._outputs.warn(text)
        self._outputs.open(folder, header, guarded=self._settings.guard != "off")
