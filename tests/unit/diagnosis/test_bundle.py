"""Bundles: anonymous, below 1 MB, and as telling as the run they were made of."""

from __future__ import annotations

import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from traces import NAMES, header, record

from yolo_stability.api import bundle, diagnose
from yolo_stability.cli.main import main
from yolo_stability.core.errors import TraceError
from yolo_stability.core.types import EpochRecord, Event
from yolo_stability.diagnosis import bundle as bundles
from yolo_stability.trace import TraceWriter
from yolo_stability.trace.epochs import epoch_row

HOSTILE = ("zimmermann", "clinic", "hunter2", "../../etc/passwd", "<script>", "\x1b[31m")
OWN_BLOCK = "model.5 ZimmermannGate"


def write_run(folder: Path, steps: int = 200, **changes: Any) -> Path:
    """A run whose norm explodes after two thirds, with names of a user everywhere."""
    names = (*NAMES[:3], OWN_BLOCK)
    writer = TraceWriter(folder / "stability", names, flush_seconds=0.01)
    requested = {
        "model": "/srv/zimmermann/clinic.yaml",
        "task": "detect",
        "project": "../../etc/passwd",
        "name": "<script>alert(1)</script>",
        "notify": "https://hunter2.example",
        "classes": [0, 3],
        "zimmermann": 1,
    }
    writer.write_header(header(names, requested=requested, **changes))
    for step in range(steps):
        norm = 3.0 if step < 2 * steps // 3 else 3e4 * (1 + step)
        loss = 4.0 if step < 2 * steps // 3 else 4e5
        writer.append(
            record(
                step,
                (norm, norm, norm, norm),
                names=names,
                loss=loss,
                loss_items={"box_loss": 1.0, "zimmermann_loss": 2.0},
            )
        )
    writer.epoch(
        EpochRecord(
            attempt=0,
            epoch=0,
            steps=steps,
            images=None,
            val={"zimmermann_loss": math.nan},
            metrics={"mAP50(B)": 0.5},
            fitness=0.5,
            seconds=1.0,
            validated=True,
        )
    )
    text = "the image '/data/clinic/zimmermann.jpg' \x1b[31mof ZimmermannGate"
    writer.event(Event(attempt=0, step=3, kind="notice", block=OWN_BLOCK, data={"text": text}))
    writer.close()
    return folder


def everything(path: Path) -> str:
    """Names and content of a bundle as text, tables in plain values."""
    parts = []
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            if name.endswith(".parquet"):
                frame = pl.read_parquet(io.BytesIO(data))
                parts.append(f"{name} {frame.columns} {frame.head(2000).rows()}")
            else:
                parts.append(f"{name} {data.decode()}")
    return "\n".join(parts)


def test_nothing_of_the_user_is_in_it(tmp_path: Path) -> None:
    run = write_run(tmp_path / "zimmermann-run")
    made = bundle(run, out=tmp_path / "b.zip")
    text = everything(made.path).lower()
    assert [word for word in HOSTILE if word.lower() in text] == []
    assert "model.5 name-" in text
    assert '"notify": "dropped"' in text
    assert made.size == made.path.stat().st_size < 1_000_000
    assert made.replaced >= 6
    assert set(made.files) == {
        *("yolo-stability-bundle.json", "header.json", "events.jsonl", "epochs.jsonl"),
        "diagnosis.json",
        *("steps.parquet", "blocks.parquet"),
    }


def test_its_diagnosis_is_that_of_the_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    told, found = diagnose(run), diagnose(bundle(run, out=tmp_path / "b.zip").path)
    assert found.verdict == told.verdict != "stable"
    assert (found.cause, found.run_id) == (told.cause, told.run_id)
    seen = [(f.rule, f.severity, f.first_step, f.last_step, f.observed) for f in told.findings]
    assert [
        (f.rule, f.severity, f.first_step, f.last_step, f.observed) for f in found.findings
    ] == seen


def test_its_epochs_come_along_with_their_values(tmp_path: Path) -> None:
    made = bundle(write_run(tmp_path / "run"), out=tmp_path / "b.zip")
    with zipfile.ZipFile(made.path) as archive:
        row = epoch_row(archive.read("epochs.jsonl").splitlines()[0])
    assert row is not None
    assert (row["metrics/mAP50(B)"], row["fitness"], row["validated"]) == (0.5, 0.5, True)
    assert [math.isnan(v) for name, v in row.items() if name.startswith("val/")] == [True]


