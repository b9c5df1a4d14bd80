"""`train rescue=...` from the command line, where it can do nothing: one sentence, exit code 2, nothing written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from training import MODELS, NANO, overrides
from ultralytics import YOLO

from yolo_stability.cli.main import main

pytestmark = [pytest.mark.trains, pytest.mark.smoke]


def line(folder: Path, *more: str, **changed: object) -> list[str]:
    """What a user types, for a tiny run."""
    keys = {
        "model": MODELS["detect"],
        **overrides("detect", folder, imgsz=64, epochs=1, **changed),
        "data": "shapes",
    }
    keys["fraction"] = "[32,4]"
    return ["train", *(f"{key}={value}" for key, value in keys.items()), *more]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (
            ["rescue=restart"],
            "rescue=restart restarts with init=default, which this run already uses",
        ),
        (
            ["rescue=quarantine", "incidents=0"],
            "excludes the images that incidents blame, but incidents=0",
        ),
        (
            ["rescue=lower_scale"],
            "it lowers the loss scale of AMP, which is off (amp=False, device=cpu)",
        ),
        (
            ["rescue=quarantine", "mosaic=1.0"],
            "images mixed from several files blame no single one",
        ),
    ],
)
def test_a_remedy_that_can_never_act_is_refused(
    more: list[str],
    text: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    log: pytest.LogCaptureFixture,
) -> None:
    assert main([*line(tmp_path), *more]) == 2
    (said,) = [
        told for told in capsys.readouterr().err.splitlines() if told.startswith("yolo-stability: ")
    ]
    assert text in said
    assert said.count(". ") == 0  # one sentence
    assert "showing it failed" not in log.text
    assert not list(tmp_path.rglob("stability/*"))


def test_new_weights_for_loaded_ones_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = tmp_path / "mine.pt"
    YOLO(MODELS["detect"]).save(loaded)
    assert main([*line(tmp_path, model=loaded), "rescue=restart", "init=lsuv"]) == 2
    assert (
        "it begins with new weights, and those of mine.pt would be lost" in capsys.readouterr().err
    )


def test_a_second_state_that_does_not_fit_into_memory_is_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    log: pytest.LogCaptureFixture,
) -> None:
    seen = psutil.virtual_memory()
    little = SimpleNamespace(**{**seen._asdict(), "available": 10**6})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: little)
    assert main([*line(tmp_path, model=NANO["detect"]), "rescue=auto"]) == 2
    (said,) = [
        told for told in capsys.readouterr().err.splitlines() if told.startswith("yolo-stability: ")
    ]
    assert (
        "0.04 GB each, and for the second 0.001 GB are free: write guard=off and rescue=off" in said
    )
    assert "showing it failed" not in log.text
    assert not list(tmp_path.rglob("stability/*"))


def test_quarantine_waits_for_the_epochs_without_mosaic(tmp_path: Path) -> None:
    assert main([*line(tmp_path, mosaic=1.0, close_mosaic=1), "rescue=quarantine"]) == 0
