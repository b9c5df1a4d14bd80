"""Worker process of one run: `python -m ...worker FOLDER`, where FOLDER contains `spec.json`.

`python -m ...worker --serve DESCRIPTOR` starts the fork server for such runs.
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
    """Reports the progress of a training, and stops it when the loss stays exactly 0.

    Args:
        folder: Run folder, to which `progress.json` is written.
        zero_loss_steps: Consecutive batches with a loss of 0 after which the run stops at the end
            of its epoch.
    """

    def __init__(self, folder: Path, zero_loss_steps: int) -> None:
        self._file, self._limit = folder / "progress.json", zero_loss_steps
        self._zeros = self._batches = 0
        self._written = -math.inf
        self.planned: int | None = None
        self.first_batch = self.last_batch = time.monotonic()
        self.stopped: str | None = None

    def one_thread(self, trainer: Any) -> None:
        """Reset torch to one thread after Ultralytics has selected a device and changed the count.

        The number of threads influences the weights.

        Args:
            trainer: The trainer.
        """
        import torch

        torch.set_num_threads(1)

    def start(self, trainer: Any) -> None:
        """Record the start time of the first batch and the planned number of steps."""
        self.first_batch = self.last_batch = time.monotonic()
        batches = len(trainer.train_loader) * trainer.epochs
        self.planned = max(1, batches // max(1, round(trainer.args.nbs / trainer.batch_size)))

    def batch(self, trainer: Any) -> None:
        """Count a completed batch and update the progress file."""
        self.last_batch = now = time.monotonic()
        self._batches += 1
        self._zeros = self._zeros + 1 if float(trainer.loss.detach()) == 0.0 else 0
        if self._zeros >= self._limit and self.stopped is None:
            self.stopped = f"the loss was exactly 0 for {self._zeros} batches"
        if self.stopped:
            trainer.stop = True
        if now - self._written >= _PROGRESS_SECONDS:
            self._written = now
            loop = trainer.stability.loop
            self._write(
                {
                    "step": loop.journal.step if loop else self._batches,
                    "planned": self.planned,
                    "epoch": trainer.epoch,
                }
            )

    def keep_stopped(self, trainer: Any) -> None:
        """Stop the run after this epoch, even if Ultralytics has reset the flag."""
        if self.stopped:
            trainer.stop = True

    def _write(self, content: dict[str, Any]) -> None:
        """Replace the progress file."""
        replace_file(self._file, json.dumps(content).encode(), make_folder=False)


def main(folder: Path, start: float = _START) -> int:
    """Train according to `spec.json` and write `run.json`.

    Args:
        folder: Run folder.
        start: Start time of the run, on the monotonic clock in seconds.

    Returns:
        The exit code.
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
        sys.excepthook(*sys.exc_info())  # prints the traceback to the log of the run
    outcome["planned_steps"] = progress.planned
    if progress.planned is not None:  # the training reached its first batch
        outcome["seconds"] = {
            "startup": round(progress.first_batch - start, 3),
            "steps": round(progress.last_batch - progress.first_batch, 3),
        }
    RunOutcome(**outcome).write(folder)
    return 0


def _train(spec: dict[str, Any], folder: Path, progress: Progress) -> Any:
    """Train with the public training function."""
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
        trace_version=spec["trace"],
        messages=RunMessages(note=print, warning=_print_warning),
    )


def _print_warning(text: str) -> None:
    """Print a warning to the run's log."""
    print(f"WARNING: {text}", file=sys.stderr)


def _end_with_parent() -> None:
    """End this process when the benchmark has ended, for example after `kill -9`."""
    parent = int(os.environ.get("YOLO_STABILITY_PARENT", "0"))
    while parent and _lives(parent):
        time.sleep(1.0)
    if parent:
        os._exit(137)


def _lives(parent: int) -> bool:
    """Return whether the process that started this one is still running.

    On Windows the launcher of a virtual environment is the direct parent, and a parent's ID does
    not change after its end.
    """
    return bool(psutil.pid_exists(parent)) if _WINDOWS else os.getppid() == parent


def serve_runs(descriptor: int) -> int:
    """Import the modules that every run needs, then serve requests; return the exit code."""
    import torch
    import torch._inductor.config  # imported by deterministic algorithms, takes 2 seconds
    import torchvision  # type: ignore[import-untyped]  # noqa: F401 - imported by the validator

    from yolo_stability.trainer.train import train_checked  # noqa: F401
    from yolo_stability.trainer.trainers import StabilityDetectionTrainer, StabilityPoseTrainer  # noqa: F401

    torch.set_num_threads(1)
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        return 1  # a fork copies one thread only: locks of the others would stay locked forever
    with socket.socket(fileno=descriptor) as connection:
        serve(connection, lambda folder: main(folder, start=time.monotonic()))
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        sys.exit(serve_runs(int(sys.argv[2])))
    sys.exit(main(Path(sys.argv[1]).resolve()))
