"""Incident capture: saves the batches that led to a non-finite step, and names the culprit.

While steps are finite this holds only references to the batches of the open window and the states
of the random generators. The search runs on a copy of the model with forked generators, so that it
does not affect the training.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from yolo_stability.compat.ultralytics import (
    LOGGER,
    RANK,
    ultralytics_version,
)
from yolo_stability.config import StabilitySettings
from yolo_stability.core.errors import printable
from yolo_stability.guard.buffers import BufferSnapshot
from yolo_stability.guard.distributed import is_distributed
from yolo_stability.guard.guard import StepSigns
from yolo_stability.guard.incidents.batch import mixes_files
from yolo_stability.guard.incidents.folder import (
    INCIDENT_BYTES,
    Incident,
    json_safe,
    write_incident,
)
from yolo_stability.guard.incidents.model import describe_model, extra_tensors
from yolo_stability.guard.incidents.ranges import WeightRange, image_ranges, weights_finite
from yolo_stability.guard.incidents.search import Culprit, Hits, search
from yolo_stability.guard.incidents.window import (
    KEPT_BYTES,
    KeptBatch,
    KeptWindow,
    RandomState,
    forked_random_state,
)
from yolo_stability.guard.training_state import Processes, TrainingRun
from yolo_stability.trace import FOLDER

__all__ = ["Evidence", "IncidentKeeper"]

INCIDENTS = "incidents"
_MIXED = "it was mixed from several files (mosaic, mixup), and another of them may be to blame"

Emit = Callable[[str, str | None, dict[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Data that must be kept before a bad step is undone.

    Attributes:
        sign: Non-finite quantity: `loss`, `gradient` or `buffer`.
        gradients: References to the gradients by name.
        mine: Whether this rank observed it; gradients are shared by all ranks, so only a search can
            locate it.
    """

    sign: str
    gradients: list[tuple[str, Tensor]]
    mine: bool


