"""`Rescue`: queries the policy, rolls back, applies the remedy and checks whether it worked."""

from __future__ import annotations

import json
from typing import Any, Protocol

from yolo_stability.core.actions import Action, Ending
from yolo_stability.core.errors import TraceError
from yolo_stability.core.types import Event
from yolo_stability.guard.preconditions import StartingState
from yolo_stability.guard.training_state import TrainingRun
from yolo_stability.trace import load_trace
from yolo_stability.trainer.policy import Policy
from yolo_stability.trainer.rescue.remedies import LiveRemedies, RemediedState
from yolo_stability.trainer.step.journal import Journal
from yolo_stability.trainer.step.recovery import Recovery
from yolo_stability.trainer.step.warmup import restored_warmup

__all__ = ["Rescue", "RescuedState"]

_WORKED = 32
"""Healthy steps after which a remedy counts as successful, as many as make a snapshot trusted."""


class RescuedState(RemediedState, StartingState, TrainingRun, Protocol):
    """A training that can be rescued."""

    @property
    def batches(self) -> int:
        """Number of batches per epoch."""

    @property
    def batch_size(self) -> int:
        """Number of images per batch."""

    @property
    def start_epoch(self) -> int:
        """First epoch of this session, counted from 0."""


class Rescue:
    """Carries out and logs the decisions of a policy.

    Args:
        state: State of the training.
        run: Rolls the run back to healthy states.
        journal: Counters of the run; receives events.
        policy: Decides about rollbacks and remedies.
        remedies: Applies the remedies to the run.
        mode: Value of the `rescue` option.
    """

    def __init__(
        self,
        state: RescuedState,
        run: Recovery,
        journal: Journal,
        policy: Policy,
        remedies: LiveRemedies,
        mode: str,
    ) -> None:
        self._mode = mode
        self._state, self._run, self._journal = state, run, journal
        self._policy, self._remedies = policy, remedies
        self._count, self._failed = 0, False
        remedies.know_rates(state)
        # The latest remedy until it has worked: name, step, and healthy steps before it.
        self._open: tuple[str, int, int] | None = None

    def resume(self, *, known: bool) -> None:
        """Restore the remedies of earlier sessions and pass them to the policy.

        Args:
            known: Whether the trace of earlier sessions exists.
        """
        try:
            events = load_trace(self._state.save_dir).events if known else None
        except TraceError:
            events = None
        if events is None:
            self._journal.notice(
                "the trace of earlier sessions is missing: their remedies are unknown and are not "
                "applied"
            )
            return
        bias, history = None, []
        for kind, step, text in events.select("kind", "step", "data").rows():
            if kind in {"rescue", "resume"}:
                data = json.loads(text)
                history.append((kind, data))
            if kind == "rescue":
                self._take_over(int(step), data)
                bias = data.get("warmup_bias_lr", bias)
                if data.get("amp_cap"):
                    self._remedies.amp_cap = (float(data["amp_cap"][0]), int(data["amp_cap"][1]))
        self._remedies.follow(self._state, bias)
        self._remedies.know_rates(self._state)
        self._remedies.after_rollback(self._state)
        # The session's first snapshot was taken before the restored warm-up was known.
        back = restored_warmup(history, self._state.start_epoch, self._state.batches)
        self._run.begin_anew(warmup_back=back)

    def recovered(self) -> None:
        """Restore the remedies after Ultralytics' own recovery.

        The checkpoint it loads may hold the learning rates from before a rescue.
        """
        self._remedies.follow(self._state)
        self._remedies.after_rollback(self._state)

    def _take_over(self, step: int, data: dict[str, Any]) -> None:
        """Restore one remedy of an earlier session from its event."""
        action = Action(
            remedy=data["remedy"],
            cause=data["cause"],
            why=data["why"],
            value=data["value"],
            images=tuple(data["images"]),
            roll_back=data["restored_step"] is not None,
            groups=tuple(data.get("groups") or ()),
        )
        done = self._state.start_epoch * self._state.batches
        gone = max(0, done - int(data.get("iterations", 0)))
        self._remedies.resume(self._state, action, gone)
        event = Event(attempt=self._journal.attempt, step=step, kind="rescue", data=data)
        self._policy.event(event)
        self._count += 1

    def act(self, *, stepped: bool) -> None:
        """Query the policy and carry out its decision; call between two iterations.

        Args:
            stepped: Whether an iteration has just ended; False at the end of an epoch.
        """
        if stepped:
            self._remedies.after_iteration(self._state)
        decision = self._decision()
        if isinstance(decision, Ending):
            self._run.end_early(
                "rescue_stop",
                f"rescue={self._mode} ended the run at step {self._journal.step}: {decision.why}. "
                f"Most likely cause: {decision.cause.replace('_', ' ')}; {decision.advice}",
                {"cause": decision.cause, "advice": decision.advice},
            )
        elif decision is not None:
            self._carry_out(decision)
        elif self._open and self._run.healthy_steps - self._open[2] >= _WORKED:
            remedy, since, _ = self._open
            self._open = None
            self._journal.emit("rescued", None, {"remedy": remedy, "since": since})

    def _decision(self) -> Action | Ending | None:
        """Query the policy; if it raises, the rescue is disabled and training continues."""
        try:
            return None if self._failed else self._policy.decide()
        except Exception as error:
            self._failed = True
            self._journal.notice(
                f"rescue failed and is disabled for this run: {type(error).__name__}: {error}"
            )
            return None

    def _carry_out(self, action: Action) -> None:
        """Roll back, apply the remedy, and log what was done and why."""
        restored = self._roll_back(action.onset) if action.roll_back else None
        if restored is None:
            self._remedies.after_rollback(self._state)
        try:
            done = self._remedies.apply(self._state, action)
        except Exception as error:
            self._give_up(action, error, restored)
            return
        if action.remedy == "restart":
            self._run.begin_from_scratch()
        self._count += 1
        self._open = (action.remedy, self._journal.step, self._run.healthy_steps)
        data = {
            "number": self._count,
            "remedy": action.remedy,
            "value": action.value,
            "cause": action.cause,
            "why": action.why,
            "images": list(action.images),
            "groups": list(action.groups),
            "restored_step": restored,
            "done": done,
            "warmup_bias_lr": float(self._state.warmup_bias_lr),
            **self._run.warmup_progress(),
            "amp_cap": self._remedies.amp_cap,
        }
        if restored is not None:
            known = [restored, *([] if action.onset is None else [action.onset])]
            self._policy.undone(0 if action.remedy == "restart" else min(known))
        self._journal.emit("rescue", None, data)

    def _roll_back(self, before: int | None) -> int:
        """Roll back, reapply remedies that the rollback undid, and return the restored step."""
        restored = self._run.roll_back(before)
        self._remedies.after_rollback(self._state)
        return restored

    def _give_up(self, action: Action, error: Exception, restored: int | None) -> None:
        """Disable the rescue after a remedy has failed.

        A failed remedy may have changed part of the model, so a rolled-back state is restored once
        more.

        Args:
            action: Action that failed.
            error: Exception that the remedy raised.
            restored: Step of the state restored for this action; None without a rollback.
        """
        self._failed = True
        if restored is not None:
            restored = self._roll_back(None)
            self._policy.undone(restored)
            self._journal.emit(
                "rollback", None, {"restored_step": restored, "why": f"{action.remedy} failed"}
            )
        self._journal.notice(
            f"{action.remedy} failed; rescue is disabled for this run: "
            f"{type(error).__name__}: {error}"
        )
