"""`Monitor`: binds the package to whatever trainer an Ultralytics model builds."""

from __future__ import annotations

import json
import os
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
from yolo_stability.trace import load_trace
from yolo_stability.trainer.loggers import Sink
from yolo_stability.trainer.mixin import owns_step
from yolo_stability.trainer.policy import Policy
from yolo_stability.trainer.session import WatchedRun

__all__ = ["Monitor", "attach_in_worker", "settings_for_workers"]

SETTINGS_VARIABLE = "YOLO_STABILITY_SETTINGS"


class Monitor:
    """Watches and guards every training it is attached to.

    It holds settings only, nothing that is open: Ultralytics pickles callbacks for its distributed workers.

    Args:
        requested: What the user asked for, for the header; None to take what differs from Ultralytics' defaults.
        make_sinks: Makes the sinks of a run.
        make_policy: Makes what judges a run while it goes on, from the settings in force; None for nobody.
        checked: Settings that have been checked, in the place of own keys.
        settings: Own keys, such as `guard="skip"`; see `StabilitySettings`.

    Raises:
        ConfigError: A key is unknown or a value impossible.
    """

    def __init__(
        self,
        *,
        requested: Mapping[str, Any] | None = None,
        make_sinks: Callable[[], Sequence[Sink]] = tuple,
        make_policy: Callable[[StabilitySettings], Policy] | None = None,
        checked: StabilitySettings | None = None,
        **settings: Any,
    ) -> None:
        if checked is not None and settings:
            raise TypeError(f"either checked settings or own keys, not both: {', '.join(settings)}")
        self._settings: StabilitySettings = (
            make_settings(**settings) if checked is None else checked
        )
        parse_fault(self._settings.fault)
        # an impossible value is refused here, not in the middle of a set-up
        Switches(self._settings)
        self._requested, self._make_sinks, self._make_policy = requested, make_sinks, make_policy
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
            StabilityError: Nothing has been trained yet.
        """
        if self._save_dir is None:
            raise StabilityError(
                "This monitor has not seen a training yet: attach it, then call model.train(...)."
            )
        return self._save_dir

    @property
    def stopped(self) -> str | None:
        """Why the guard, `fail_on` or a rescue ended the latest training; None when none did."""
        return self._stopped

    @property
    def header(self) -> RunHeader | None:
        """Header of the latest training, also when the disk did not take it; None when workers trained."""
        return self._header

    def attach(self, model_or_trainer: Any) -> Self:
        """Watch every training of a model, or a trainer that is built but not started.

        Args:
            model_or_trainer: `YOLO(...)`, or any trainer derived from Ultralytics' `BaseTrainer`.

        Returns:
            The monitor itself.

        Raises:
            StabilityError: It is neither.
        """
        if not hasattr(model_or_trainer, "add_callback"):
            raise StabilityError(
                f"attach() takes a YOLO model or an Ultralytics trainer, not {type(model_or_trainer).__name__}; "
                "for a training loop of your own there is no callback to attach to."
            )
        if self._start in model_or_trainer.callbacks["on_train_start"]:
            return self  # a notebook cell that ran twice
        for event, callback in self.callbacks().items():
            model_or_trainer.add_callback(event, callback)
        if isinstance(model_or_trainer, BaseTrainer):
            self._bind(model_or_trainer)
        return self

    def callbacks(self) -> dict[str, Callable[[Trainer], None]]:
        """Return the callbacks by event, for people who wire them themselves with `model.add_callback`."""
        return {
            "on_pretrain_routine_start": self._claim,
            "on_pretrain_routine_end": self._bind,
            "on_train_start": self._start,
            "on_train_epoch_start": _begin_epoch,
            "on_train_batch_start": _begin_iteration,
            "on_train_batch_end": _end_iteration,
            "on_train_epoch_end": _end_epoch,
            "on_fit_epoch_end": _save_if_stopped,
            "on_train_end": _ended,
            "teardown": self.close,
        }

    def read_back(self, trainer: Trainer) -> None:
        """Learn from disk how a training went that ran in worker processes.

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
        """Do something with a finished run; the trace is on disk. Does nothing unless overridden.

        Args:
            save_dir: The run folder.
            trainer: The trainer.
        """

    def _bind(self, trainer: Trainer) -> None:
        """Give the trainer the seam; the first event that reaches this process does it."""
        run: WatchedRun | None = getattr(trainer, "stability", None)
        if run is None:
            from yolo_stability.trainer.trainers import adopt  # loads every task of Ultralytics

            adopt(trainer)
            sinks, policy = self._make_sinks(), self._make_policy
            trainer.stability = WatchedRun(
                self,
                self._settings,
                self._requested,
                sinks,
                policy,
                owns_step=owns_step(type(trainer)),
            )
        elif run.owner is not self:
            raise StabilityError("Two monitors are attached to one training; attach only one.")

    def _claim(self, trainer: Trainer) -> None:
        """Bind, and take the run folder before the trainer changes more in it than `args.yaml`."""
        self._bind(trainer)
        trainer.stability.claim(trainer)

    def _start(self, trainer: Trainer) -> None:
        """Begin to watch."""
        self._save_dir, self._stopped = Path(trainer.save_dir), None
        trainer.stability.start(trainer)

    def close(self, trainer: Trainer) -> None:
        """Write everything and show it, once; Ultralytics calls it after each training."""
        run: WatchedRun | None = trainer.stability
        if run is None or run.closed:
            return
        run.close()
        if run.loop is None:
            return
        self._stopped, self._header = run.stopped, run.header
        if not is_writer():
            return
        try:
            self.finished(Path(trainer.save_dir), trainer)
        except Exception as error:
            LOGGER.warning(
                f"stability: the run is recorded, but showing it failed: {type(error).__name__}: {error}"
            )


def attach_in_worker(trainer: Trainer) -> None:
    """Watch a trainer that Ultralytics rebuilt in a worker process, if its callbacks did not travel along.

    They do since 8.4.150; before, only the class of the trainer and its arguments arrive, and the settings wait in
    the environment.
    """
    text = os.environ.get(SETTINGS_VARIABLE)
    owners = (getattr(f, "__self__", None) for f in trainer.callbacks["on_train_start"])
    arrived = next((owner for owner in owners if isinstance(owner, Monitor)), None)
    if arrived:
        # only rank 0 has been told of a start so far, and the model is built next
        arrived._bind(trainer)
    elif text and RANK != -1:
        Monitor(**json.loads(text)).attach(trainer)


@contextmanager
def settings_for_workers(monitor: Monitor) -> Iterator[None]:
    """Leave a monitor's settings in the environment for worker processes that start inside the context."""
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
    """Tell the run that an epoch starts."""
    trainer.stability.begin_epoch(trainer)


def _begin_iteration(trainer: Trainer) -> None:
    """Tell the step loop that a batch starts."""
    trainer.stability.loop.begin_iteration()


def _end_iteration(trainer: Trainer) -> None:
    """Tell the run that a batch is done."""
    trainer.stability.end_iteration(trainer)


def _end_epoch(trainer: Trainer) -> None:
    """Tell the run that an epoch is trained."""
    trainer.stability.end_epoch(trainer)


def _save_if_stopped(trainer: Trainer) -> None:
    """Save what the guard restored."""
    trainer.stability.save_if_stopped(trainer)


def _ended(trainer: Trainer) -> None:
    """Tell the run that the training loop is over."""
    trainer.stability.ended()
