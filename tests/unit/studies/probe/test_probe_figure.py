"""The probe's table in the terminal and its picture."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from yolo_stability.studies.probe.compare import classify_profile, compare_with_stock, with_growth
from yolo_stability.studies.probe.figure import draw_probe_figure
from yolo_stability.studies.probe.result import BlockFlow, ProbeResult, Profile
from yolo_stability.studies.probe.tables import probe_lines, probe_table

NAMES = {
    "model.0 Conv": "backbone",
    "model.1 C3k2": "backbone",
    "model.16 C3k2": "neck",
    "model.23.cv2 Pose26 box": "box",
    "model.23.one2one_cv4_kpts Pose26 keypoints": "one2one_keypoints",
}


def profile(scale: float = 1.0) -> Profile:
    flows = [
        BlockFlow(
            name=name,
            role=role,
            grad_norm=100.0 * scale ** (4 - i),
            output_grad_norm=10.0 * scale ** (4 - i),
            activation_rms=1.0,
            activation_std=0.5,
        )
        for i, (name, role) in enumerate(NAMES.items())
    ]
    return Profile(blocks=with_growth(flows), total=200.0 * scale, loss=60.0)


def result(
    settings: dict[str, Any] | None = None, scale: float = 1.0, **changed: Any
) -> ProbeResult:
    run = replace(profile(scale), **changed)
    measures = compare_with_stock(run, profile())
    verdict, reasons = classify_profile(measures)
    return ProbeResult(
        blocks=run.blocks,
        total=run.total,
        loss=run.loss,
        verdict=verdict,
        reasons=reasons,
        measures=measures,
        reference=profile(),
        settings=settings or {},
        changes={},
        warnings=("a note",),
        request={
            "model": "yolo26n.yaml",
            "task": "detect",
            "data": "shapes",
            "imgsz": 160,
            "batch": 8,
            "seed": 0,
        },
        seconds=1.0,
    )


def lost() -> ProbeResult:
    broken = tuple(replace(block, grad_norm=math.nan) for block in profile().blocks)
    return result({"norm": "none", "init": "gain:30"}, blocks=broken, total=math.nan, loss=math.nan)


def test_a_probe_shows_itself() -> None:
    shown = replace(result({"norm": "none"}), reasons=("too <small>.",), warnings=("hardly acts.",))
    assert repr(shown) == f"<ProbeResult 'norm=none': {shown.verdict}, {len(shown.blocks)} blocks>"
    assert str(shown) == f"norm=none: {shown.verdict}\n- too <small>.\n- hardly acts."
    assert "<li>too &lt;small&gt;.</li>" in shown._repr_html_()


def text(results: list[ProbeResult]) -> list[str]:
    console = Console(width=80, file=io.StringIO())
    console.print(probe_table(results))
    return console.file.getvalue().splitlines()


def words(lines: list[str], start: str) -> list[str]:
    return next(line.split() for line in lines if line.strip().startswith(start))


def test_one_setting_shows_all_that_was_measured_beside_stock() -> None:
    lines = text([result({"norm": "none"}, scale=0.1)])
    assert words(lines, "0 Conv") == [
        "0",
        "Conv",
        "0.0100",
        "100",
        "0.00100",
        "0.100",
        "1.00",
        "0.500",
    ]
    assert words(lines, "total") == ["total", "20.0", "200"]
    assert lines[1].startswith("norm=none")


def test_the_stock_model_alone_is_not_compared_with_itself() -> None:
    assert words(text([result()]), "0 Conv") == [
        "0",
        "Conv",
        "100",
        "10.0",
        "1.00",
        "1.00",
        "0.500",
    ]


def test_up_to_four_settings_stand_side_by_side_with_the_blocks_as_rows() -> None:
    lines = text([result({"norm": "none"}, scale=0.1), lost()])
    assert words(lines, "0 Conv") == ["0", "Conv", "100", "0.0100", "nan"]  # stock comes first
    assert words(lines, "verdict") == ["verdict", "vanishing", "exploding"]
    with_stock = text([result(), result({"norm": "none"}, scale=0.1)])
    assert words(with_stock, "0 Conv") == ["0", "Conv", "100", "0.0100"]
    assert words(with_stock, "verdict") == ["verdict", "healthy", "vanishing"]


def test_more_settings_are_the_rows() -> None:
    many = [result(), lost(), *(result({"init": f"gain:{i}"}, scale=1 + i / 10) for i in range(4))]
    lines = text(many)
    assert words(lines, "stock")[-1] == "healthy"
    assert (
        len(
            [line for line in lines if line.endswith(("healthy", "exploding")) or "healthy" in line]
        )
        == 6
    )


@pytest.mark.parametrize("count", [1, 2, 4, 5, 12])
def test_no_line_is_wider_than_80_columns_and_no_name_wraps(count: int) -> None:
    long = {
        "norm": "none",
        "init": "gain:30",
        "act": "leaky_relu",
        "residual": False,
        "depth_mult": 2.0,
    }
    lines = text([result(long, scale=1e-3 * (i + 1)) for i in range(count)])
    assert max(len(line) for line in lines) <= 80
    if count <= 2:  # more settings with so long names are the rows
        assert sum("one2one_cv4" in line for line in lines) == 1
        assert len([line for line in lines if line.startswith(" 23")]) == 2


def test_lines_say_each_verdict_with_its_reason_and_each_note_once() -> None:
    lines = probe_lines([result(), result({"norm": "none"}, scale=0.1)])
    assert lines[0].startswith("stock: healthy. From the head back")
    assert lines[1].startswith("norm=none: vanishing. From the head back")
    assert lines[2:] == ["note: a note"]
    assert len(probe_lines([result({"norm": "none"}, scale=0.1)])[0]) > 2 * len(
        lines[1]
    )  # all reasons of a single one


def colours(path: Path) -> set[tuple[int, ...]]:
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
    return {tuple(int(v) for v in colour) for colour in np.unique(pixels, axis=0)}


def test_the_picture_has_a_line_for_stock_and_one_for_each_setting(tmp_path: Path) -> None:
    stock, blue, vermillion = (154, 161, 169), (0, 114, 178), (213, 94, 0)
    draw_probe_figure([result({"norm": "none"}, scale=0.1)], tmp_path / "one.png")
    assert {stock, blue} <= colours(tmp_path / "one.png")
    assert vermillion not in colours(tmp_path / "one.png")
    draw_probe_figure(
        [result({"norm": "none"}, scale=0.1), result({"norm": "group"}, scale=0.9)],
        tmp_path / "two.png",
    )
    assert {stock, blue, vermillion} <= colours(tmp_path / "two.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.png", "two.png"]


def test_the_picture_grows_with_its_settings_so_that_no_label_is_lost(tmp_path: Path) -> None:
    few, many = tmp_path / "few.png", tmp_path / "many.png"
    draw_probe_figure([result()], few)
    draw_probe_figure([result({"init": f"gain:{i + 1}"}) for i in range(40)], many)
    assert Image.open(many).height > 1.5 * Image.open(few).height
    assert Image.open(many).width == Image.open(few).width


def test_a_setting_without_one_finite_number_is_drawn_in_crosses(tmp_path: Path) -> None:
    draw_probe_figure([lost()], tmp_path / "lost.png")
    assert (0, 114, 178) in colours(tmp_path / "lost.png")


def test_a_picture_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(OSError, match="taken"):
        draw_probe_figure([result()], tmp_path / "taken.png")
    assert [p.name for p in tmp_path.iterdir()] == ["taken.png"]
