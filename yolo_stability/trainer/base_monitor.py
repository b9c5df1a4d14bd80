"""`Monitor`: attaches the package to any trainer that an Ultralytics model builds."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from yolo_stability.compat.ultralytics import LOGGER, RANK, BaseTrainer, Trainer, is_writer
from yolo_stability.config import StabilitySettings, make_settings
from yolo_stability.core.errors import StabilityError
from yolo_stability.core.types import RunHeader
from yolo_stability.interventions.faults import parse_fault
from yolo_stability.interventions.switches import Switches
from yolo_stability.trace import SCHEMA_VERSION, load_trace
from yolo_stability.trainer.loggers import Sink
from yolo_stability.trainer.mixin import owns_step
from yolo_stability.trainer.policy import Policy
from yolo_stability.trainer.session import WatchedRun

__all__ = ["Monitor", "attach_in_worker", "settings_for_workers"]

SETTINGS_VARIABLE = "YOLO_STABILITY_SETTINGS"


class Monitor:
    """Watches and guards every training it is attached to.

    It holds settings only and no open files or threads, because Ultralytics pickles callbacks for
    its distributed workers.

    Args:
        requested: Settings the user requested, for the run header; None to record the trainer
            arguments that differ from Ultralytics' defaults.
        make_sinks: Creates the sinks of a run.
        make_policy: Creates the policy that evaluates a run during training, from the effective
            settings; None for no policy.
        checked: Validated settings; replaces `settings`.
        trace_version: Version of the traces of new runs.
        settings: yolo_stability options, such as `guard="skip"`; see `StabilitySettings`.

    Raises:
        ConfigError: An option is unknown or has an invalid value.
        TypeError: Both `checked` and `settings` are given.
    """

    def __init__(
        self,
        *,
        requested: Mapping[str, Any] | None = None,
        make_sinks: Callable[[], Sequence[Sink]] = tuple,
        make_policy: Callable[[StabilitySettings], Policy] | None = None,
        checked: StabilitySettings | None = None,
        trace_version: int = SCHEMA_VERSION,
        **settings: Any,
    ) -> None:
        if checked is not None and settings:
            raise TypeError(
                "Pass either checked settings or yolo_stability options, not both: "
                f"{', '.join(settings)}."
            )
        self._settings: StabilitySettings = (
            make_settings(**settings) if checked is None else checked
        )
        parse_fault(self._settings.fault)
        # Constructed only to reject invalid values here instead of during the trainer's setup.
        Switches(self._settings)
        self._requested, self._make_sinks, self._make_policy = requested, make_sinks, make_policy
        self._trace_version = trace_version
        self._save_dir: Path | None = None
        self._stopped: str | None = None
        self._header: RunHeader | None = None

    @property
    def settings(self) -> StabilitySettings:
        """The settings of this monitor."""
        return self._settings

    @property
    def save_dir(self) -> Path:
        """Run folder of the latest training.

        Raises:
            StabilityError: No training has started yet.
        """
        if self._save_dir is None:
            raise StabilityError(
                "This monitor has not recorded a training yet: attach it, then call "
                "model.train(...)."
            )
        return self._save_dir

    @property
    def stopped(self) -> str | None:
        """Reason why the guard, `fail_on` or a rescue ended the latest training; None otherwise."""
        return self._stopped

    @property
    def header(self) -> RunHeader | None:
        """Header of the latest training, even if writing it failed; None if workers trained."""
        return self._header

    def attach(self, model_or_trainer: Any) -> Self:
        """Watch every training of a model, or a trainer that has not started yet.

        Args:
            model_or_trainer: `YOLO(...)`, or any trainer derived from Ultralytics' `BaseTrainer`.

        Returns:
            The monitor itself.

        Raises:
            StabilityError: The object is neither a model nor a trainer.
        """
        if not hasattr(model_or_trainer, "add_callback"):
            raise StabilityError(
                f"attach() expects a YOLO model or an Ultralytics trainer, not "
                f"{type(model_or_trainer).__name__}; for a custom training loop use "
                "yolo_stability.record."
            )
        if self._start in model_or_trainer.callbacks["on_train_start"]:
            return self  # a notebook cell was run twice
        for event, callback in self.callbacks().items():
            model_or_trainer.add_callback(event, callback)
        if isinstance(model_or_trainer, BaseTrainer):
            self._bind(model_or_trainer)
        return self

    def callbacks(self) -> dict[str, Callable[[Trainer], None]]:
        """Return the callbacks by event, for registering them with `model.add_callback`."""
        return {
            "on_pretrain_routine_start": self._lock_folder,
            "on_pretrain_routine_end": self._bind,
            "on_train_start": self._start,
            "on_train_epoch_start": _begin_epoch,
            "on_train_batch_start": _begin_iteration,
            "on_train_batch_end": _end_iteration,
            "on_train_epoch_end": _end_epoch,
            "on_fit_epoch_end": _end_fit_epoch,
            "on_train_end": _end_training,
            "teardown": self.close,
        }

    def read_back(self, trainer: Trainer) -> None:
        """Read from disk the outcome of a training that ran in worker processes.

        Args:
            trainer: The trainer of the launching process.
        """
        self._save_dir = Path(trainer.save_dir)
        endings = [
            data
            for kind, data in load_trace(self._save_dir).events.select("kind", "data").rows()
            if kind == "end"
        ]
        self._stopped = json.loads(endings[-1])["stopped"] if endings else None

    def finished(self, save_dir: Path, trainer: Trainer) -> None:
        """Process a finished run whose trace is on disk; subclasses override this no-op.

        Args:
            save_dir: The run folder.
            trainer: The trainer.
        """

    def _bind(self, trainer: Trainer) -> None:
        """Add the mixin and the session to a trainer, on the first event in this process."""
        run: WatchedRun | None = getattr(trainer, "stability", None)
        if run is None:
            from yolo_stability.trainer.trainers import adopt  # slow: imports all Ultralytics tasks

            adopt(trainer)
            sinks, policy = self._make_sinks(), self._make_policy
            trainer.stability = WatchedRun(
                self,
                self._settings,
                self._requested,
                sinks,
                policy,
                owns_step=owns_step(type(trainer)),
                trace_version=self._trace_version,
            )
        elif run.owner is not self:
            raise StabilityError("Two monitors are attached to one training; attach only one.")

    def _lock_folder(self, trainer: Trainer) -> None:
        """Bind, and lock the run folder before the trainer changes more in it than `args.yaml`."""
        self._bind(trainer)
        trainer.stability.lock(trainer)

    def _start(self, trainer: Trainer) -> None:
        """Start watching."""
        self._save_dir, self._stopped = Path(trainer.save_dir), None
        trainer.stability.start(trainer)

    def close(self, trainer: Trainer) -> None:
        """Write and display the results of a training once; called by Ultralytics after each."""
        run: WatchedRun | None = trainer.stability
        if run is None or run.closed:
            return
        run.close(trainer, sys.exception())
        if run.loop is None:
            return
        self._stopped, self._header = run.stopped, run.header
        if not is_writer():
            return
        try:
            self.finished(Path(trainer.save_dir), trainer)
        except Exception as error:
            LOGGER.warning(
                "stability: the run is recorded, but displaying its results failed: "
                f"{type(error).__name__}: {error}"
            )


def attach_in_worker(trainer: Trainer) -> None:
    """Watch a trainer that Ultralytics rebuilt in a worker process without its callbacks.

    Ultralytics 8.4.150 and later pass callbacks to workers. Earlier versions pass only the
    trainer's class and arguments, so the settings are read from an environment variable.
    """
    text = os.environ.get(SETTINGS_VARIABLE)
    owners = (getattr(f, "__self__", None) for f in trainer.callbacks["on_train_start"])
    monitor = next((owner for owner in owners if isinstance(owner, Monitor)), None)
    if monitor:
        # Only rank 0 has received a start event so far, and the model is built next.
        monitor._bind(trainer)
    elif text and RANK != -1:
        Monitor(**json.loads(text)).attach(trainer)


@contextmanager
def settings_for_workers(monitor: Monitor) -> Iterator[None]:
    """Pass a monitor's settings to worker processes started inside the context.

    The settings travel in an environment variable.
    """
    before = os.environ.get(SETTINGS_VARIABLE)
    os.environ[SETTINGS_VARIABLE] = monitor.settings.model_dump_json()
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(SETTINGS_VARIABLE, None)
        else:
            os.environ[SETTINGS_VARIABLE] = before


def _begin_epoch(trainer: Trainer) -> None:
    """Notify the run that an epoch starts."""
    trainer.stability.begin_epoch(trainer)


def _begin_iteration(trainer: Trainer) -> None:
    """Notify the step loop that a batch starts."""
    trainer.stability.loop.begin_iteration()


def _end_iteration(trainer: Trainer) -> None:
    """Notify the run that a batch is done."""
    trainer.stability.end_iteration(trainer)


def _end_epoch(trainer: Trainer) -> None:
    """Notify the run that an epoch has been trained."""
    trainer.stability.end_epoch(trainer)


def _end_fit_epoch(trainer: Trainer) -> None:
    """Record the validated epoch, and save the state that the guard restored."""
    trainer.stability.end_fit_epoch(trainer)


def _end_training(trainer: Trainer) -> None:
    """Notify the run that the training loop has ended."""
    trainer.stability.ended()
