"""One run of one trainer: its step loop, its trace on disk, its checkpoints and its sinks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo_stability.compat.ultralytics import Trainer, is_writer
from yolo_stability.config import StabilitySettings
from yolo_stability.core.errors import TraceError
from yolo_stability.core.signals import shielded
from yolo_stability.core.types import RunHeader
from yolo_stability.guard.distributed import is_distributed
from yolo_stability.guard.preconditions import require_sound_start
from yolo_stability.interventions.switches import Switches
from yolo_stability.trace import (
    FOLDER,
    clear_trace,
    lock_folder,
    read_header,
    resume_point,
    unlock_folder,
)
from yolo_stability.trainer.live_findings import LiveFindings
from yolo_stability.trainer.loggers import Sink
from yolo_stability.trainer.outputs import Outputs
from yolo_stability.trainer.policy import Policy
from yolo_stability.trainer.rescue.controller import Rescue
from yolo_stability.trainer.rescue.preconditions import check_rescue
from yolo_stability.trainer.rescue.remedies import LiveRemedies
from yolo_stability.trainer.settings import effective
from yolo_stability.trainer.settings.sidecar import SIDECAR, resumed_settings, write_sidecar
from yolo_stability.trainer.step.journal import Journal
from yolo_stability.trainer.step.loop import StepLoop
from yolo_stability.trainer.trainer_state import TrainerState

__all__ = ["WatchedRun"]

_SLOW_SECONDS = 0.3


class WatchedRun:
    """Everything the package holds while one trainer trains.

    Args:
        owner: The monitor that watches.
        settings: Guard, sampling and fault.
        requested: What the user asked for; None to take what differs from Ultralytics' defaults.
        sinks: Sinks of this run.
        policy: Makes what judges it while it goes on, from the settings in force; None for nobody.
        owns_step: The optimizer step of the trainer is ours.
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
    ) -> None:
        self.owner = owner
        self.loop: StepLoop | None = None
        self.header: RunHeader | None = None
        self._settings, self._requested = settings, requested
        self._outputs = Outputs(sinks)
        self._make_policy, self._owns_step = policy, owns_step
        self._rescue: Rescue | None = None
        self._switches: Switches | None = None
        self._claimed: Path | None = None
        self._epoch = self._first_step = self._first_iteration = 0
        self._oom_retries = self._batch = 0
        self._clock = time.monotonic()
        self._ended = self._closed = self._saved_since_stop = False

    @property
    def stopped(self) -> str | None:
        """Why the guard, `fail_on` or a rescue ended the run; None while none did."""
        return self.loop.journal.stopped if self.loop else None

    @property
    def closed(self) -> bool:
        """Whether everything is written."""
        return self._closed

    def switches(self, trainer: Trainer) -> Switches:
        """Return the switches of this run; those of its first sitting when it is resumed.

        They are needed long before the training starts: the model is built with them.
        """
        if self._switches is None:
            if trainer.resume:
                self._settings = resumed_settings(
                    trainer.save_dir, self._settings, self._outputs.warn
                )
            self._switches = Switches(self._settings)
        return self._switches

    # Events of the training loop, in their order

    def claim(self, trainer: Trainer) -> None:
        """Take the run folder before anything in it changes; raise StabilityError if another run trains there."""
        if self._claimed is None and is_writer():
            folder = trainer.save_dir / FOLDER
            self._outputs.warn(lock_folder(folder))
            self._claimed = folder

    def start(self, trainer: Trainer) -> None:
        """Open the trace and begin to watch; nothing is open before, so that a trainer can still be sent to workers."""
        self.claim(trainer)
        folder = trainer.save_dir / FOLDER
        point = resume_point(folder) if trainer.resume else None
        # in this order: a resume brings settings
        switches, asked = self.switches(trainer), self._settings
        self._settings = effective.possible(trainer, asked, owns_step=self._owns_step)
        self._batch = trainer.batch_size
        self._first_step = point.step + 1 if point else 0
        self._first_iteration = point.iteration + 1 if point else 0
        state = TrainerState(trainer)
        loop = self._make_loop(state, switches, attempt=point.attempt + 1 if point else 0)
        cost = check_rescue(state, self._settings)
        self.loop = loop  # from here on there is something to write
        if is_writer():
            self._open(trainer, loop, asked, resumed=point is not None)
        else:
            self._outputs.mute()
        if self._make_policy:
            policy = self._make_policy(self._settings)
            policy.open(loop.reader.blocks, self.header)
            self._outputs.judge = LiveFindings(policy, self._outputs.event, self._outputs.warn)
        if asked.rescue != "off":
            self._prepare_rescue(state, loop, cost, known=point is not None)
        if point:
            data = {"requested": dict(self._requested or {}), "settings": asked.model_dump()}
            loop.journal.emit("resume", None, {**data, "epoch": trainer.start_epoch})
        self._say_what_hardly_acts(trainer, loop, asked)

    def _make_loop(self, state: TrainerState, switches: Switches, *, attempt: int) -> StepLoop:
        """Return what follows the steps; nothing is written yet."""
        if self._settings.guard != "off":
            require_sound_start(state)
        journal = Journal(
            self._outputs.event,
            attempt=attempt,
            step=self._first_step,
            iteration=self._first_iteration,
        )
        return StepLoop(state, self._settings, switches, journal, self._outputs.record)

    def _say_what_hardly_acts(
        self, trainer: Trainer, loop: StepLoop, asked: StabilitySettings
    ) -> None:
        """Tell a user of switches that do little, and of a guard that cannot be had."""
        assert self._switches is not None
        for text in self._switches.warnings:
            loop.journal.notice(text)
        if self._settings.guard != asked.guard:
            theirs = type(trainer).__name__.removeprefix("Stability")
            loop.journal.notice(
                f"{theirs} has an optimizer_step of its own: it is recorded, but not guarded"
            )

    def _prepare_rescue(
        self, state: TrainerState, loop: StepLoop, cost: str | None, *, known: bool
    ) -> None:
        """Stand by; it changes one process, so that several must do without."""
        judge = self._outputs.judge
        policy = judge.policy if judge else None
        if cost is None or policy is None:
            loop.journal.notice(
                "rescue is off: it needs one process, a trainer without a step of its own, and the guard"
            )
            return
        loop.journal.notice(cost)
        remedies = LiveRemedies(self.switches(state.host))
        loop.batches.left_out = remedies.left_out
        self._rescue = Rescue(
            state, loop.recovery, loop.journal, policy, remedies, self._settings.rescue
        )
        if state.resume:
            self._rescue.resume(known=known)

    def begin_epoch(self, trainer: Trainer) -> None:
        """Notice when the loop started over after an out-of-memory error."""
        retries = getattr(trainer, "_oom_retries", 0)
        if self.loop and retries > self._oom_retries:
            self.loop.restart("oom_restart", {"epoch": trainer.epoch, "batch": trainer.batch_size})
        self._oom_retries, self._epoch = retries, trainer.epoch
        if self.loop:
            self.loop.recovery.begin_epoch(trainer.epoch)

    def end_iteration(self, trainer: Trainer) -> None:
        """Close an iteration; let no record wait in memory for long; act on what was found.

        A record waits for its update ratio until the next step, to spare a GPU a synchronisation. A CPU needs none,
        and where a step takes long, a second of steps would be lost to a kill for a gain that nobody could measure.
        """
        assert self.loop is not None
        self.loop.end_iteration()
        now = time.monotonic()
        if trainer.device.type == "cpu" or now - self._clock > _SLOW_SECONDS:
            self.loop.records.flush()
        self._clock = now
        self._act(self.loop)

    def _act(self, loop: StepLoop, *, stepped: bool = True) -> None:
        """End the run, or rescue it, if what was found asks for it."""
        judge = self._outputs.judge
        if judge is None or self.stopped is not None:
            return
        if judge.critical and self._settings.fail_on == "critical":
            text = f"fail_on=critical ended the run at step {loop.journal.step}: {judge.critical}"
            loop.recovery.end_early("fail_on", text)
        elif self._rescue and judge.policy:
            loop.recovery.doubt(judge.policy.doubtful_step)
            self._rescue.act(stepped=stepped)

    def end_epoch(self, trainer: Trainer) -> None:
        """Hand over what waits, compact the trace, sum up; let nothing broken go into validation, where it hangs."""
        if self.loop:
            self.loop.records.flush()
            judge = self._outputs.judge
            if judge and self._rescue:  # trouble of the last steps must not be validated and saved
                judge.ask()
                self._act(self.loop, stepped=False)
            self.loop.recovery.keep_finite()
        self._outputs.end_epoch(trainer.epoch)

    def before_save(self, trainer: Trainer) -> None:
        """See to it that what is saved is finite."""
        if self.loop and not is_distributed(trainer):  # only rank 0 saves: it cannot ask the others
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

    def recovered(self) -> None:
        """Note that Ultralytics went back to `last.pt` and replays the epoch."""
        if self.loop:
            self.loop.restart("nan_recovery", {"epoch": self._epoch})
        if self._rescue:
            self._rescue.recovered()

    def save_if_stopped(self, trainer: Trainer) -> None:
        """Save the restored state of a run that the guard ended, also under `save=False`."""
        if self.stopped and is_writer() and not self._saved_since_stop:
            trainer.save_model()

    def ended(self) -> None:
        """Note that the training loop came to its own end."""
        self._ended = True

    def close(self) -> None:
        """Write everything, however the training ended; a second interrupt waits until it is done."""
        with shielded():
            if self.loop is not None and not self._closed:
                self._closed = True
                self._finish(self.loop)
            if self._claimed is not None:
                unlock_folder(self._claimed)
                self._claimed = None

    def _finish(self, loop: StepLoop) -> None:
        """Hand over what waits, note the end, and close what is open."""
        loop.records.flush()
        self._say_if_few_steps(loop.journal)
        ended = self._ended and self.stopped is None
        if ended:
            for text in (loop.records.outcome.failure(), loop.recovery.skipped_to_the_end()):
                if text:
                    loop.journal.notice(text)
        loop.journal.emit("end", None, {"completed": ended, "stopped": self.stopped})
        self._outputs.close(
            step=loop.journal.step,
            unhealthy_step=loop.recovery.unhealthy_step,
            ended=ended,
        )

    def _say_if_few_steps(self, journal: Journal) -> None:
        """Tell a user whose small dataset was accumulated away: with 28 images and nbs=64 two epochs are one step."""
        steps, iterations = (
            journal.step - self._first_step,
            journal.iteration - self._first_iteration,
        )
        if self._ended and steps == 0 and iterations > 1:
            journal.notice(
                "no optimizer step was seen: the trainer overrides optimizer_step without calling super()"
            )
        if self._ended and 0 < steps < 2 * (self._epoch + 1) and iterations >= 2 * steps:
            journal.notice(
                f"{iterations} batches made only {steps} optimizer step{'' if steps == 1 else 's'}, since gradients "
                f"are summed up to the nominal batch size nbs; nbs={self._batch} takes a step after every batch"
            )

    def _open(
        self, trainer: Trainer, loop: StepLoop, asked: StabilitySettings, *, resumed: bool
    ) -> None:
        """Write sidecar and header, open the outputs; a resumed run keeps its name and what was first asked for."""
        assert self._switches is not None
        folder = trainer.save_dir / FOLDER
        try:
            write_sidecar(trainer.save_dir, asked)
        except OSError as error:
            self._outputs.warn(
                f"{SIDECAR} could not be written: {error.strerror}; a resume will take the defaults."
            )
        requested = {
            **(self._requested or effective.requested_settings(trainer)),
            **asked.model_dump(),
        }
        own = effective.own_in_force(self._settings, self._switches)
        header = effective.build_header(trainer, loop.reader.blocks, requested, own)
        if resumed:
            try:
                header = effective.as_first_written(header, read_header(folder))
            except TraceError as error:
                self._outputs.warn(str(error))
        else:
            clear_trace(folder)
        self.header = header
        self._outputs.open(folder, header, guarded=self._settings.guard != "off")
