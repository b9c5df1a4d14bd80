"""One run of one trainer: its watch, its trace on disk, its checkpoints and its sinks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo_stability.compat.ultralytics import LOGGER, Trainer, is_writer
from yolo_stability.config import StabilitySettings
from yolo_stability.core.errors import TraceError
from yolo_stability.core.signals import shielded
from yolo_stability.core.types import Event, RunHeader, StepRecord
from yolo_stability.guard.checkpoints import HealthyCheckpoint
from yolo_stability.guard.distributed import is_distributed
from yolo_stability.interventions.switches import Switches
from yolo_stability.trace import (
    FOLDER,
    TraceWriter,
    clear_trace,
    lock_folder,
    read_header,
    resume_point,
    unlock_folder,
)
from yolo_stability.trainer.live_findings import Judge
from yolo_stability.trainer.loggers import Sink
from yolo_stability.trainer.policy import Policy
from yolo_stability.trainer.rescue.controller import Rescue, check_rescue
from yolo_stability.trainer.rescue.remedies import LiveRemedies
from yolo_stability.trainer.settings import effective
from yolo_stability.trainer.settings.sidecar import SIDECAR, resumed_settings, write_sidecar
from yolo_stability.trainer.step.loop import Watch

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
    """

    def __init__(
        self,
        owner: Any,
        settings: StabilitySettings,
        requested: Mapping[str, Any] | None,
        sinks: Sequence[Sink],
        policy: Callable[[StabilitySettings], Policy] | None = None,
    ) -> None:
        self.owner = owner
        self.watch: Watch | None = None
        self.header: RunHeader | None = None
        self._settings, self._requested, self._sinks = settings, requested, list(sinks)
        self._make_policy = policy
        self._judge: Judge | None = None
        self._rescue: Rescue | None = None
        self._switches: Switches | None = None
        self._writer: TraceWriter | None = None
        self._checkpoint: HealthyCheckpoint | None = None
        self._claimed: Path | None = None
        self._told: set[str] = set()
        self._epoch = self._first_step = self._first_iteration = 0
        self._oom_retries = self._batch = 0
        self._clock = time.monotonic()
        self._ended = self._closed = self._saved_since_stop = False

    @property
    def stopped(self) -> str | None:
        """Why the guard, `fail_on` or a rescue ended the run; None while none did."""
        return self.watch.stopped if self.watch else None

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
                self._settings = resumed_settings(trainer.save_dir, self._settings, self._tell)
            self._switches = Switches(self._settings)
        return self._switches

    # Events of the training loop, in their order

    def claim(self, trainer: Trainer) -> None:
        """Take the run folder before anything in it changes; raise StabilityError if another run trains there."""
        if self._claimed is None and is_writer():
            folder = trainer.save_dir / FOLDER
            self._tell(lock_folder(folder))
            self._claimed = folder

    def start(self, trainer: Trainer) -> None:
        """Open the trace and begin to watch; nothing is open before, so that a trainer can still be sent to workers."""
        self.claim(trainer)
        folder = trainer.save_dir / FOLDER
        point = resume_point(folder) if trainer.resume else None
        switches, asked = (
            self.switches(trainer),
            self._settings,
        )  # in this order: a resume brings settings
        self._settings = effective.possible(trainer, asked)
        self._batch = trainer.batch_size
        self._first_step = point.step + 1 if point else 0
        self._first_iteration = point.iteration + 1 if point else 0
        watch = Watch(
            trainer,
            self._settings,
            switches,
            on_record=self._record,
            on_event=self._event,
            first_step=self._first_step,
            first_iteration=self._first_iteration,
            attempt=point.attempt + 1 if point else 0,
        )
        cost = check_rescue(trainer, self._settings)
        self.watch = watch  # from here on there is something to write
        if is_writer():
            try:
                write_sidecar(trainer.save_dir, asked)
            except OSError as error:
                self._tell(
                    f"{SIDECAR} could not be written: {error.strerror}; a resume will take the defaults."
                )
            self._open(trainer, folder, asked, resumed=point is not None)
        else:
            self._sinks.clear()
        if self._make_policy:
            policy = self._make_policy(self._settings)
            policy.open(watch.blocks, self.header)
            self._judge = Judge(policy, self._event, self._tell)
        if asked.rescue != "off":
            self._prepare_rescue(trainer, watch, cost, known=point is not None)
        if point:
            data = {"requested": dict(self._requested or {}), "settings": asked.model_dump()}
            watch.emit("resume", None, {**data, "epoch": trainer.start_epoch})
        for text in switches.warnings:
            watch.notice(text)
        if self._settings.guard != asked.guard:
            theirs = type(trainer).__name__.removeprefix("Stability")
            watch.notice(
                f"{theirs} has an optimizer_step of its own: it is recorded, but not guarded"
            )

    def _prepare_rescue(
        self, trainer: Trainer, watch: Watch, cost: str | None, *, known: bool
    ) -> None:
        """Stand by; it changes one process, so that several must do without."""
        policy = self._judge.policy if self._judge else None
        if cost is None or policy is None:
            watch.notice(
                "rescue is off: it needs one process, a trainer without a step of its own, and the guard"
            )
            return
        watch.notice(cost)
        remedies = LiveRemedies(self.switches(trainer))
        watch.left_out = remedies.left_out
        self._rescue = Rescue(watch, policy, remedies, watch.emit, self._settings.rescue)
        if trainer.resume:
            self._rescue.resume(trainer, known=known)

    def begin_epoch(self, trainer: Trainer) -> None:
        """Notice when the loop started over after an out-of-memory error."""
        retries = getattr(trainer, "_oom_retries", 0)
        if self.watch and retries > self._oom_retries:
            self.watch.restart("oom_restart", {"epoch": trainer.epoch, "batch": trainer.batch_size})
        self._oom_retries, self._epoch = retries, trainer.epoch
        if self.watch:
            self.watch.warmup.begin_epoch(trainer, trainer.epoch, self.watch.iteration)

    def end_iteration(self, trainer: Trainer) -> None:
        """Close an iteration; let no record wait in memory for long; act on what was found.

        A record waits for its update ratio until the next step, to spare a GPU a synchronisation. A CPU needs none,
        and where a step takes long, a second of steps would be lost to a kill for a gain that nobody could measure.
        """
        assert self.watch is not None
        self.watch.end_iteration(trainer)
        now = time.monotonic()
        if trainer.device.type == "cpu" or now - self._clock > _SLOW_SECONDS:
            self.watch.flush()
        self._clock = now
        self._act(trainer, self.watch)

    def _act(self, trainer: Trainer, watch: Watch, *, stepped: bool = True) -> None:
        """End the run, or rescue it, if what was found asks for it."""
        if self._judge is None or self.stopped is not None:
            return
        if self._judge.critical and self._settings.fail_on == "critical":
            text = f"fail_on=critical ended the run at step {watch.step}: {self._judge.critical}"
            watch.end_early(trainer, "fail_on", text)
        elif self._rescue and self._judge.policy:
            watch.doubtful_step = self._judge.policy.doubtful_step
            self._rescue.act(trainer, stepped=stepped)

    def end_epoch(self, trainer: Trainer) -> None:
        """Hand over what waits, compact the trace, sum up; let nothing broken go into validation, where it hangs."""
        if self.watch:
            self.watch.flush()
            if (
                self._judge and self._rescue
            ):  # trouble of the last steps must not be validated and saved
                self._judge.ask()
                self._act(trainer, self.watch, stepped=False)
            self.watch.keep_finite(trainer)
        self._each_sink(lambda sink: sink.end_epoch(trainer.epoch))
        if self._writer:
            self._writer.compact()

    def before_save(self, trainer: Trainer) -> None:
        """See to it that what is saved is finite."""
        if self.watch and not is_distributed(
            trainer
        ):  # only rank 0 saves: it cannot ask the others
            self.watch.keep_finite(trainer)

    def after_save(self, trainer: Trainer) -> None:
        """Consider the checkpoint for `healthy.pt`."""
        self._saved_since_stop = self.stopped is not None
        if self._checkpoint and self.watch and trainer.last.exists():
            self._checkpoint.saved(
                trainer.last,
                step=self.watch.step,
                unhealthy_step=self._unhealthy_step(self.watch),
                proven=self.watch.stopped is not None,
            )
            self._tell(self._checkpoint.error)

    def recovered(self, trainer: Trainer) -> None:
        """Note that Ultralytics went back to `last.pt` and replays the epoch."""
        if self.watch:
            self.watch.restart("nan_recovery", {"epoch": self._epoch})
        if self._rescue:
            self._rescue.recovered(trainer)

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
            if self.watch is not None and not self._closed:
                self._closed = True
                self._finish(self.watch)
            if self._claimed is not None:
                unlock_folder(self._claimed)
                self._claimed = None

    def _finish(self, watch: Watch) -> None:
        """Hand over what waits, note the end, and close what is open."""
        watch.flush()
        self._say_if_few_steps(watch)
        if self._ended and watch.stopped is None:
            for text in (watch.outcome.failure(), watch.skipped_to_the_end()):
                if text:
                    watch.notice(text)
        self._event(
            Event(
                attempt=watch.attempt,
                step=watch.step,
                kind="end",
                data={"completed": self._ended and not watch.stopped, "stopped": watch.stopped},
            )
        )
        if self._checkpoint:
            ended = self._ended and watch.stopped is None
            self._checkpoint.close(
                step=watch.step, unhealthy_step=self._unhealthy_step(watch), ended=ended
            )
            self._tell(self._checkpoint.error)
        self._each_sink(lambda sink: sink.close())
        if self._writer:
            self._writer.close()
            if self._writer.error:  # once more, where it is read
                LOGGER.warning(f"stability: {self._writer.error}")

    def _unhealthy_step(self, watch: Watch) -> int:
        """Return the last step at which something was wrong, by its numbers or by a finding; -1 if there was none."""
        return max(watch.unhealthy_step, self._judge.unhealthy_step if self._judge else -1)

    def _tell(self, text: str | None) -> None:
        """Log a warning, each one once."""
        if text and text not in self._told:
            self._told.add(text)
            LOGGER.warning(f"stability: {text}")

    def _say_if_few_steps(self, watch: Watch) -> None:
        """Tell a user whose small dataset was accumulated away: with 28 images and nbs=64 two epochs are one step."""
        steps, iterations = watch.step - self._first_step, watch.iteration - self._first_iteration
        if self._ended and steps == 0 and iterations > 1:
            watch.notice(
                "no optimizer step was seen: the trainer overrides optimizer_step without calling super()"
            )
        if self._ended and 0 < steps < 2 * (self._epoch + 1) and iterations >= 2 * steps:
            watch.notice(
                f"{iterations} batches made only {steps} optimizer step{'' if steps == 1 else 's'}, since gradients "
                f"are summed up to the nominal batch size nbs; nbs={self._batch} takes a step after every batch"
            )

    # Outputs

    def _open(
        self, trainer: Trainer, folder: Path, asked: StabilitySettings, *, resumed: bool
    ) -> None:
        """Create the writer, the header and the sinks; a resumed run keeps its name and what was first asked for."""
        assert self.watch is not None
        requested = {
            **(self._requested or effective.requested_settings(trainer)),
            **asked.model_dump(),
        }
        assert self._switches is not None
        own = effective.own_in_force(self._settings, self._switches)
        header = effective.build_header(trainer, self.watch.blocks, requested, own)
        if resumed:
            try:
                header = effective.as_first_written(header, read_header(folder))
            except TraceError as error:
                self._tell(str(error))
        else:
            clear_trace(folder)
        self.header = header
        self._writer = TraceWriter(folder, [block.name for block in self.watch.blocks])
        self._writer.write_header(header)
        if self._settings.guard != "off":
            self._checkpoint = HealthyCheckpoint(folder)
        self._each_sink(lambda sink: sink.open(header))

    def _record(self, record: StepRecord) -> None:
        """Pass a record on; if the disk no longer takes any, say so while the run can still be saved."""
        if self._writer:
            self._writer.append(record)
            self._tell(self._writer.error)
        self._each_sink(lambda sink: sink.write(record))
        if self._judge:
            self._judge.observe(record)

    def _event(self, event: Event) -> None:
        """Pass an event on."""
        if self._writer:
            self._writer.event(event)
        if self._judge:
            self._judge.event(event)
        self._each_sink(lambda sink: sink.event(event))

    def _each_sink(self, call: Callable[[Sink], None]) -> None:
        """Call every sink; one that fails is dropped with a warning."""
        for sink in list(self._sinks):
            try:
                call(sink)
            except Exception as error:
                self._sinks.remove(sink)
                LOGGER.warning(
                    f"stability: {type(sink).__name__} failed and is off for this run: {error}"
                )
