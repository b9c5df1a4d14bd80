"""Progress bars of a benchmark: a run may end while its progress file is read."""

from __future__ import annotations

import io
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from yolo_stability.benchmarks import progress
from yolo_stability.benchmarks.plan import RunOutcome
from yolo_stability.benchmarks.progress import SuiteProgress

FIRST, SECOND = (
    SimpleNamespace(folder=Path("runs") / name, title=name) for name in ("first", "second")
)


def test_a_run_that_ends_while_its_file_is_read_freezes_no_other_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = RunOutcome(digest="d", outcome="finished")
    shown = SuiteProgress(tmp_path, "progress.json", Console(file=io.StringIO()))

    def read(file: Path) -> dict[str, Any]:
        if file.parent.name == "first":
            shown.ended(FIRST, outcome)
        return {"step": 3, "planned": 8}

    monkeypatch.setattr(progress, "_read", read)
    monkeypatch.setattr(progress, "_POLL_SECONDS", 0.01)
    with shown:
        shown.planned([FIRST, SECOND], 0)
        shown.started(FIRST)
        shown.started(SECOND)
        bar, deadline = shown._bars.tasks[-1], time.monotonic() + 20
        while bar.completed != 3 and shown._watcher.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert shown._watcher.is_alive()
        assert (bar.description, bar.completed, bar.total) == ("second", 3, 8)
