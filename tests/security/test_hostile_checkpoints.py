"""Untrusted checkpoints with many tensors that share few bytes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from yolo_stability.checkpoint.audit import audit_checkpoint
from yolo_stability.checkpoint.reader import CheckpointError, open_checkpoint, read_tensors


def test_small_views_of_a_large_storage_are_read_in_time(tmp_path: Path) -> None:
    """Each of them read with all of its storage, 2,000 tensors would take 40 GB through memory."""
    storage = torch.arange(5_000_000, dtype=torch.float32)
    torch.save({f"a{i}": storage[i : i + 2] for i in range(2000)}, tmp_path / "c.pt")
    start = time.monotonic()
    assert audit_checkpoint(tmp_path / "c.pt").verdict == "stable"
    with open_checkpoint(tmp_path / "c.pt") as opened:
        assert opened.values(opened.tensors[1999].tensor).tolist() == [1999.0, 2000.0]
    assert time.monotonic() - start < 30


def test_views_that_each_take_all_are_refused(tmp_path: Path) -> None:
    storage = torch.zeros(100_000)
    torch.save({f"a{i}": storage[i:] for i in range(50)}, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match="share their bytes more than 16 times over"):
        audit_checkpoint(tmp_path / "c.pt")
    torch.save({"tied": storage, "to": storage.view(100, 1000)}, tmp_path / "c.pt")
    assert audit_checkpoint(tmp_path / "c.pt").verdict


def test_only_tensors_of_their_own_are_read_as_tensors(tmp_path: Path) -> None:
    torch.save(
        {"a": torch.ones(2, 3).t(), "empty": torch.zeros(0, 4), "n": torch.tensor(3)},
        tmp_path / "c.pt",
    )
    found = read_tensors(tmp_path / "c.pt")
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "a": (3, 2),
        "empty": (0, 4),
        "n": (),
    }
    for content in (
        [1],
        {"a": 1},
        {1: torch.zeros(2)},
        {"a": torch.zeros(1).expand(5)},
        torch.zeros(2),
    ):
        torch.save(content, tmp_path / "c.pt")
        with pytest.raises(CheckpointError):
            read_tensors(tmp_path / "c.pt")
