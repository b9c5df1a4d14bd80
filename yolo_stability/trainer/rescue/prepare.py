"""Setup of the rescue of one run."""

from __future__ import annotations

from yolo_stability.interventions.switches import Switches
from yolo_stability.trainer.policy import Policy
from yolo_stability.trainer.rescue.controller import Rescue
from yolo_stability.trainer.rescue.remedies import LiveRemedies
from yolo_stability.trainer.step.loop import StepLoop
from yolo_stability.trainer.trainer_state import TrainerState

__all__ = ["prepare_rescue"]


def prepare_rescue(
    state: TrainerState,
    loop: StepLoop,
    policy: Policy | None,
    switches: Switches,
    mode: str,
    cost: str | None,
    *,
    known: bool,
) -> Rescue | None:
    """Set up the rescue; it changes the state of one process, so distributed runs have none.

    Args:
        state: State of the training.
        loop: The step loop.
        policy: Decides what to do; None if there is no policy.
        switches: Switches of the run, which remedies change.
        mode: Value of `rescue=`.
        cost: Notice of what the rescue costs; None if this training cannot be rescued.
        known: Whether the trace of a resumed run is there.
    """
    if cost is None or policy is None:
        loop.journal.notice(
            "rescue is off: it needs a single process, a trainer that does not override "
            "optimizer_step, and guard=skip"
        )
        return None
    loop.journal.notice(cost)
    remedies = LiveRemedies(switches)
    loop.batches.excluded_images = remedies.excluded_images
    rescue = Rescue(state, loop.recovery, loop.journal, policy, remedies, mode)
    if state.resume:
        rescue.resume(known=known)
    return rescue
