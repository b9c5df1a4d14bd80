"""`Recovery`: rolls a run back to its last healthy state, to continue or to end the run there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from yolo_stability.config import StabilitySettings
from yolo_stability.core.types import EndReason
from yolo_stability.guard.distributed import all_ranks
from yolo_stability.guard.guard import Guard, Reason
from yolo_stability.guard.snapshots import HealthyStates
from yolo_stability.trainer.step.healthy_steps import Health
from yolo_stability.trainer.step.journal import Journal
from yolo_stability.trainer.step.loop_state import LoopState
from yolo_stability.trainer.step.warmup import WarmUp

__all__ = ["Recovery"]

_NO_DATA: Mapping[str, Any] = {}
_ENDED_BY: Mapping[str, EndReason] = {
    "guard_stop": "guard",
    "fail_on": "fail_on",
    "rescue_stop": "rescue",
}


class Recovery:
    """Keeps and restores the healthy states of a run; does nothing without a guard.

    Args:
        state: State of the training after its setup; with a guard this first state counts as
            healthy.
        settings: The yolo_stability options; `guard_limit` consecutive skips are allowed.
        journal: Counters of the run.
        guard: The guard; None if it is off.
        before_restore: Called before a state is restored, so that no record of undone steps arrives
            later.

    Attributes:
        warmup: Warm-up progress of the run.
    """

    def __init__(
        self,
        state: LoopState,
        settings: StabilitySettings,
        journal: Journal,
        guard: Guard | None,
        before_restore: Callable[[], None],
    ) -> None:
        self._state, self._journal, self._guard = state, journal, guard
        self._before_restore = before_restore
        rescued = settings.rescue != "off"
        # A rescue needs an older state, from before the failure developed.
        self._youngest = 16 if rescued else 4
        self._limit = (
            0 if settings.guard == "stop" else max(settings.guard_limit, 3 if rescued else 1)
        )
        self._health, self.warmup = Health(), WarmUp()
        self.warmup.begin_epoch(state, state.start_epoch, journal.iteration)
        self._healthy: HealthyStates | None = None
        if guard:
            self.begin_anew()

    @property
    def healthy_steps(self) -> int:
        """Number of healthy steps since the start or the latest rescue."""
        return self._health.healthy_steps

    @property
    def unhealthy_step(self) -> int:
        """Last unhealthy step; see `Health.unhealthy_step`."""
        return self._health.unhealthy_step

    def doubt(self, step: int) -> None:
        """Set the step up to which the policy trusts no state.

        Args:
            step: Last step after which the policy does not trust the state; -1 for none.
        """
        self._health.doubtful_step = step

    def warmup_progress(self) -> dict[str, int]:
        """Return the warm-up iterations restored by rollbacks, and Ultralytics' iteration count."""
        return {
            "warmup_back": self.warmup.back,
            "iterations": self.warmup.passed(self._journal.iteration),
        }

    # Steps

    def begin_epoch(self, epoch: int) -> None:
        """Update the warm-up progress at the start of an epoch."""
        self.warmup.begin_epoch(self._state, epoch, self._journal.iteration)

    def skipped(self, reason: Reason) -> None:
        """Register a step that the guard skipped; end the run after too many in a row."""
        assert self._guard is not None
        self._health.skipped(self._journal.step)
        if self._healthy:
            self._healthy.observe(self._state, self._journal.step, healthy=False)
        if self._guard.in_a_row > self._limit:
            count = self._guard.in_a_row
            text = (
                f"{count} consecutive step{'s were' if count > 1 else ' was'} non-finite "
                f"({reason}) at step {self._journal.step}"
            )
            self.end_early("guard_stop", text, {"reason": reason})

    def applied(self, loss: float, grad_norm: float) -> bool:
        """Register an applied step.

        Args:
            loss: Loss of the step.
            grad_norm: Total gradient norm before clipping.

        Returns:
            Whether the step was within the run's own baseline; True without a guard.
        """
        if not self._healthy:
            return True
        step, iteration = self._journal.step, self._journal.iteration
        healthy = self._health.applied(step, loss, grad_norm)
        self._healthy.observe(
            self._state,
            step + 1,
            healthy=healthy and self._health.trusts(step),
            place=self.warmup.place(iteration + 1),
        )
        return healthy

    def skipped_to_the_end(self) -> str | None:
        """Return a message if the run ended with several skipped steps; None otherwise."""
        count = self._guard.in_a_row if self._guard else 0
        return (
            f"the last {count} steps were all skipped: the model did not learn from them"
            if count > 1
            else None
        )

    # Rollbacks

    def keep_finite(self) -> None:
        """Restore the last healthy state if the current one is not finite.

        A huge learning rate can make weights overflow in a single step with finite gradients.
        """
        if not (self._guard and self._healthy):
            return
        if not all_ranks(self._state, self._guard.is_finite(self._state)):
            restored = self._restore(self._healthy)
            data = {"restored_step": restored, "why": "the weights were not finite"}
            self._journal.emit("rollback", None, data)

    def roll_back(self, before: int | None) -> int:
        """Restore the last healthy state.

        Args:
            before: Step before which the state must have been saved; None for any.

        Returns:
            Step of the restored state.
        """
        assert self._healthy and self._guard  # noqa: PT018
        self._guard.in_a_row = 0
        self._health.forget()
        return self._restore(self._healthy, before)

    def begin_anew(self, warmup_back: int | None = None) -> None:
        """Keep the current state as the only healthy one, at the start of a run or session.

        Args:
            warmup_back: Warm-up iterations restored in earlier sessions; None keeps the current
                number.
        """
        journal = self._journal
        if warmup_back is not None:
            self.warmup.back = warmup_back
        place = self.warmup.place(journal.iteration)
        self._healthy = HealthyStates(
            self._state, journal.step, youngest=self._youngest, place=place
        )

    def begin_from_scratch(self) -> None:
        """Start again with newly initialized weights and a full warm-up."""
        self.warmup.return_to(0, self._journal.iteration)
        self.begin_anew()

    def new_weights(self) -> None:
        """Start again with weights that were initialized from the first batch."""
        if self._guard and self._healthy:
            self._guard.before_window()
            self.begin_anew()

    def end_early(self, kind: str, text: str, data: Mapping[str, Any] = _NO_DATA) -> None:
        """End the run early, with its last healthy state if there is one.

        Args:
            kind: Kind of the event.
            text: Reason, one sentence without the final period.
            data: Further data of the event.
        """
        restored = self._restore(self._healthy) if self._healthy else None
        kept = "" if restored is None else f" The state of step {restored} was restored and saved."
        self._journal.stopped = f"{text}.{kept}"
        self._journal.stopped_by = _ENDED_BY.get(kind)
        data = {**data, "text": self._journal.stopped, "restored_step": restored}
        self._journal.emit(kind, None, data)
        self._state.stop()

    def _restore(self, healthy: HealthyStates, before: int | None = None) -> int:
        """Restore the last healthy state; return its step."""
        self._before_restore()
        self._health.rolled_back(self._journal.step)
        self._state.optimizer.zero_grad()
        healthy.restore(self._state, before)
        self.warmup.return_to(healthy.place, self._journal.iteration)
        return healthy.step