class IncidentKeeper:
    """Keeps the data needed to explain a bad step, and writes the explanation.

    Args:
        run: The training after its setup.
        settings: Options of the run, including the number of incidents to write.
        emit: Receives kind, block and data of an event.
    """

    def __init__(self, run: TrainingRun, settings: StabilitySettings, emit: Emit) -> None:
        self._settings, self._emit = settings, emit
        self._left = settings.incidents
        self._window = KeptWindow(limit=KEPT_BYTES)
        # without a guard nothing else keeps a copy of the buffers
        guarded = settings.guard != "off"
        self._buffers = None if guarded or not self._left else BufferSnapshot(run.model)
        self._weights = WeightRange(run.model) if self._left else None
        self._was_bad = self._counted = False

    # The healthy path

    def keep(self, run: TrainingRun, batch: dict[str, Any], iteration: int, *, first: bool) -> None:
        """Keep a preprocessed batch by reference; call immediately before its forward.

        Args:
            run: The training.
            batch: The batch that the model will receive.
            iteration: Iteration of the batch.
            first: Whether it is the first since an optimizer step, or since the loop restarted.
        """
        if not self._left:
            return
        if first:
            self._window.clear()
            if self._buffers:
                self._buffers.take()
        random_state = RandomState.now(run.device)
        self._window.add(KeptBatch(iteration=iteration, batch=dict(batch), random=random_state))

    def note_loss(self, run: TrainingRun) -> None:
        """Store the loss of the latest batch before a finite one replaces it."""
        self._window.note_loss(run.loss)

    def largest_buffer(self) -> Tensor:
        """Return the largest buffer magnitude without a guard; see `BufferSnapshot.largest`."""
        return self._buffers.largest() if self._buffers and self._left else torch.zeros(0)

    # The bad step

    def evidence(
        self, run: TrainingRun, agreed: StepSigns, local: StepSigns | None = None
    ) -> Evidence | None:
        """Return the evidence to keep, or None if the step is finite or will not be explained.

        Without a guard the weights are bad from the first such step on, so only that one is
        informative.

        Args:
            run: The training, gradients in place.
            agreed: Signs agreed between all ranks.
            local: Signs of this rank; None if the ranks did not communicate.
        """
        self.note_loss(run)
        reason, follows = agreed.reason, self._was_bad and self._settings.guard == "off"
        self._was_bad = reason is not None
        if reason is None or follows or not self._left or not self._window.batches:
            self._window.clear()
            return None
        named = run.model.named_parameters()
        return Evidence(
            sign=reason,
            gradients=[(name, p.grad) for name, p in named if p.grad is not None],
            mine=_saw_it(run, agreed, local or agreed),
        )

    def write(self, run: TrainingRun, evidence: Evidence | None, step: int, attempt: int) -> None:
        """Explain a bad step and write its folder; the model must be in its state before the step.

        A failure here costs the explanation, never the run.

        Args:
            run: The training; with a guard the step is already undone.
            evidence: Result of `evidence`; None does nothing.
            step: The optimizer step.
            attempt: The attempt.
        """
        if evidence is None:
            return
        folder = Path(run.save_dir) / FOLDER / INCIDENTS / f"step-{step:06d}{_suffix(run)}"
        try:
            with forked_random_state(run.device):
                self._count_earlier(folder.parent)
                if self._left:
                    self._explain(run, evidence, folder, {"step": step, "attempt": attempt})
        except Exception as error:
            self._warn(
                f"the incident at step {step} could not be saved: {type(error).__name__}: "
                f"{_first_line(error)}"
            )
        finally:
            self._window.clear()

    def _explain(
        self, run: TrainingRun, evidence: Evidence, folder: Path, when: dict[str, int]
    ) -> None:
        """Search for the culprit, write the folder, and report both."""
        hits = Hits.of(evidence.sign, evidence.gradients)
        twin = self._twin(run)
        described = describe_model(twin)
        ranges = self._weight_range(twin)
        state = {k: v.detach().clone() for k, v in twin.state_dict().items()}
        try:
            culprit = search(twin, self._window.batches, hits, autocast=run.precision)
        except Exception as error:
            message = f"the search for it failed ({type(error).__name__}: {_first_line(error)})"
            culprit = Culprit(reproduced=False, message=message)
        mixed = bool(culprit.names) and mixes_files(run.arguments, int(run.epochs), int(run.epoch))
        if mixed:
            culprit = replace(culprit, message=f"{culprit.message}; {_MIXED}")
        if not (evidence.mine or culprit.reproduced):
            return
        self._left -= 1
        ranges |= self._ranges(culprit)
        facts = {
            **when,
            "epoch": int(run.epoch),
            "rank": RANK,
            "sign": evidence.sign,
            "culprit": _described(culprit),
            "ranges": ranges,
            "hits": {"parameters": hits.parameters, "count": hits.count, "total": hits.total},
            "model": described,
            "task": run.arguments["task"],
            "args": run.arguments,
            "settings": self._settings.model_dump(),
            "amp": _word(run.precision),
            "amp_scale": float(run.scaler.get_scale()) if run.scaler.is_enabled() else None,
            "device": str(run.device),
            "versions": {"torch": torch.__version__, "ultralytics": ultralytics_version},
        }
        gone = [i for i, kept in enumerate(self._window.batches) if kept.dropped]
        incident = Incident(
            facts=facts,
            weights=state,
            extras=extra_tensors(twin),
            window=self._window.batches,
            culprit=culprit.micro_batch,
            omitted=tuple(
                f"the images of micro-batch {i}: the window was too large for memory" for i in gone
            ),
        )
        self._store(folder, incident, culprit, mixed=mixed)

    def _weight_range(self, twin: nn.Module) -> dict[str, Any]:
        """Return whether the weights before the window were finite, and how much they had grown."""
        growth = self._weights.growth(twin) if self._weights else None
        return {"weights_finite": weights_finite(twin), "weight_growth": growth}

    def _ranges(self, culprit: Culprit) -> dict[str, Any]:
        """Return the range of the images and of the failing module's input, for the rules."""
        at, place = culprit.micro_batch, culprit.place
        return {
            **image_ranges(culprit, None if at is None else self._window.batches[at]),
            "module_input": None if place is None else place.largest_input,
            "custom": bool(place and place.custom),
            "only_in_half": culprit.only_in_half,
        }

    def _store(self, folder: Path, incident: Incident, culprit: Culprit, *, mixed: bool) -> None:
        """Write the folder and report it; on a disk error report at least the culprit."""
        place = culprit.place
        where: str | None = f"{INCIDENTS}/{folder.name}"
        try:
            omitted = write_incident(folder, incident, INCIDENT_BYTES)
            tail = f"folder {folder}" + "".join(f"; not saved: {text}" for text in omitted)
        except (OSError, RuntimeError) as error:  # torch's writer raises the latter on a full disk
            reason = getattr(error, "strerror", None) or _first_line(error)
            where, tail = None, f"its folder could not be written: {reason}"
        text = f"incident: {culprit.message}; {tail}"
        self._emit(
            "incident",
            None if place is None or place.phase == "loss" else place.block,
            {
                "folder": where,
                "culprit_module": None if place is None else place.block,
                "layer": None if place is None else place.layer,
                "phase": None if place is None else place.phase,
                "image": culprit.names[0] if culprit.names else None,
                "images": list(culprit.names),
                "mixed": mixed,
                "reproduced": culprit.reproduced,
                "text": culprit.message,
                "ranges": json_safe(incident.facts["ranges"]),
            },
        )
        self._warn(text)

    def _twin(self, run: TrainingRun) -> nn.Module:
        """Return a copy of the eager model, with the buffers from before the window."""
        model = run.model
        if self._buffers is None:  # the guard has already restored them
            return copy.deepcopy(model)
        now = BufferSnapshot(model)
        now.take()
        self._buffers.restore()
        try:
            return copy.deepcopy(model)
        finally:
            now.restore()

    def _count_earlier(self, folder: Path) -> None:
        """Count the incidents of earlier sessions of a resumed run."""
        if not self._counted:
            self._counted = True
            earlier = len(list(folder.glob("step-*"))) if folder.is_dir() else 0
            self._left = max(0, self._left - earlier)

    def _warn(self, text: str) -> None:
        """Log a warning; repeats are not suppressed."""
        LOGGER.warning(f"stability: {printable(text)}")


