"""How a run ended, and what rescues did to it, from its events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

from yolo_stability.core.findings import End, Rescued, RunException
from yolo_stability.core.text import count
from yolo_stability.core.types import EndReason, EndState
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.trace.arrays import SeriesEvent

__all__ = ["DIED", "end_of", "end_phrase", "rescued_of"]

DIED = {
    "crashed": "the process died",
    "killed": "the process was killed",
    "timeout": "the process exceeded its time limit",
    "memory": "the process ran out of memory",
}
_STOPS: Mapping[str, EndReason] = {
    "guard_stop": "guard",
    "fail_on": "fail_on",
    "rescue_stop": "rescue",
}
"""Events that end a run, with the reason they stand for; traces of schema 1 name it only so."""


def end_of(context: DiagnosisContext) -> End | None:
    """Return how a run ended; None where it has no end, as a training loop of the user's own.

    Without an end event the run was killed, or is still running. A benchmark knows how the process
    ended, which outweighs the trace.

    Args:
        context: The run.
    """
    if context.stock:
        return context.end
    session = _last_session(context.run.events)
    data = next((e.data for e in reversed(session) if e.kind == "end"), None)
    reason = next((_STOPS[e.kind] for e in reversed(session) if e.kind in _STOPS), None)
    if context.outcome in DIED:
        failure = _failure(data or {})
        dead = context.outcome != "crashed"
        return _end(context, data or {}, "killed" if dead else "exception", failure=failure)
    if data is None:
        return _without_event(context, reason)
    return _from_event(context, data, reason)


def _from_event(
    context: DiagnosisContext, data: Mapping[str, Any], reason: EndReason | None
) -> End | None:
    """Return the end that an end event describes."""
    if data.get("reason") in get_args(EndReason):
        reason = data["reason"]
    failure = _failure(data)
    if failure is not None:
        return _end(context, data, "exception", failure=failure)
    done = _end(context, data, "finished")
    if data.get("state") in get_args(EndState):
        known = data["state"]
        return replace(done, state=known, reason=reason if known == "stopped" else None)
    completed = data.get("completed") or context.outcome in {"finished", "stopped"}
    if data.get("interrupted") or not (reason or completed):
        return replace(done, state="interrupted")
    if reason is None and context.outcome == "stopped":
        reason = "user"
    planned = done.epochs_planned
    if reason is None and planned is not None and data.get("epochs_done") is None:
        early = done.epochs_done < planned  # schema 1 does not name the reason
        reason = ("time" if context.settings.get("time") else "patience") if early else None
    if reason is not None:
        return replace(done, state="stopped", reason=reason)
    return None if planned is None and context.header is not None else done


def _without_event(context: DiagnosisContext, reason: EndReason | None) -> End:
    """Return the end of a run whose trace does not report it."""
    if reason is not None or context.run.stop_step is not None:
        return _end(context, {}, "stopped", reason=reason or "guard")
    if context.running:
        return _end(context, {}, "running")
    if context.run.completed or context.outcome == "finished":
        return _end(context, {"completed": True}, "finished")
    if context.outcome == "stopped":
        return _end(context, {}, "stopped", reason="user")
    return _end(context, {}, "interrupted" if context.run.completed is False else "killed")


def _end(
    context: DiagnosisContext,
    data: Mapping[str, Any],
    state: Any,
    *,
    reason: EndReason | None = None,
    failure: RunException | None = None,
) -> End:
    """Return an end with the number of epochs; an epoch without its end does not count."""
    done, planned = data.get("epochs_done"), data.get("epochs_planned")
    if done is None:
        last = int(context.run.epoch[-1]) if context.run.epoch.size else -1
        recorded = int(context.epochs.epoch[-1]) + 1 if context.epochs.epoch.size else 0
        done = max(recorded, last + 1 if data.get("completed") else last, 0)
    if planned is None:
        planned = context.settings.get("epochs")
    known = isinstance(planned, int) and not isinstance(planned, bool) and planned > 0
    return End(
        state=state,
        reason=reason,
        epochs_done=int(done),
        epochs_planned=planned if known else None,
        exception=failure,
    )


def _failure(data: Mapping[str, Any]) -> RunException | None:
    """Return the exception of an end event; a loop of schema 1 names only its type."""
    raised = data.get("exception")
    if isinstance(raised, Mapping):
        where = raised.get("where")
        return RunException(
            type=str(raised.get("type", "")),
            message=str(raised.get("message", "")),
            where=None if where is None else str(where),
        )
    return RunException(type=str(data["error"]), message="") if data.get("error") else None


def _last_session(events: tuple[SeriesEvent, ...]) -> tuple[SeriesEvent, ...]:
    """Return the events since the last resume: the end of an earlier session does not count."""
    resumed = [i for i, event in enumerate(events) if event.kind == "resume"]
    return events[resumed[-1] :] if resumed else events


def end_phrase(end: End | None, *, stock: bool = False) -> str:
    """Return how a run ended if that was not its planned end, for a sentence; else empty.

    Args:
        end: The end.
        stock: Whether the run has no trace and no log.
    """
    if end is None or end.state == "finished":
        return ""
    planned = "" if end.epochs_planned is None else f" of {end.epochs_planned:,}"
    done = f"{end.epochs_done:,}{planned} epochs" if planned else count(end.epochs_done, "epoch")
    if end.state == "running":
        return f"the run is in progress, {done} done"
    if end.state == "stopped":
        who = "the user" if end.reason in {None, "user"} else end.reason
        return f"stopped by {who} after {done}"
    if end.state == "exception":
        raised = end.exception
        where = f" in {raised.where}" if raised is not None and raised.where else ""
        what = f"{raised.type}{where}" if raised is not None else "an exception"
        return f"ended by {what} after {done}"
    if stock and end.state == "interrupted":
        return (
            f"the run ended after {done}; without a log, a kill, too little memory and Ctrl-C look "
            "alike"
        )
    return f"{end.state} after {done}"


def rescued_of(context: DiagnosisContext, last_trouble: int | None) -> Rescued | None:
    """Return what rescues did; None for a run without one.

    Args:
        context: The run.
        last_trouble: Last step of the latest critical finding; None without one.
    """
    acted = [event for event in context.run.events if event.kind == "rescue"]
    if not acted:
        return None
    since = max(acted[-1].step, -1 if last_trouble is None else last_trouble) + 1
    healthy = since <= context.step_at(-1)
    return Rescued(
        count=len(acted),
        remedies=tuple(str(event.data.get("remedy", "")) for event in acted),
        healthy_since=since if healthy else None,
    )
