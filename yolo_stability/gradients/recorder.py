"""Recorder: follows a PyTorch training loop and records each optimizer step."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from yolo_stability.core.errors import StabilityError
from yolo_stability.core.failures import failure_of
from yolo_stability.core.signals import shielded
from yolo_stability.core.types import BlockStats, Event, Skip, StepRecord, Trace
from yolo_stability.gradients import usage
from yolo_stability.gradients.loop import LoopParts, LoopReading, describe_loop
from yolo_stability.gradients.norms import to_host
from yolo_stability.gradients.optimizers import momentum
from yolo_stability.gradients.updates import NOTHING, UpdateSampling, with_update_ratios
from yolo_stability.trace import (
    FOLDER,
    TraceWriter,
    clear_trace,
    load_trace,
    lock_folder,
    unlock_folder,
)

__all__ = ["Recorder"]

_in_use: set[Path] = set()


class Recorder:
    """Records one training loop; created by `record`."""

    def __init__(
        self,
        parts: LoopParts,
        folder: Path,
        config: dict[str, Any],
        *,
        watch_every: int,
        plots: bool,
    ) -> None:
        self.save_dir = folder
        self._parts, self._index, self._config, self._plots = parts, parts.index, config, plots
        self._sampling = UpdateSampling(self._index, watch_every)
        self._writer: TraceWriter | None = None
        self._undo = ExitStack()
        self._passes = self._seen = [0] * len(self._index.blocks)
        self._steps = self._iterations = self._epoch = 0
        self._state = "new"
        self._logged: set[str] = set()
        self._reading: LoopReading | None = None
        self._held: StepRecord | None = None
        self._deferred: tuple[Tensor, Tensor, Tensor] = (NOTHING, NOTHING, NOTHING)
        self._inside = self._unannounced = False
        self._clock = time.perf_counter()

    @property
    def trace(self) -> Trace:
        """The trace recorded so far, read from disk.

        Raises:
            TraceError: No trace could be written.
        """
        if self._writer is not None and self._state == "open":
            self._flush()
            self._writer.compact(wait=True)
        return load_trace(self.save_dir)

    # The `with` statement

    def __enter__(self) -> Self:
        """Lock the folder and start recording; an error on the way releases the lock and all hooks.

        Raises:
            StabilityError: The recorder has been used, or the folder is in use by this or another
                process.
            TraceError: An earlier trace cannot be removed.
        """
        if self._state != "new":
            raise StabilityError(
                "This recorder has been used: call record(...) again for another training run."
            )
        folder = (self.save_dir / FOLDER).resolve()
        if self._parts.writes and folder in _in_use:
            raise StabilityError(
                f"'{self.save_dir}' is already being recorded: choose another out=."
            )
        with ExitStack() as undo:  # warnings may be configured to raise
            if self._parts.writes:
                undo.callback(_in_use.discard, folder)
                _in_use.add(folder)
                undo.callback(unlock_folder, folder)
                self._log(lock_folder(folder, shown=self.save_dir, option="out"))
                clear_trace(folder, option="out")
                self._writer = TraceWriter(folder, [b.name for b in self._index.blocks])
                undo.callback(self._writer.close)
                self._writer.write_header(describe_loop(self._parts, self._config))
                self._hook(undo)
            self._log(self._parts.note)
            self._undo = undo.pop_all()
        self._state, self._clock = "open", time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        with shielded():
            self._state, writer = "closed", self._writer
            if writer is None:
                return
            try:
                self._drop(at_end=True)
                self._flush()
            finally:  # warnings may be configured to raise
                self._event("end", self._end_data(error))
                self._undo.close()
            if writer.error:
                warnings.warn(f"stability: {writer.error}", stacklevel=2)
        if self._plots and self._steps:
            self._draw()

    def _hook(self, undo: ExitStack) -> None:
        """Hook the optimizer's steps, and count backward passes by one parameter of each block."""
        undo.callback(self._parts.optimizer.register_step_pre_hook(self._before_update).remove)
        undo.callback(self._parts.optimizer.register_step_post_hook(self._after_update).remove)
        seen: set[int] = set()
        for parameter, block in zip(
            self._index.params, self._index.positions.tolist(), strict=True
        ):
            if parameter.requires_grad and block not in seen:
                seen.add(block)
                handle = parameter.register_post_accumulate_grad_hook(partial(self._count, block))  # type: ignore[no-untyped-call]
                undo.callback(handle.remove)

    # The loop

    def step(
        self,
        loss: Tensor | float | None = None,
        loss_items: Mapping[str, Tensor | float] | None = None,
        *,
        epoch: int | None = None,
    ) -> None:
        """Measure the gradient; call once per step, after `backward()` and before any clipping.

        In a closure (LBFGS) it may be called at each evaluation; the last call counts, and the clip
        coefficient is not recorded.

        Args:
            loss: Loss of the step to record.
            loss_items: Components of the loss by name.
            epoch: Epoch, counted from 0; default: that of the previous call.

        Raises:
            StabilityError: The `with` block has not been entered, or has ended.
        """
        if self._state != "open":
            when = (
                "before its `with` block was entered"
                if self._state == "new"
                else "after its `with` block had ended"
            )
            raise StabilityError(
                f"r.step() was called {when}: put the training loop inside `with record(...) as "
                "r:`."
            )
        if self._writer is None:
            return
        too_late = self._unannounced and not any(self._passes)
        if too_late or all(p.grad is None for p in self._index.params):
            self._log(usage.TOO_LATE if too_late else usage.NO_GRADIENT)
            return
        if self._reading is not None and not self._inside:
            self._drop()
        self._epoch = self._epoch if epoch is None else int(epoch)
        self._reading = self._measure(loss, loss_items or {}, announced=True)

    def _count(self, block: int, _: Tensor) -> None:
        self._passes[block] += 1

    def _measure(
        self, loss: Tensor | float | None, items: Mapping[str, Tensor | float], *, announced: bool
    ) -> LoopReading:
        """Measure the gradients, and complete the previous record with the same transfer."""
        reading = self._parts.read(loss, items, self._deferred, in_step=not announced)
        self._complete_held(*reading.transferred)
        self._seen = list(self._passes)
        return reading

    def _before_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Measure the clipped gradient, without a transfer to the host."""
        self._inside, self._unannounced = True, False
        # the hook receives the optimizer as args[0]
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        clipped = NOTHING
        if closure is not None:
            self._flush()
            self._reading = None
        elif self._reading is None:
            self._reading, self._unannounced = self._measure(None, {}, announced=False), True
            self._log(usage.NO_STEP)
        else:
            clipped = self._parts.clipped_total()
        self._sampling.before_update(self._steps)
        self._deferred = (NOTHING, NOTHING, clipped)

    def _after_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Record the completed step."""
        reading, self._reading, self._inside = self._reading, None, False
        clipped = self._deferred[2]
        if reading is None:  # a closure that did not call r.step()
            self._deferred = (NOTHING, NOTHING, NOTHING)
            reading, self._unannounced = self._measure(None, {}, announced=False), True
            self._log(usage.NO_STEP)
        self._deferred = (*self._sampling.after_update(), clipped)
        self._finish(
            reading, "scaler" if reading.nonfinite and self._parts.skips_inside() else None
        )

    def _drop(self, *, at_end: bool = False) -> None:
        """Handle a gradient without an optimizer step: record a skipped one, discard any other."""
        reading, self._reading = self._reading, None
        if reading is None:
            return
        if reading.nonfinite:
            self._log(None if self._parts.scaler else usage.UNUSED)
            self._event("scaler_skip", {"scale": reading.amp_scale})
            self._finish(reading, "scaler")
        elif not at_end:
            self._log(usage.TWICE)

    def _finish(self, reading: LoopReading, skipped: Skip | None) -> None:
        """Build the record of a step; hold it while the rest is still on the device."""
        passes, now = max(*self._seen, 1), time.perf_counter()
        self._iterations += passes
        blocks = zip(self._index.blocks, reading.block_norms, reading.block_nonfinite, strict=True)
        self._held = StepRecord(
            attempt=0,
            step=self._steps,
            iteration=self._iterations - 1,
            epoch=self._epoch,
            accumulate=passes,
            loss=reading.loss,  # type: ignore[arg-type] # null in the trace; NaN would be an alarm
            loss_items=reading.loss_items,
            lr_by_group=self._parts.rates(),
            momentum=momentum(self._parts.optimizer),
            grad_norm=reading.grad_norm,
            clip_coef=None,
            amp_scale=reading.amp_scale,
            skipped=skipped,
            nonfinite=reading.nonfinite,
            seconds=now - self._clock,
            blocks=tuple(
                BlockStats(block=b.name, grad_norm=n, nonfinite_count=c) for b, n, c in blocks
            ),
        )
        self._clock, self._passes = (
            now,
            [p - s for p, s in zip(self._passes, self._seen, strict=True)],
        )
        self._steps += 1
        if all(vector.device.type == "cpu" for vector in self._deferred):
            self._flush()

    def _flush(self) -> None:
        if self._held is not None:
            self._complete_held(*to_host(*self._deferred))

    def _complete_held(
        self,
        weights: NDArray[np.float64],
        deltas: NDArray[np.float64],
        clipped: NDArray[np.float64],
    ) -> None:
        """Complete the held record with values from the device, and write it."""
        step, self._held = self._held, None
        self._deferred = (NOTHING, NOTHING, NOTHING)
        if step is None or self._writer is None:
            return
        if len(clipped) and step.grad_norm:
            coefficient = float(clipped[0]) / step.grad_norm
            step = replace(step, clip_coef=coefficient if math.isfinite(coefficient) else None)
            if self._parts.scaler is None:
                self._log(usage.forgotten_scale(coefficient))
        index, positions = self._index, self._sampling.positions
        self._writer.append(with_update_ratios(step, index, positions, weights, deltas))

    # Outputs

    def _log(self, text: str | None) -> None:
        """Issue each warning once, on the terminal and in the trace."""
        if text and text not in self._logged:
            self._logged.add(text)
            self._event("notice", {"text": text})
            warnings.warn(f"stability: {text}", stacklevel=3)

    def _end_data(self, error: BaseException | None) -> dict[str, Any]:
        """Return the data of the end event; whether the loop is done, only its author knows."""
        data: dict[str, Any] = {"completed": error is None, "stopped": None}
        if error is None:
            return data
        interrupted = isinstance(error, KeyboardInterrupt)
        return {
            **data,
            "error": type(error).__name__,
            "state": "interrupted" if interrupted else "exception",
            "epochs_done": self._epoch,
            "exception": None if interrupted else asdict(failure_of(error)),
        }

    def _event(self, kind: str, data: dict[str, Any]) -> None:
        if self._writer is not None:
            self._writer.event(Event(attempt=0, step=self._steps, kind=kind, data=data))

    def _draw(self) -> None:
        """Draw `gradient_norms.png`; a failure does not stop the training."""
        from yolo_stability.display.run_picture import draw_run

        try:
            draw_run(self.trace)
        except Exception as error:
            warnings.warn(
                f"stability: cannot draw gradient_norms.png: {type(error).__name__}: {error}",
                stacklevel=3,
            )
