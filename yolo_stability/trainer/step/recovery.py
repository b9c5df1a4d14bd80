"""How a run goes back to its last healthy state, goes on from there, or ends with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from yolo_stability.config import StabilitySettings
from yolo_stability.guard.distributed import all_ranks
from yolo_stability.guard.guard import Guard, Reason
from yolo_stability.guard.snapshots import HealthyStates
from yolo_stability.trainer.step.healthy_steps import Health
from yolo_stability.trainer.step.journal import Journal
from yolo_stability.trainer.step.loop_state import LoopState
from yolo_stability.trainer.step.warmup import WarmUp

__all__ = ["Recovery"]

_NO_DATA: Mapping[str, Any] = {}


class Recovery:
    """Keeps the healthy states of a run, and puts one back; without a guard there is none.

    Args:
        state: The training after its set-up; with a guard its first state counts as healthy.
        settings: How many skips in a row end the run.
        journal: Where the run is.
        guard: The guard; None without one.
        before_restore: Called before a state is put back: no record of what is undone may arrive later.

    Attributes:
        warmup: Where the run stands in its warm-up.
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
        # what a rescue wants to go back to lies before trouble
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
        """Healthy steps since the start or the last rescue."""
        return self._health.healthy_steps

    @property
    def unhealthy_step(self) -> int:
        """Last step that was unhealthy; see `Health.unhealthy_step`."""
        return self._health.unhealthy_step

    def doubt(self, step: int) -> None:
        """Trust no state up to a step, as the policy says; -1 for none.

        Args:
            step: Last step after which the policy does not trust a state.
        """
        self._health.doubtful_step = step

    def warmup_progress(self) -> dict[str, int]:
        """Return iterations that rollbacks have given back, and those passed as Ultralytics counts them."""
        return {
            "warmup_back": self.warmup.back,
            "iterations": self.warmup.passed(self._journal.iteration),
        }

    # Steps

    def begin_epoch(self, epoch: int) -> None:
        """Note where the warm-up stands at the beginning of an epoch."""
        self.warmup.begin_epoch(self._state, epoch, self._journal.iteration)

    def skipped(self, reason: Reason) -> None:
        """Take note of a step that the guard has skipped; end the run after too many of them."""
        assert self._guard is not None
        self._health.skipped(self._journal.step)
        if self._healthy:
            self._healthy.observe(self._state, self._journal.step, healthy=False)
        if self._guard.in_a_row > self._limit:
            text = (
                f"{self._guard.in_a_row} step(s) in a row were non-finite ({reason}) "
                f"at step {self._journal.step}"
            )
            self.end_early("guard_stop", text, {"reason": reason})

    def applied(self, loss: float, grad_norm: float) -> bool:
        """Take note of a step that was applied; return False where it lies outside the run's own baseline.

        Args:
            loss: Its loss.
            grad_norm: Total gradient norm before clipping.
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
        """Say so if the run ends with steps that were all skipped; None otherwise."""
        count = self._guard.in_a_row if self._guard else 0
        return (
            f"the last {count} steps were all skipped: nothing was learnt from them"
            if count > 1
            else None
        )

    # Going back

    def keep_finite(self) -> None:
        """Put the last healthy state back if the present one is not finite.

        A huge learning rate can blow weights up in one step whose gradients were finite.
        """
        if not (self._guard and self._healthy):
            return
        if not all_ranks(self._state, self._guard.is_finite(self._state)):
            restored = self._restore(self._healthy)
            data = {"restored_step": restored, "why": "the weights were not finite"}
            self._journal.emit("rollback", None, data)

    def roll_back(self, before: int | None) -> int:
        """Put back the last healthy state, from before a step if that is known; return its step."""
        assert self._healthy and self._guard  # noqa: PT018
        self._guard.in_a_row = 0
        self._health.forget()
        return self._restore(self._healthy, before)

    def begin_anew(self, warmup_back: int | None = None) -> None:
        """Take the present state for the healthy one, and forget those before: a run or a sitting begins here.

        Args:
            warmup_back: Iterations of the warm-up that earlier sittings have given back; None leaves them as they are.
        """
        journal = self._journal
        if warmup_back is not None:
            self.warmup.back = warmup_back
        place = self.warmup.place(journal.iteration)
        self._healthy = HealthyStates(
            self._state, journal.step, youngest=self._youngest, place=place
        )

    def begin_from_scratch(self) -> None:
        """Begin anew with new weights, whose warm-up is all before them."""
        self.warmup.return_to(0, self._journal.iteration)
        self.begin_anew()

    def new_weights(self) -> None:
        """Begin anew with weights that a first batch has made."""
        if self._guard and self._healthy:
            self._guard.before_window()
            self.begin_anew()

    def end_early(self, kind: str, text: str, data: Mapping[str, Any] = _NO_DATA) -> None:
        """End the run with its last healthy state if there is one.

        Args:
            kind: Kind of the event.
            text: Why, in one sentence without its full stop.
            data: More for the event.
        """
        restored = self._restore(self._healthy) if self._healthy else None
        kept = "" if restored is None else f" The state of step {restored} was restored and saved."
        self._journal.stopped = f"{text}.{kept}"
        data = {**data, "text": self._journal.stopped, "restored_step": restored}
        self._journal.emit(kind, None, data)
        self._state.stop()

    def _restore(self, healthy: HealthyStates, before: int | None = None) -> int:
        """Put the last healthy state back; return its step."""
        self._before_restore()
        self._health.rolled_back(self._journal.step)
        self._state.optimizer.zero_grad()
        healthy.restore(self._state, before)
        self.warmup.return_to(healthy.place, self._journal.iteration)
        return healthy.step