def test_a_long_run_stays_below_a_megabyte_and_keeps_its_diagnosis(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", steps=12_000)
    made = bundle(run, out=tmp_path / "b.zip")
    assert made.size < 1_000_000
    wide = bundles.LIMIT
    try:
        bundles.LIMIT = 60_000
        made = bundle(run, out=tmp_path / "small.zip")
    finally:
        bundles.LIMIT = wide
    assert made.size <= 60_000
    assert made.steps is not None
    assert 64 <= made.steps[0] < made.steps[1] == 12_000
    told, found = diagnose(run), diagnose(made.path)
    assert (found.verdict, found.cause) == (told.verdict, told.cause)
    steps = pl.read_parquet(io.BytesIO(zipfile.ZipFile(made.path).read("steps.parquet")))["step"]
    assert set(range(64)) <= set(steps.to_list())
    assert {f.first_step for f in told.findings} <= set(steps.to_list())


def test_a_plain_run_brings_its_table(tmp_path: Path) -> None:
    run = tmp_path / "zimmermann"
    run.mkdir()
    rows = ["epoch,train/box_loss,val/zimmermann_loss"]
    rows += [f"{epoch},{'nan' if epoch > 20 else 2.0 / epoch},1" for epoch in range(1, 40)]
    (run / "results.csv").write_text("\n".join(rows))
    made = bundle(run, out=tmp_path / "b.zip")
    assert "zimmermann" not in everything(made.path)
    told, found = diagnose(run), diagnose(made.path)
    assert (found.verdict, len(found.findings)) == (told.verdict, len(told.findings))


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = write_run(tmp_path / "run"), tmp_path / "b.zip"
    assert main(["bundle", str(run), f"out={out}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["path"] == str(out)
    assert main(["diagnose", str(out)]) == 3
    assert "ZimmermannGate" not in capsys.readouterr().out
    assert main(["bundle", str(tmp_path / "nothing")]) == 2
    assert "Traceback" not in capsys.readouterr().err


def replaced(path: Path, **files: bytes) -> Path:
    """Write a bundle with other files in it."""
    held = {}
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    held |= {name.replace("__", "."): data for name, data in files.items()}
    other = path.with_name("other.zip")
    with zipfile.ZipFile(other, "w") as archive:
        for name, data in held.items():
            archive.writestr(name, data)
    return other


@pytest.mark.parametrize(
    "files",
    [
        {"steps__parquet": b"not a table"},
        {"blocks__parquet": b"PAR1"},
        {"header__json": b"{}"},
        {"header__json": b"[" * 100_000},
        {"yolo-stability-bundle__json": b"{}"},
        {"yolo-stability-bundle__json": b'{"schema_version": 99, "whole": true}'},
        {
            "yolo-stability-bundle__json": b'{"schema_version": 1, "whole": false}',
            "diagnosis__json": b"7",
        },
        {"events__jsonl": b"0" * 70_000_000},
    ],
    ids=range(8),
)
def test_a_damaged_bundle_is_one_sentence(files: dict[str, bytes], tmp_path: Path) -> None:
    made = bundle(write_run(tmp_path / "run"), out=tmp_path / "b.zip")
    with pytest.raises(TraceError):
        diagnose(replaced(made.path, **files))


def test_only_known_files_are_unpacked(tmp_path: Path) -> None:
    made = bundle(write_run(tmp_path / "run"), out=tmp_path / "b.zip")
    other = replaced(made.path)
    with zipfile.ZipFile(other, "a") as archive:
        archive.writestr("../evil.txt", b"evil")
        archive.writestr("stability/healthy.pt", b"evil")
    place = tmp_path / "unpacked" / "inner"
    place.mkdir(parents=True)
    assert bundles.unpack_bundle(other, place) is None
    found = {p.name for p in (tmp_path / "unpacked").rglob("*") if p.is_file()}
    assert "evil.txt" not in found
    assert not any(name.endswith(".pt") for name in found)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no zip"])
def test_what_is_no_zip_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    with pytest.raises(TraceError, match="cannot be read as a bundle"):
        diagnose(path)
