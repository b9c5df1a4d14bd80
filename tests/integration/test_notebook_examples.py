"""The examples beside the notebooks, run as a reader would: in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from yolo_stability import diagnose, load_trace, record

REPO = Path(__file__).resolve().parents[2]
EXAMPLES = REPO / "notebooks" / "examples"
Run = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = [pytest.mark.trains, pytest.mark.full]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def call(name: str, *words: object) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, str(EXAMPLES / name), *map(str, words)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=env,
            check=False,
            timeout=300,
        )

    return call


def recorded(out: Path, lr: float, steps: int = 60) -> Path:
    """Leave a run of a small network; with a learning rate of 10 it blows up."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    with record(model, optimizer, out=out, plots=False) as recorder:
        for _ in range(steps):
            x = torch.randn(64, 8)
            optimizer.zero_grad()
            loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
            loss.backward()
            recorder.step(loss)
            optimizer.step()
    return out


def test_every_example_is_tested_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    examples = {path.name for path in EXAMPLES.glob("*.py")}
    assert examples
    assert [name for name in sorted(examples) if f'run("{name}"' not in text] == []


def test_gate_a_pipeline(run: Run, tmp_path: Path) -> None:
    good, bad = recorded(tmp_path / "good", 0.001), recorded(tmp_path / "bad", 10.0)
    short = recorded(tmp_path / "short", 0.001, steps=3)
    done = run("gate_a_pipeline.py", good)
    assert (done.returncode, done.stdout.startswith(f"{good}: stable: ")) == (0, True), (
        done.stdout + done.stderr
    )
    done = run("gate_a_pipeline.py", good, bad, short)
    assert done.returncode == 3, done.stderr
    assert f"{bad}: failed: " in done.stdout
    assert run("gate_a_pipeline.py", good, short).returncode == 4
    done = run("gate_a_pipeline.py", tmp_path / "nowhere")
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR: ")
    assert "Traceback" not in done.stderr


def test_own_loop(run: Run, tmp_path: Path) -> None:
    done = run("own_loop.py", tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line.split(": ")[:2] for line in done.stdout.splitlines()] == [
        ["lr=0.001", "stable"],
        ["lr=10", "failed"],
    ]
    for name in ("sane", "far-too-high"):
        assert load_trace(tmp_path / name).steps["step"].to_list() == list(range(60))


@pytest.mark.trains
def test_own_trainer(run: Run, tmp_path: Path) -> None:
    done = run("own_trainer.py", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "skipped: step [3]"
    trace = load_trace(tmp_path / "bright")
    assert trace.steps["step"].to_list() == list(range(8))
    assert trace.steps["skipped"].to_list() == [None] * 3 + ["guard"] + [None] * 4


@pytest.mark.trains
def test_several_datasets(run: Run, tmp_path: Path) -> None:
    done = run("several_datasets.py", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    runs = sorted(path.parent for path in (tmp_path / "multitrain").glob("*/stability"))
    assert len(runs) == 2
    assert [load_trace(folder).steps.height for folder in runs] == [8, 8]
    expected = [f"{folder.name}: 8 steps, {diagnose(folder).verdict}" for folder in runs]
    assert done.stdout.splitlines()[-2:] == expected
    first, second = (load_trace(folder).steps["grad_norm"].to_list() for folder in runs)
    assert first[0] == second[0]  # from the same weights, on the same images
