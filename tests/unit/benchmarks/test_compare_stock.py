"""`compare` of stock runs: the verdict of `diagnose`, and the settings that differ in `args.yaml`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from epoch_tables import learning, set_rows

from yolo_stability import compare
from yolo_stability.cli.main import main
from yolo_stability.diagnosis.targets import diagnose_run


def stock_run(folder: Path, *, lost: bool = False, **args: object) -> Path:
    """Write a stock run of 20 epochs; with metrics that are 0 from epoch 12 on if they are lost."""
    columns = learning(20)
    if lost:
        columns = set_rows(columns, "metrics/", slice(11, 20), 0.0)
    folder.mkdir()
    lines = [",".join(["epoch", *columns])]
    lines += [
        ",".join([str(row + 1), *(f"{values[row]:.6g}" for values in columns.values())])
        for row in range(20)
    ]
    (folder / "results.csv").write_text("\n".join(lines) + "\n")
    settings = {"task": "detect", "model": "yolo11n.pt", "epochs": 20, "lr0": 0.01, **args}
    (folder / "args.yaml").write_text(yaml.safe_dump({**settings, "save_dir": str(folder)}))
    return folder


def test_verdicts_are_those_of_diagnose(tmp_path: Path) -> None:
    well = stock_run(tmp_path / "well")
    lost = stock_run(tmp_path / "lost", lost=True, lr0=0.5, model="yolo11s.pt")
    result = compare(well, lost, out=tmp_path / "out")
    for row, folder in zip(result.runs, (well, lost), strict=True):
        found = diagnose_run(folder)
        assert (row.verdict, row.why, row.learning) == (found.verdict, found.why, found.learning)
        assert {f.column for f in row.findings} == {f.column for f in found.findings}
    assert [row.verdict for row in result.runs] == ["stable", "failed"]


def test_settings_that_differ_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [stock_run(tmp_path / "a"), stock_run(tmp_path / "b", lr0=0.5, cos_lr=True)]
    words = [*map(str, runs), f"out={tmp_path / 'out'}"]
    assert main(["compare", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("- b: stable: learned"))
    assert lines[at + 1] == "  settings that differ from the control: lr0=0.5 (0.01)"
    assert main(["compare", *words, "--json"]) == 0
    manifest = json.loads(capsys.readouterr().out)["manifest"]
    assert manifest["differs"] == {"b": {"lr0": {"control": "0.01", "here": "0.5"}}}


def test_a_run_without_a_readable_table_is_inconclusive(tmp_path: Path) -> None:
    well, bad = stock_run(tmp_path / "well"), stock_run(tmp_path / "bad")
    (bad / "results.csv").write_text("nothing")
    result = compare(well, bad, out=tmp_path / "out")
    assert [row.verdict for row in result.runs] == ["stable", "inconclusive"]


def test_a_run_of_yolov5_has_its_own_settings(tmp_path: Path) -> None:
    runs = [stock_run(tmp_path / "a"), stock_run(tmp_path / "b")]
    for run, rate in zip(runs, (0.01, 0.1), strict=True):
        (run / "args.yaml").unlink()
        settings = {"weights": "yolov5s.pt", "epochs": 20, "hyp": {"lr0": rate}}
        (run / "opt.yaml").write_text(yaml.safe_dump(settings))
    result = compare(*runs, out=tmp_path / "out")
    assert {row.model for row in result.runs} == {"yolov5s.pt"}
    assert list(result.manifest["differs"]["b"]) == ["hyp"]
