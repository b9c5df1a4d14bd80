"""Notices about what a run could not do, or did little of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from yolo_stability.checkpoint.audit import audit_checkpoint
from yolo_stability.checkpoint.reader import CheckpointError
from yolo_stability.compat.ultralytics import Trainer
from yolo_stability.config import StabilitySettings
from yolo_stability.core.errors import printable
from yolo_stability.core.ignored_settings import ignored_by_auto
from yolo_stability.core.types import RunHeader
from yolo_stability.interventions.switches import Switches
from yolo_stability.trainer.step.journal import Journal

__all__ = ["few_steps", "limits", "mistakes"]


def limits(
    trainer: Trainer, switches: Switches, asked: StabilitySettings, supported: StabilitySettings
) -> Iterator[str]:
    """Yield notices of switches with little effect, and of a guard that a trainer rules out.

    Args:
        trainer: The trainer.
        switches: Switches of the run.
        asked: Settings that the user asked for.
        supported: Settings that this trainer supports.
    """
    yield from switches.warnings
    if supported.guard != asked.guard:
        name = type(trainer).__name__.removeprefix("Stability")
        yield f"{name} overrides optimizer_step: its steps are recorded, but not guarded"


def mistakes(trainer: Trainer, header: RunHeader) -> Iterator[str]:
    """Yield warnings about settings without effect and about damaged weights, before training.

    Args:
        trainer: The trainer, after its setup.
        header: Header of the run.
    """
    ignored = None if trainer.resume else ignored_by_auto(header.requested, header.effective)
    if ignored:
        yield ignored
    for source in (trainer.args.model, getattr(trainer.args, "pretrained", None)):
        if isinstance(source, str | Path) and Path(source).suffix == ".pt":
            yield from _damage(Path(source))


def _damage(file: Path) -> Iterator[str]:
    """Yield what the audit of a checkpoint finds, if it is there and not sound."""
    try:
        audit = audit_checkpoint(file) if file.is_file() else None
    except CheckpointError:  # Ultralytics could load it
        return
    if audit and audit.findings and audit.verdict in {"failed", "unstable"}:
        word = "is damaged" if audit.verdict == "failed" else "looks wrong"
        yield printable(
            f"{file} {word}: {audit.findings[0].message} Training starts from it nevertheless; "
            f"'yolo-stability diagnose {file}' shows the audit."
        )


def few_steps(journal: Journal, before: tuple[int, int], epoch: int, batch: int) -> str | None:
    """Return a notice if accumulation left few steps: 28 images with nbs=64 make one in two epochs.

    Args:
        journal: Counters of the run.
        before: Steps and iterations of earlier sessions.
        epoch: Last epoch, counted from 0.
        batch: Images per batch.
    """
    steps, iterations = journal.step - before[0], journal.iteration - before[1]
    if steps == 0 and iterations > 1:
        return (
            "no optimizer step was recorded: the trainer overrides optimizer_step without "
            "calling super().optimizer_step()"
        )
    if 0 < steps < 2 * (epoch + 1) and iterations >= 2 * steps:
        return (
            f"{iterations} batches made only {steps} optimizer "
            f"step{'' if steps == 1 else 's'}, because gradients are accumulated up to the "
            f"nominal batch size nbs; set nbs={batch} to take a step after every batch"
        )
    return None
