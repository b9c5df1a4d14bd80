"""The gradients of one training: their losses between two steps, and the reading of the present step."""

from __future__ import annotations

from torch import Tensor

from yolo_stability.gradients.blocks import model_blocks
from yolo_stability.gradients.norms import BlockIndex
from yolo_stability.trainer.step.accumulation import Window, gradient_norm
from yolo_stability.trainer.step.gradient_reading import Reading, read_gradients
from yolo_stability.trainer.step.loop_state import LoopState

__all__ = ["GradientReader"]


class GradientReader:
    """Reads the gradients of each step, and holds the reading until the step is recorded.

    Args:
        state: The training.

    Attributes:
        blocks: Blocks of the model.
        index: Its parameters and their blocks.
        window: Losses of the iterations whose gradients the next step sums.
    """

    def __init__(self, state: LoopState) -> None:
        self._state = state
        self.blocks = model_blocks(state.model)
        self.index = BlockIndex.of(state.model, self.blocks)
        self.window = Window()
        self._reading: Reading | None = None

    def read(self, largest_buffer: Tensor, deferred: tuple[Tensor, ...]) -> Reading:
        """Measure the gradients of a step; call between `scaler.unscale_` and the clip.

        Args:
            largest_buffer: From `Guard.largest_buffer`; empty when nobody guards.
            deferred: Vectors of the previous step that shall travel along.
        """
        return read_gradients(self._state, self.index, self.window, largest_buffer, deferred)

    def end_iteration(self, *, measure: bool) -> None:
        """Take the losses of an iteration along that no step followed.

        Args:
            measure: The coming step is measured: take the norm of its first micro-batch.
        """
        self.window.absorb(self._state)
        if self.window.iterations == 1 and measure:
            self.window.micro_norm = gradient_norm(self.index)

    def hold(self, reading: Reading) -> None:
        """Hold the reading of a step that is admitted."""
        self._reading = reading

    def take(self) -> Reading:
        """Return the reading that is held, and hold none."""
        reading, self._reading = self._reading, None
        assert reading is not None
        return reading
