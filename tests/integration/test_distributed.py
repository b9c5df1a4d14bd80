"""Two gloo processes on the CPU, launched with the file that Ultralytics writes for its workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from gloo import WORLD_SIZE, Diary, GlooTrainer
from training import MODELS, overrides
from ultralytics.utils.dist import ddp_cleanup, generate_ddp_file

from yolo_stability import StabilityMonitor, load_trace
from yolo_stability.core.types import Trace
from yolo_stability.trainer.trainers import stability_class

pytestmark = pytest.mark.trains


class Workers:
    """What two workers did."""

    def __init__(
        self,
        folder: Path,
        *,
        own: dict[str, Any] | None = None,
        spoil: tuple[int, str] | None = None,
        **changed: Any,
    ):
        arguments = overrides(
            "detect", folder, batch=8, epochs=1, save_dir=str(folder / "run"), **changed
        )
        trainer = stability_class(GlooTrainer)(overrides={"model": MODELS["detect"], **arguments})
        StabilityMonitor(**(own or {})).attach(trainer)
        diary = Diary(folder)
        trainer.add_callback("on_train_batch_end", diary.note)
        if spoil is not None:
            trainer.add_callback("on_train_start", SpoilOneRank(*spoil, step=1))
        del trainer.stability  # the launching process of Ultralytics never gets that far
        file = generate_ddp_file(trainer)
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nproc_per_node",
            str(WORLD_SIZE),
        ]
        command += ["--master_port", str(29500 + os.getpid() % 400)]
        try:
            self.done = subprocess.run(
                [*command, file],
                capture_output=True,
                text=True,
                check=False,
                env={
                    **os.environ,
                    "PYTHONPATH": str(Path(__file__).parent),
                    "OMP_NUM_THREADS": "1",
                    "GLOO_FOLDER": str(folder),
                },
                timeout=300,
            )
        finally:
            ddp_cleanup(trainer, file)
        assert self.done.returncode == 0, self.done.stderr[-3000:]
        self.save_dir = folder / "run"
        self.ranks = [json.loads((folder / f"rank{r}.json").read_text()) for r in range(WORLD_SIZE)]

    @property
    def trace(self) -> Trace:
        """The one trace that rank 0 wrote."""
        return load_trace(self.save_dir)


class SpoilOneRank:
    """Damages the loss of one rank at one iteration before DDP averages, or only its buffers."""

    def __init__(self, rank: int, what: str, step: int) -> None:
        self.rank, self.what, self.step = rank, what, step

    def __call__(self, trainer: Any) -> None:
        """Hook the forward of this rank."""
        if int(os.environ["RANK"]) != self.rank:
            return
        calls = iter(range(10**6))

        def is_due(module: Any) -> bool:
            return module.training and next(calls) == self.step

        def spoil_loss(module: Any, inputs: Any, output: Any) -> Any:
            loss, items = output
            return (loss * torch.nan, items) if is_due(module) else output

        def spoil_buffer(module: Any, inputs: Any) -> None:
            if is_due(module):  # gradients stay finite: no other rank can know
                module.module.model[0].bn.running_mean[0] = torch.nan

        if self.what == "loss":
            trainer.model.register_forward_hook(spoil_loss)
        else:
            trainer.model.register_forward_pre_hook(spoil_buffer)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Workers:
    """Two workers, nothing wrong."""
    return Workers(tmp_path_factory.mktemp("healthy"), own={"watch_every": 0, "rescue": "auto"})


def joint_gradients(folder: Path) -> dict[str, torch.Tensor]:
    """Add up the gradients of both halves of the first batch, in one process and without DDP."""
    sums: dict[str, torch.Tensor] = {}
    for rank in range(WORLD_SIZE):
        model = torch.load(folder / "model0.pt", weights_only=False).train()
        batch = torch.load(folder / f"batch{rank}.pt", weights_only=False)
        loss, _ = model(batch)
        loss.sum().backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                sums[name] = sums.get(name, 0) + parameter.grad.double()
    return sums


def test_norms_equal_one_process_on_the_joint_batch(healthy: Workers) -> None:
    sums = joint_gradients(healthy.save_dir.parent)
    trace = healthy.trace
    first = trace.blocks.filter(pl.col("step") == 0)
    expected = [
        float(torch.cat([sums[n].flatten() for n in block.param_names]).norm())
        for block in trace.header.blocks
    ]
    np.testing.assert_allclose(first["grad_norm"], expected, rtol=1e-5)
    total = float(torch.cat([g.flatten() for g in sums.values()]).norm())
    assert trace.steps["grad_norm"][0] == pytest.approx(total, rel=1e-5)


def test_the_micro_norm_is_that_of_the_joint_first_batch(tmp_path: Path) -> None:
    """DDP averages after each backward pass, so the first of two gradients is that of all ranks."""
    steps = Workers(tmp_path, nbs=16, warmup_epochs=0).trace.steps
    total = float(torch.cat([g.flatten() for g in joint_gradients(tmp_path).values()]).norm())
    assert steps["accumulate"].to_list() == [2, 2]
    assert steps["micro_norm"][0] == pytest.approx(total, rel=1e-5)
    assert steps["grad_norm"][0] > 1.1 * total


def test_rank_0_alone_writes_and_both_ranks_stay_alike(healthy: Workers) -> None:
    assert healthy.trace.steps["step"].to_list() == [0, 1, 2, 3]
    assert healthy.ranks[0] == healthy.ranks[1]
    assert healthy.trace.header.effective["world_size"] == WORLD_SIZE
    assert [p.name for p in healthy.save_dir.rglob("header.json")] == ["header.json"]
    assert healthy.done.stdout.count("stability: watching") == 1


def test_settings_reach_the_workers(healthy: Workers) -> None:
    assert healthy.trace.header.requested["watch_every"] == 0
    assert healthy.trace.blocks["weight_norm"].null_count() == healthy.trace.blocks.height


def test_rescue_goes_on_without_itself_and_says_so(healthy: Workers) -> None:
    texts = [
        json.loads(data)["text"]
        for data in healthy.trace.events.filter(pl.col("kind") == "notice")["data"]
    ]
    assert [text for text in texts if text.startswith("rescue is off: it needs a single process")]
    assert (
        f"{healthy.done.stdout}{healthy.done.stderr}".count(
            "rescue is off: it needs a single process"
        )
        == 1
    )
    assert healthy.trace.header.requested["rescue"] == "auto"
    assert healthy.trace.steps.height == 4


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param((0, "loss"), marks=pytest.mark.full),
        (1, "loss"),
        pytest.param((1, "buffer"), marks=pytest.mark.full),
    ],
)
def test_a_nan_on_one_rank_skips_the_step_on_both(spoil: tuple[int, str], tmp_path: Path) -> None:
    workers = Workers(tmp_path, spoil=spoil)
    assert workers.trace.steps["skipped"].to_list() == [None, "guard", None, None]
    assert workers.ranks[0] == workers.ranks[1]
    assert all(line["finite"] for line in workers.ranks[0])
    assert workers.ranks[0][1] == workers.ranks[0][0]  # the skipped step changed nothing
    assert workers.ranks[0][2] != workers.ranks[0][1]


def test_a_stop_ends_both_ranks_alike(tmp_path: Path) -> None:
    workers = Workers(tmp_path, own={"guard": "stop"}, spoil=(1, "loss"))
    assert workers.trace.steps["skipped"].to_list() == [None, "guard"]
    assert workers.ranks[0] == workers.ranks[1]
    assert "guard_stop" in workers.trace.events["kind"].to_list()
