"""No memory left: in the first epoch, later, on the host, and in one worker of a suite."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from inside import Inside
from process import MODELS, loads
from ultralytics.utils.torch_utils import unwrap_model

from yolo_stability.report.write import write_report
from yolo_stability.studies.run_benchmark import run_benchmark

pytestmark = [pytest.mark.trains, pytest.mark.full]
HUGE = 2**46


def of_torch() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def of_the_host() -> None:
    torch.empty(HUGE, dtype=torch.uint8)


def of_numpy() -> None:
    np.ones(HUGE, dtype=np.uint8)


def runs_out(epoch: int, how: Callable[[], None]) -> Callable[[Any], None]:
    """Return a hook that runs out of memory once, in the second forward pass of an epoch."""
    seen = iter(range(10**9))

    def hand(trainer: Any) -> None:
        if trainer.epoch == epoch and not trainer.resume and next(seen) == 1:

            def fail(*_: Any) -> None:
                handle.remove()
                how()

            handle = unwrap_model(trainer.model).register_forward_pre_hook(fail)

    return hand


def test_in_the_first_epoch_the_batch_is_halved(inside: Inside) -> None:
    """By Ultralytics; both attempts are in the trace."""
    run = inside.train(hands={"on_train_batch_start": runs_out(0, of_torch)}, epochs=2)
    assert run.code == 0, run.said
    assert "out of memory, the epoch starts over with batch=2" in run.said
    assert "oom_restart" in run.kinds()
    steps = run.trace.steps
    assert steps["step"].to_list() == list(range(steps.height))
    assert set(steps["attempt"]) == {0, 1}
    assert loads(run.last) == -1


@pytest.mark.parametrize("how", [of_torch, of_the_host, of_numpy])
def test_later_it_is_one_sentence_and_the_run_resumes(
    how: Callable[[], None], inside: Inside
) -> None:
    run = inside.train(hands={"on_train_batch_start": runs_out(2, how)}, epochs=4)
    assert run.code == 2, run.said
    assert "Lower batch= or imgsz=." in run.last_line
    assert "enforce fail" not in run.last_line
    assert "Traceback" not in run.said
    assert loads(run.last) == 1
    assert run.trace.steps.height == 9
    assert run.kinds()[-1] == "end"
    again = inside.resume(run)
    assert again.code == 0, again.said
    assert again.trace.steps["step"].to_list() == list(range(9 + 8))


@pytest.mark.parametrize("greedy", [("pose",), ("detect",), ("pose", "detect")], ids="-and-".join)
def test_workers_of_a_suite_need_too_much(greedy: tuple[str, ...], tmp_path: Path) -> None:
    """The larger model goes over the limit of the suite; the other task is not touched."""
    imports = (
        "import psutil, yolo_stability.benchmarks.process.worker, ultralytics.models.yolo; "
        "print(psutil.Process().memory_info().rss)"
    )
    alone = subprocess.run(
        [sys.executable, "-c", imports], check=True, capture_output=True, text=True
    )
    needed = (
        int(alone.stdout.splitlines()[-1]) / 1e9
    )  # of any worker; this process may have grown in other tests
    large = {"detect": "yolo26x.yaml", "pose": "yolo26x-pose.yaml"}
    models = {task: large[task] if task in greedy else MODELS[task] for task in large}
    suite = tmp_path / "memory.yaml"
    content = {
        **{
            "name": "memory",
            "control": "control",
            "arms": ["control"],
            "tasks": ["pose", "detect"],
            "models": models,
        },
        "overrides": {
            "imgsz": 32,
            "batch": 4,
            "nbs": 4,
            "epochs": 1,
            "fraction": [16, 2],
            "cache": False,
        },
        "limits": {"gigabytes": round(max(needed, 0.8) + 0.5, 2)},
    }
    suite.write_text(yaml.safe_dump(content))
    result, folder = run_benchmark(str(suite), out=tmp_path / "out")
    for run in result.runs:
        if run.task in greedy:
            assert run.outcome == "memory"
            assert "memory limit" in str(run.error)
            assert any(
                f"lost: control, {run.task}, seed 0: memory" in line for line in result.lines()
            )
        else:
            assert run.outcome == "finished"
            assert run.trace_digest
    assert {run.task for run in result.runs} == {"pose", "detect"}
    assert all(file.stat().st_size for file in write_report(folder))
