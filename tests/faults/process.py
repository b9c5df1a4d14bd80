"""Start a training in a process of its own, and read what its independent log says.

The processes are forked from one that has imported everything: imports take longer than the
training.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REPO = HERE.parents[1]
MODELS = {
    "detect": str(REPO / "tests" / "models" / "tiny.yaml"),
    "pose": str(REPO / "tests" / "models" / "tiny-pose.yaml"),
}
TINY: dict[str, Any] = {
    "data": "shapes",
    "model": MODELS["detect"],
    "imgsz": 32,
    "batch": 4,
    "nbs": 4,
    "fraction": "[16,2]",
    "epochs": 10,
    "optimizer": "SGD",
    "lr0": 0.001,
    "warmup_epochs": 1,
    "mosaic": 0,
    "amp": False,
    "plots": False,
    "val": False,
    "verbose": False,
    "device": "cpu",
    "workers": 0,
    "seed": 0,
}
"""4 optimizer steps and a checkpoint per epoch: about 4 seconds of training, 8 in total."""


def environment() -> dict[str, str]:
    """Return the environment of a child; with compiled modules, which save seconds of imports."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    env.setdefault("PYTHONPYCACHEPREFIX", str(Path(env["YOLO_STABILITY_TEST_ROOT"]) / "pyc"))
    return {
        **env,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(REPO), env.get("PYTHONPATH", "")]),
    }


@dataclass
class Log:
    """What the independent log of a child says.

    Attributes:
        steps: Time of each optimizer step.
        killed: When the child killed itself; None if it did not.
        open: Phases that had begun and not ended, in the order in which they began.
        done: Phases that ended, each as often as it did.
    """

    steps: list[float] = field(default_factory=list)
    killed: float | None = None
    open: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)


def read_log(path: Path) -> Log:
    found = Log()
    for line in path.read_text().splitlines() if path.exists() else ():
        kind, *name, when = line.split()
        if kind == "step":
            found.steps.append(float(when))
        elif kind == "kill":
            found.killed = float(when)
        elif kind == "begin":
            found.open.append(name[0])
        elif name[0] in found.open:
            found.open.remove(name[0])
            found.done.append(name[0])
    return found


class Process:
    """A subset of `subprocess.Popen` for a process forked from one with all imports.

    Args:
        log, said: Paths of the independent log and of what it prints.
        folder: Where it works.
        moment: When it dies; see child.py.
        words: The command line.
    """

    def __init__(self, log: Path, said: Path, folder: Path, moment: str, words: list[str]) -> None:
        import child

        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["child"])
        # before Python 3.13 the server does not search sys.path, and ignores what it cannot import
        found = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        if str(HERE) not in found:
            os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), str(REPO), *filter(None, found)])
        arguments = (str(log), str(said), str(folder), moment, words)
        self._process = context.Process(target=child.run, args=arguments)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self._process.exitcode

    def wait(self, seconds: float) -> int:
        """Wait for the end, and return the exit code."""
        self._process.join(seconds)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", seconds)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


@dataclass
class Child:
    """A training in a process of its own.

    Attributes:
        process: The process.
        log: Path of the independent log.
        said: Path of what it printed, stdout and stderr together.
    """

    process: Process
    log: Path
    said: Path

    def wait_for(self, ready: Callable[[Log], bool], seconds: float = 120) -> Log:
        """Wait until the log says what is waited for."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = read_log(self.log)
            if ready(found):
                return found
            assert self.process.poll() is None, self.text()
            time.sleep(0.01)
        raise AssertionError(f"waited {seconds} s for a child: {self.text()}")

    def end(self, seconds: float = 240) -> int:
        """Wait for the end and return the exit code."""
        return self.process.wait(seconds)

    def wait_for_end(self) -> Log:
        """Wait for the end, whatever its exit code, and return what the log says."""
        self.end()
        return read_log(self.log)

    def text(self) -> str:
        """Return what it printed."""
        return self.said.read_text(errors="replace")

    def last_line(self) -> str:
        """Return the last line it printed."""
        return (self.text().strip().splitlines() or [""])[-1]


def allowed() -> float:
    """Return the seconds that may be missing: one, or more on a busy machine with slow flushes."""
    crowd = os.getloadavg()[0] / (os.cpu_count() or 1)
    return 1.0 if crowd <= 1.5 else max(2.0, crowd)


def start(folder: Path, words: list[str], *, moment: str = "never", name: str = "child") -> Child:
    """Start the command line in a child; its log and its output go to `folder`."""
    log, said = folder / f"{name}.log", folder / f"{name}.txt"
    return Child(Process(log, said, folder, moment, words), log, said)


def train(project: Path, **changed: Any) -> list[str]:
    """Return the words of a tiny training into `<project>/run`."""
    values = {**TINY, "project": project, "name": "run", "exist_ok": True, **changed}
    return ["train", *(f"{k}={v}" for k, v in values.items())]


def resume(run: Path) -> list[str]:
    """Return the words that go on with a run."""
    return ["train", "resume", f"model={run / 'weights' / 'last.pt'}"]


def loads(checkpoint: Path) -> int:
    """Load a checkpoint whole and return its epoch."""
    import torch  # here, for those who only need processes

    content = torch.load(checkpoint, weights_only=False, map_location="cpu")
    model = content.get("ema") or content["model"]
    assert all(torch.isfinite(t).all() for t in model.state_dict().values())
    return int(content["epoch"])
