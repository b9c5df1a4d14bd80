"""Spawned data loader workers, as on Windows, macOS and by default since Python 3.14."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from yolo_stability import load_trace

pytestmark = [pytest.mark.trains, pytest.mark.full]

PROGRAM = """
import multiprocessing, sys
from multiprocessing import popen_spawn_posix
multiprocessing.set_start_method("spawn")

class Popen(popen_spawn_posix.Popen):
    def __init__(self, process):
        print("spawned:", type(process).__name__, file=sys.stderr)
        super().__init__(process)

popen_spawn_posix.Popen = Popen
import ultralytics.data.build as build

class Loader(build.InfiniteDataLoader):
    def __init__(self, *args, **kwargs):  # on a CPU Ultralytics itself takes none
        super().__init__(*args, **{**kwargs, "num_workers": 1, "prefetch_factor": 2})

build.InfiniteDataLoader = Loader
from yolo_stability.cli.main import main
sys.exit(main())
"""
LINE = (
    "train data=shapes model=yolo26n.yaml imgsz=32 batch=8 nbs=8 fraction=[32,4] epochs=2 "
    "device=cpu "
    "optimizer=SGD lr0=0.001 val=False plots=False fault=nan_grad@5 name=run"
)


def test_a_watched_run_reads_its_data_from_a_spawned_worker(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *LINE.split(), f"project={tmp_path}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("spawned: Process\n") == 2  # to train and to validate
    steps = load_trace(tmp_path / "run").steps
    assert steps["step"].to_list() == list(range(8))
    assert steps["skipped"].to_list() == [None] * 5 + ["guard"] + [None] * 2
    assert steps["attempt"].n_unique() == 1