def _saw_it(run: Processes, agreed: StepSigns, local: StepSigns) -> bool:
    """Return whether this rank observed the sign; rank 0 reports shared gradients."""
    if not is_distributed(run):
        return True
    return RANK == 0 if agreed.reason == "gradient" else local.reason in {"loss", "buffer"}


def _described(culprit: Culprit) -> dict[str, Any]:
    """Return the JSON entries of a culprit."""
    place = culprit.place
    return {
        "reproduced": culprit.reproduced,
        "message": culprit.message,
        "module": None if place is None else place.block,
        "layer": None if place is None else place.layer,
        "phase": None if place is None else place.phase,
        "operation": None if place is None else place.operation,
        "parameter": None if place is None else place.parameter,
        "micro_batch": culprit.micro_batch,
        "images": culprit.images,
        "why": culprit.why,
    }


def _word(precision: torch.dtype | None) -> str | None:
    """Return the name of a precision."""
    return None if precision is None else str(precision).removeprefix("torch.")


def _suffix(run: Processes) -> str:
    """Return the suffix that distinguishes the folders of several ranks."""
    return f"-rank{RANK}" if is_distributed(run) else ""


def _first_line(error: Exception) -> str:
    """Return the first line of an error message."""
    return str(error).splitlines()[0] if str(error) else "no text"
