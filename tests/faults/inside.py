"""Trainings in this process, with a model of millisecond steps and hooks in its events."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from process import MODELS, TINY
from ultralytics.utils.callbacks.base import default_callbacks
from ultralytics.utils.torch_utils import unwrap_model

from yolo_stability.cli.main import main
from yolo_stability.core.types import Trace
from yolo_stability.trace import load_trace

Hand = Callable[[Any], None]


@contextlib.contextmanager
def hands(events: Mapping[str, Hand]) -> Iterator[None]:
    """Call functions at events of every training inside the context, before anybody else."""
    for event, hand in events.items():
        default_callbacks[event].insert(0, hand)
    try:
        yield
    finally:
        for event, hand in events.items():
            default_callbacks[event].remove(hand)


@dataclass
class Ended:
    """How a training in this process ended.

    Attributes:
        code: Exit code.
        said: What it printed, log and errors together.
        run: Its run folder.
    """

    code: int
    said: str
    run: Path

    @property
    def trace(self) -> Trace:
        """What was recorded."""
        return load_trace(self.run)

    @property
    def last(self) -> Path:
        """Its last checkpoint."""
        return self.run / "weights" / "last.pt"

    @property
    def last_line(self) -> str:
        """The last line it printed."""
        return (self.said.strip().splitlines() or [""])[-1]

    def kinds(self) -> list[str]:
        """Return the kinds of its events."""
        kinds: list[str] = self.trace.events["kind"].to_list()
        return kinds


def bad_tensors(trainer: Any) -> list[str]:
    """Return the names of tensors in model, EMA, optimizer and settings with NaN or Inf."""
    tensors = {f"model.{n}": t for n, t in unwrap_model(trainer.model).state_dict().items()}
    tensors |= {f"ema.{n}": t for n, t in trainer.ema.ema.state_dict().items()}
    for i, slots in enumerate(trainer.optimizer.state.values()):
        tensors |= {
            f"optimizer.{i}.{k}": v for k, v in slots.items() if isinstance(v, torch.Tensor)
        }
    for i, group in enumerate(trainer.optimizer.param_groups):
        numbers = {k: v for k, v in group.items() if isinstance(v, float | tuple)}
        tensors |= {f"group.{i}.{k}": torch.tensor(v) for k, v in numbers.items()}
    tensors["scale"] = torch.tensor(trainer.scaler.get_scale())
    return [name for name, tensor in tensors.items() if not torch.isfinite(tensor.float()).all()]


class Inside:
    """Trains in this process, as the command line does.

    Args:
        folder: Where models and runs go.
        capture: Takes what is printed.
        log: Takes what goes to Ultralytics' log.
    """

    def __init__(self, folder: Path, capture: Any, log: pytest.LogCaptureFixture) -> None:
        self.folder, self._capture, self._log = folder, capture, log
        self.told: list[str] = []

    def __call__(self, words: list[str], **events: Hand) -> Ended:
        """Run the command line with hands in its events."""
        torch.set_num_threads(1)
        self._log.clear()
        self._capture.readouterr()
        with hands(events):
            code = main(words)
        out, err = self._capture.readouterr()
        run = (
            next(
                (Path(word.partition("=")[2]) for word in words if word.startswith("project=")),
                self.folder,
            )
            / "run"
        )
        return Ended(code, "\n".join([out, *(r.getMessage() for r in self._log.records), err]), run)

    def tell(self, text: str) -> None:
        """Keep a line for the test report, because the next training captures the output."""
        self.told.append(text)

    def train(
        self,
        task: str = "detect",
        name: str = "a",
        hands: Mapping[str, Hand] | None = None,
        **changed: Any,
    ) -> Ended:
        """Train a tiny run into `<folder>/<name>/run`."""
        figures = {"data": "figures", "fliplr": 0} if task == "pose" else {}
        values = {
            **TINY,
            **figures,
            "model": MODELS[task],
            "project": self.folder / name,
            "name": "run",
        }
        words = [f"{key}={value}" for key, value in {**values, "exist_ok": True, **changed}.items()]
        return self(["train", task, *words], **(hands or {}))

    def resume(self, ended: Ended, *, checkpoint: Path | None = None) -> Ended:
        """Go on with a run, from its last checkpoint or another."""
        again = self(["train", "resume", f"model={checkpoint or ended.last}"])
        return Ended(again.code, again.said, ended.run)
