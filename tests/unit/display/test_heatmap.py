"""The heat map: drawn for every kind of run, without side effects on matplotlib."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import pytest
from traces import NAMES, header, record, write

from yolo_stability.core.text import run_title
from yolo_stability.core.types import StepRecord
from yolo_stability.display.heatmap import draw_heatmap
from yolo_stability.trace import load_trace
from yolo_stability.trace.heat_matrix import HeatMatrix, heat_matrix

RED = (228, 0, 43)
ORANGE = (255, 140, 0)


def matrix(folder: Path, records: Sequence[StepRecord]) -> HeatMatrix:
    return heat_matrix(load_trace(write(folder, records)))


def draw(folder: Path, records: Sequence[StepRecord], clip_norm: float | None = 10.0) -> np.ndarray:
    path = folder / "picture.png"
    draw_heatmap(
        matrix(folder, records),
        path,
        title="yolo26n, detect, seed 0",
        note="note",
        clip_norm=clip_norm,
    )
    image = cv2.imread(str(path))
    assert image is not None
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def pixels(image: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((np.abs(image.astype(int) - color).max(-1) < 12).sum())


def quiet(steps: int) -> list[StepRecord]:
    return [record(s, (3.0 + s % 5, 40.0, 1.0, 12.0)) for s in range(steps)]


@pytest.mark.parametrize("steps", [0, 1, 12, 160, 1500])
def test_healthy_run_of_any_length(tmp_path: Path, steps: int) -> None:
    image = draw(tmp_path, quiet(steps))
    assert image.shape[1] == 1560
    assert pixels(image, RED) == 0
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize("steps", [12, 3000])
def test_one_bad_step_can_be_seen(tmp_path: Path, steps: int) -> None:
    records = quiet(steps)
    records[3] = record(3, (1.0, math.nan, 1.0, 1.0), skipped="guard")
    assert pixels(draw(tmp_path, records), RED) > 150


def test_overflow_of_the_scaler_has_its_own_colour(tmp_path: Path) -> None:
    records = quiet(20)
    records[3] = record(3, (math.inf,) * 4, skipped="scaler")
    image = draw(tmp_path, records)
    assert pixels(image, RED) == 0
    assert pixels(image, ORANGE) > 500


@pytest.mark.parametrize(
    "norms",
    [(math.nan,) * 4, (0.0,) * 4, (None,) * 4, (1e200, 1e-200, 0.0, None), (5.0,) * 4],
    ids=["nan", "zero", "frozen", "huge", "constant"],
)
@pytest.mark.parametrize("clip_norm", [None, 10.0])
def test_any_values_can_be_drawn(
    tmp_path: Path, norms: tuple[float | None, ...], clip_norm: float | None
) -> None:
    records = [
        record(s, norms, grad_norm=norms[0], loss=[0.0, -1.0, math.nan][s % 3], attempt=s // 4)
        for s in range(9)
    ]
    draw(tmp_path, records, clip_norm)


def test_matplotlib_and_random_state_are_left_alone(tmp_path: Path) -> None:
    before = dict(mpl.rcParams), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    draw(tmp_path, quiet(5))
    after = dict(mpl.rcParams), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    assert before == after


def test_pyplot_and_backend_are_not_touched(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import yolo_stability.display.heatmap as h\n"
        "assert 'matplotlib' not in sys.modules\n"
        "from yolo_stability.trace.heat_matrix import heat_matrix\n"
        "from yolo_stability.trace import load_trace\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "h.draw_heatmap(heat_matrix(load_trace(folder)), folder / 'p.png')\n"
        "assert 'matplotlib.pyplot' not in sys.modules and 'torch' not in sys.modules\n"
    )
    write(tmp_path, quiet(3))
    subprocess.run([sys.executable, "-c", code], check=True)


def test_full_disk_keeps_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.png"
    path.write_bytes(b"old")
    shown = matrix(tmp_path, quiet(3))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        draw_heatmap(shown, path)
    assert path.read_bytes() == b"old"
    assert not list(tmp_path.glob(".*.tmp"))


def test_title() -> None:
    assert run_title(header()) == "yolo26n, detect, seed 0"
    assert run_title(header(requested={}, seed=None)) == ""
    assert len(NAMES) == 4
