"""A suite in its folder: who else may be at work there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from yolo_stability.benchmarks.executors import make_executor
from yolo_stability.benchmarks.runner import run_suite
from yolo_stability.benchmarks.suite import Suite
from yolo_stability.core.lock import LOCK_FILE


class Stop(Exception):
    """Ends a benchmark before its first run."""


class Stopping:
    """A listener that lets no run begin."""

    def planned(self, specs: object, done: int) -> None:
        raise Stop

    def started(self, spec: object) -> None: ...
    def ended(self, spec: object, outcome: object) -> None: ...


def test_a_benchmark_of_another_machine_in_the_same_folder_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / LOCK_FILE).write_text(json.dumps({"host": "else\x1b[31mwhere", "pid": 7}))
    suite = Suite(name="x", control="control", arms=["control"], tasks=["detect"])
    with pytest.raises(Stop):
        run_suite(suite, tmp_path, Stopping(), make_executor("local"), command="")
    told, err = capsys.readouterr()
    assert told == ""
    assert f"stability: '{tmp_path}' was last used by process 7 on else\\x1b[31mwhere: " in err
    assert not (tmp_path / LOCK_FILE).exists()
