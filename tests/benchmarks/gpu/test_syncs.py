"""On a CUDA GPU a watched step waits for the device exactly once more than a stock one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[1])]

pytestmark = [
    pytest.mark.trains,
    pytest.mark.skipif(
        not torch.cuda.is_available(),
        reason="host syncs are counted on a CUDA GPU; torch finds none",
    ),
]


@pytest.mark.parametrize("task", ["detect", "pose"])
def test_one_host_sync_more_than_stock(task: str, tmp_path: Path) -> None:
    from stepping import Setup
    from syncs import count_syncs

    model = f"yolo26n{'-pose' if task == 'pose' else ''}.yaml"
    setup = Setup(model=model, task=task, imgsz=320, batch=8, device="0", amp=True)
    found = count_syncs(setup, tmp_path)
    assert found["more than stock"] == 1, found
