"""Incidents of two gloo processes: the affected rank writes its number, and both continue."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shorter import short
from test_distributed import Workers

pytestmark = pytest.mark.trains


@pytest.mark.parametrize("rank", short([0, 1], 1))
def test_the_rank_that_saw_a_bad_loss_writes(rank: int, tmp_path: Path) -> None:
    workers = Workers(tmp_path, spoil=(rank, "loss"))
    folders = sorted((workers.save_dir / "stability" / "incidents").glob("*"))
    assert [folder.name for folder in folders] == [f"step-000001-rank{rank}"]
    facts = json.loads((folders[0] / "incident.json").read_text())
    assert (facts["rank"], facts["sign"], facts["culprit"]["reproduced"]) == (rank, "loss", False)
    assert workers.ranks[0] == workers.ranks[1]
    assert workers.trace.events["kind"].to_list().count("incident") == (rank == 0)


@pytest.mark.full
def test_rank_0_alone_writes_about_gradients_that_all_share(tmp_path: Path) -> None:
    workers = Workers(tmp_path, own={"fault": "nan_grad@2"})
    folders = sorted((workers.save_dir / "stability" / "incidents").glob("*"))
    assert [folder.name for folder in folders] == ["step-000002-rank0"]
    assert workers.ranks[0] == workers.ranks[1]
