"""`record` in whole programs: without Ultralytics, on a YOLO model, through an interrupt, in several processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from yolo_stability.gradients.blocks import model_blocks
from yolo_stability.gradients.record import record
from yolo_stability.trace import load_trace

pytestmark = pytest.mark.trains

LOOP = """
    import sys
    import torch
    from torch import nn
    from torch.nn.utils import clip_grad_norm_
    from yolo_stability.gradients.record import record

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def steps(r, count):
        for step in range(count):
            optimizer.zero_grad()
            loss = model(torch.randn(16, 4)).square().mean()
            loss.backward()
            r.step(loss=loss)
            clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            yield step
"""


def program(text: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(LOOP) + textwrap.dedent(text)]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def test_no_ultralytics_is_imported(tmp_path: Path) -> None:
    text = f"""
    with record(model, optimizer, out={str(tmp_path)!r}) as r:
        list(steps(r, 5))
    r.trace.steps.height
    print(sorted(name for name in ("ultralytics", "cv2", "torchvision") if name in sys.modules))
    """
    done = subprocess.run(
        program(text), check=True, capture_output=True, text=True, env=environment()
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
    assert load_trace(tmp_path).steps.height == 5
    assert (tmp_path / "stability" / "gradient_norms.png").exists()


@pytest.mark.smoke
def test_an_interrupt_leaves_everything_written(tmp_path: Path) -> None:
    text = f"""
    with record(model, optimizer, out={str(tmp_path)!r}) as r:
        for step in steps(r, 10**9):
            if step == 20:
                print("running", flush=True)
    """
    with subprocess.Popen(
        program(text), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"running\n"
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=60)
    assert b"KeyboardInterrupt" in errors
    trace = load_trace(tmp_path)
    assert trace.steps.height > 20
    assert trace.steps["step"].to_list() == list(range(trace.steps.height))
    assert json.loads(trace.events["data"][-1])["error"] == "KeyboardInterrupt"
    assert not (tmp_path / "stability" / "running.json").exists()


def test_a_folder_in_which_another_process_records_is_refused(tmp_path: Path) -> None:
    text = f"""
    with record(model, optimizer, out={str(tmp_path)!r}, plots=False) as r:
        list(steps(r, 2))
        print("running", flush=True)
        sys.stdin.readline()
        list(steps(r, 2))
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(program(text), env=environment(), **pipes) as child:  # type: ignore[call-overload]
        assert child.stdout.readline() == b"running\n"
        second = subprocess.run(
            program(text), check=False, capture_output=True, text=True, env=environment()
        )
        child.communicate(b"\n", timeout=60)
    assert second.returncode == 1
    assert f"Another run (process {child.pid}" in second.stderr
    assert load_trace(tmp_path).steps.height == 4


def test_a_yolo_model_in_a_loop_of_ones_own_has_the_blocks_of_a_watched_run(tmp_path: Path) -> None:
    from ultralytics.nn.tasks import DetectionModel
    from ultralytics.utils import IterableSimpleNamespace
    from ultralytics.utils.loss import v8DetectionLoss

    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model = DetectionModel("yolov8n.yaml", nc=3, verbose=False)
    model.args = IterableSimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    model.train()
    criterion = v8DetectionLoss(model)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    boxes = torch.rand(4, 4) * 0.4 + 0.3
    batch = {"img": torch.rand(2, 3, 64, 64), "cls": torch.zeros(4, 1), "bboxes": boxes}
    batch["batch_idx"] = torch.tensor([0.0, 0.0, 1.0, 1.0])
    norms = []
    try:
        with record(model, optimizer, tmp_path) as r:
            for _ in range(2):
                optimizer.zero_grad()
                loss, items = criterion(model(batch["img"]), batch)
                total = loss.sum()
                total.backward()
                r.step(loss=total, loss_items=items if isinstance(items, dict) else {})
                norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), 10.0)))
                optimizer.step()
    finally:
        torch.set_num_threads(threads)
    trace = r.trace
    assert trace.header.blocks == model_blocks(model)
    assert {b.role for b in trace.header.blocks} == {"backbone", "neck", "box", "cls"}
    np.testing.assert_allclose(trace.steps["grad_norm"].to_numpy(), norms, rtol=1e-6)
    expected = [min(1.0, 10.0 / (norm + 1e-6)) for norm in norms]
    np.testing.assert_allclose(trace.steps["clip_coef"].to_numpy(), expected, rtol=1e-5)
    assert trace.blocks["grad_norm"].null_count() == 0


def ranks(rank: int, out: str, store: str) -> None:
    """Train two processes on halves of a batch; only the first may write."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=2
    )
    torch.manual_seed(0)
    model = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(4, 2)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.arange(16.0).reshape(4, 4)[rank::2] / 10
    with record(model, optimizer, out, plots=False) as r:
        for _ in range(3):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            r.step()
            optimizer.step()
    torch.distributed.barrier()  # one that leaves early breaks the connection under the other
    torch.distributed.destroy_process_group()


def test_in_a_distributed_training_the_first_rank_records_the_mean_gradient(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(ranks, (str(tmp_path / "run"), str(tmp_path / "store")), nprocs=2)  # type: ignore[no-untyped-call]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 2))
    model(torch.arange(16.0).reshape(4, 4) / 10).square().mean().backward()
    total = float(
        torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm()
    )
    trace = load_trace(tmp_path / "run")
    assert [b.name for b in trace.header.blocks] == ["0 Linear"]
    assert trace.steps.height == 3
    assert trace.steps["accumulate"].to_list() == [1, 1, 1]
    assert trace.steps["grad_norm"][0] == pytest.approx(total, rel=1e-5)
