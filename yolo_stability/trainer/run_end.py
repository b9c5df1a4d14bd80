"""How a run ended: the data of its end event."""

from __future__ import annotations

from typing import Any

from yolo_stability.compat.ultralytics import Trainer
from yolo_stability.core.failures import failure_of
from yolo_stability.core.findings import End, RunException
from yolo_stability.core.types import EndReason, EndState
from yolo_stability.trainer.epoch_log import EpochLog

__all__ = ["end_data", "session_end"]


def session_end(
    trainer: Trainer,
    epochs: EpochLog,
    *,
    ended: bool,
    early: EndReason | None,
    error: BaseException | None,
) -> End:
    """Return how a run ended.

    Args:
        trainer: The trainer.
        epochs: The epochs of this session.
        ended: Whether Ultralytics' loop ended in order, with its final validation.
        early: Whether the guard, `fail_on` or a rescue ended the run; None if none of them did.
        error: Exception that left the training; None without one.
    """
    planned = int(trainer.epochs)
    reason = early or (_stock_reason(trainer, epochs, planned) if ended else None)
    state: EndState
    if error is not None and not isinstance(error, KeyboardInterrupt):
        state = "exception"
    elif error is not None or not ended:
        state = "interrupted"
    else:
        state = "stopped" if reason else "finished"
    failure: RunException | None = failure_of(error) if state == "exception" and error else None
    return End(
        state=state,
        reason=reason,
        epochs_done=epochs.done,
        epochs_planned=planned,
        exception=failure,
    )


def end_data(end: End, stopped: str | None) -> dict[str, Any]:
    """Return the data of the end event.

    Args:
        end: How the run ended.
        stopped: Why the guard, `fail_on` or a rescue ended it, one sentence; None otherwise.
    """
    failure = end.exception
    return {
        "completed": end.state in {"finished", "stopped"} and stopped is None,
        "stopped": stopped,
        "state": end.state,
        "reason": end.reason,
        "epochs_done": end.epochs_done,
        "epochs_planned": end.epochs_planned,
        "exception": None
        if failure is None
        else {"type": failure.type, "message": failure.message, "where": failure.where},
    }


def _stock_reason(trainer: Trainer, epochs: EpochLog, planned: int) -> EndReason | None:
    """Return why Ultralytics stopped before the planned end; None if it did not.

    Under `time=` the number of epochs is an estimate that ends with the time.
    """
    hours = getattr(trainer.args, "time", None)
    if hours and epochs.seconds >= float(hours) * 3600:
        return "time"
    if not hours and epochs.done >= planned:
        return None
    stopper = getattr(trainer, "stopper", None)
    best = getattr(stopper, "best_epoch", None)
    patience = getattr(stopper, "patience", None)
    if best is not None and patience is not None and epochs.done - best >= patience:
        return "patience"
    return "time" if hours and epochs.done >= planned else "user"
