"""What runs in the process of one run, as `python -m ...worker FOLDER`, where FOLDER holds `spec.json`.

As `python -m ...worker --serve DESCRIPTOR` it is the process that such runs are forked from.
"""

from __future__ import annotations

import json
import math
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from yolo_stability.benchmarks.plan import RunOutcome
from yolo_stability.benchmarks.process.fork_server import serve
from yolo_stability.core.files import replace_file

__all__ = ["main"]

_START = time.monotonic()
_PROGRESS_SECONDS = 0.5
_WINDOWS = os.name == "nt"


class Progress:
    """Follows a training: says how far it is, and stops it once the loss is exactly 0 for long.

    Args:
        folder: The run folder, where `progress.json` goes.
        zero_loss_steps: Batches in a row with a loss of 0 after which the run ends with its epoch.
    """

    def __init__(self, folder: Path, zero_loss_steps: int) -> None:
        self._file, self._limit = folder / "progress.json", zero_loss_steps
        self._zeros = self._batches = 0
        self._told = -math.inf
        self.planned: int | None = None
        self.first_batch = self.last_batch = time.monotonic()
        self.stopped: str | None = None

    def one_thread(self, trainer: Any) -> None:
        """Set the thread count, which changes weights, again: Ultralytics sets its own when it selects the device."""
        import torch

        torch.set_num_threads(1)

    def start(self, trainer: Any) -> None:
        """Note when the first batch begins, and how many there will be."""
        self.first_batch = self.last_batch = time.monotonic()
        batches = len(trainer.train_loader) * trainer.epochs
        self.planned = max(1, batches // max(1, round(trainer.args.nbs / trainer.batch_size)))

    def batch(self, trainer: Any) -> None:
        """Look at a batch that has ended."""
        self.last_batch = now = time.monotonic()
        self._batches += 1
        self._zeros = self._zeros + 1 if float(trainer.loss.detach()) == 0.0 else 0
        if self._zeros >= self._limit and self.stopped is None:
            self.stopped = f"the loss was exactly 0 for {self._zeros} batches"
        if self.stopped:
            trainer.stop = True
        if now - self._told >= _PROGRESS_SECONDS:
            self._told = now
            loop = trainer.stability.loop
            self._say(
                {
                    "step": loop.journal.step if loop else self._batches,
                    "planned": self.planned,
                    "epoch": trainer.epoch,
                }
            )

    def keep_stopped(self, trainer: Any) -> None:
        """End the run with this epoch, whatever Ultralytics has decided in between."""
        if self.stopped:
            trainer.stop = True

    def _say(self, content: dict[str, Any]) -> None:
        """Replace the file."""
        replace_file(self._file, json.dumps(content).encode(), make_folder=False)


def main(folder: Path, start: float = _START) -> int:
    """Train as `spec.json` says and write `run.json`; return the exit code.

    Args:
        folder: The run folder.
        start: When this process began to be a run, on the monotonic clock.
    """
    spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    progress = Progress(folder, spec["zero_loss_steps"])
    outcome = {"digest": spec["digest"]}
    try:
        result = _train(spec, folder, progress)
        stopped = result.stopped or progress.stopped
        outcome |= {"outcome": "stopped" if stopped else "finished", "stopped": stopped}
        outcome["metrics"] = {k: v if math.isfinite(v) else None for k, v in result.metrics.items()}
    except Exception as error:
        text = " ".join(str(error).split())
        outcome |= {"outcome": "crashed", "error": f"{type(error).__name__}: {text}"[:500]}
        sys.excepthook(*sys.exc_info())  # into the log of the run
    outcome["planned_steps"] = progress.planned
    if progress.planned is not None:  # it came to its first batch
        outcome["seconds"] = {
            "startup": round(progress.first_batch - start, 3),
            "steps": round(progress.last_batch - progress.first_batch, 3),
        }
    RunOutcome(**outcome).write(folder)
    return 0


def _train(spec: dict[str, Any], folder: Path, progress: Progress) -> Any:
    """Train under the API that people use."""
    from yolo_stability.trainer.launch import load_model
    from yolo_stability.trainer.messages import RunMessages
    from yolo_stability.trainer.train import check_training_keys, train_checked

    settings = dict(spec["settings"])
    model = load_model(settings.pop("model"), spec["task"])
    for event, callback in {
        "on_pretrain_routine_start": progress.one_thread,
        "on_train_start": progress.start,
        "on_train_batch_end": progress.batch,
        "on_train_epoch_end": progress.keep_stopped,
        "on_fit_epoch_end": progress.keep_stopped,
    }.items():
        model.add_callback(event, callback)
    place = {"project": str(folder.parent), "name": folder.name, "exist_ok": True}
    data = settings.pop("data", None)
    keys = check_training_keys(model, {**settings, **place})
    return train_checked(
        spec["task"],
        model=model,
        data=data,
        settings=keys.settings,
        overrides=keys.overrides,
        messages=RunMessages(note=print, warning=_print_warning),
    )


def _print_warning(text: str) -> None:
    """Print what a reader of the run's log should know."""
    print(f"WARNING: {text}", file=sys.stderr)


def _end_with_parent() -> None:
    """End when the benchmark is gone: after its `kill -9` nobody would read what this run still does."""
    parent = int(os.environ.get("YOLO_STABILITY_PARENT", "0"))
    while parent and _lives(parent):
        time.sleep(1.0)
    if parent:
        os._exit(137)


def _lives(parent: int) -> bool:
    """Return whether the process that started this one is there.

    On Windows the launcher of a virtual environment stands between them, and a parent's number stays after its end.
    """
    return bool(psutil.pid_exists(parent)) if _WINDOWS else os.getppid() == parent


def serve_runs(descriptor: int) -> int:
    """Import what every run needs, then serve; return the exit code."""
    import torch
    import torch._inductor.config  # deterministic algorithms ask for it: 2 seconds
    import torchvision  # type: ignore[import-untyped]  # noqa: F401 - the validator asks for it

    from yolo_stability.trainer.train import train_checked  # noqa: F401
    from yolo_stability.trainer.trainers import StabilityDetectionTrainer, StabilityPoseTrainer  # noqa: F401

    torch.set_num_threads(1)
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        return 1  # a fork takes one thread along: the others' locks would never open
    with socket.socket(fileno=descriptor) as connection:
        serve(connection, lambda folder: main(folder, start=time.monotonic()))
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        sys.exit(serve_runs(int(sys.argv[2])))
    sys.exit(main(Path(sys.argv[1]).resolve()))
