"""Output of `verify` while it runs, which may quote an untrusted plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sample_benchmark import write_sample
from traces import record, write

from yolo_stability.benchmarks import verify as verification
from yolo_stability.benchmarks.plan import RunOutcome, RunSpec
from yolo_stability.cli.main import main


def test_no_line_commands_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = write_sample(tmp_path, arms=("control",), tasks=("detect",), seeds=(0,)).runs
    spec = RunSpec(
        arm=row.arm, task=row.task, model=f"{row.model}.yaml", seed=row.seed, settings={},
        minutes=1.0, gigabytes=1.0, zero_loss_steps=16, digest="d",
    )  # fmt: skip
    (tmp_path / "plan.json").write_text(json.dumps({"runs": [spec.to_json()]}))
    write(tmp_path / row.folder, [record(0)], effective={"project": "plain"})

    def supervise(spec: RunSpec, out: Path, **_: Any) -> RunOutcome:
        write(out / spec.folder, [record(0)], effective={"project": "\x1b[2Jnothing"})
        return RunOutcome(digest="d", outcome="finished")

    monkeypatch.setattr(verification, "supervise", supervise)
    assert main(["verify", str(tmp_path)]) == 3
    out, err = capsys.readouterr()
    assert (
        err == "control, detect, seed 0: different: project was plain and is now \\x1b[2Jnothing\n"
    )
    assert (
        "- control, detect, seed 0: different: project was plain and is now \\x1b[2Jnothing\n"
        in out
    )
