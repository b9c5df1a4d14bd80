"""`report.md` and the PNGs: the same outline without a browser."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from sample_benchmark import BLOCKS, HOSTILE, write_sample
from sample_benchmark import sample as make

from yolo_stability.benchmarks.results import results_to_json
from yolo_stability.report.write import write_report

FEW = ("control", "huge-lr", "skipping")
SPECIAL = re.compile(r"\\([\\`*_{}\[\]<>|#~&!$@])")


def written(folder: Path) -> str:
    return write_report(folder)[1].read_text(encoding="utf-8")


def shown(text: str) -> str:
    """Return the text as a reader of the rendered page sees it."""
    return SPECIAL.sub(r"\1", re.sub(r"(?<![\\!])\[(.*?)\]\(#[a-z0-9-]+\)", r"\1", text))


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("few")
    write_sample(folder, arms=FEW)
    return folder, written(folder)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("hostile")
    write_sample(folder, arms=FEW, tasks=("detect",), hostile=True)
    return written(folder)


def test_it_begins_with_what_happened(few: tuple[Path, str]) -> None:
    result, _ = make(arms=FEW)
    top = shown(few[1][: few[1].index("## Verdicts")])
    assert top.startswith("# Stability benchmark: sample\n\nDo the stock settings survive")
    assert "1 of 2 arms failed: huge-lr." in top
    assert all(comparison.sentence in top for comparison in result.comparisons)


def test_every_table_is_whole(few: tuple[Path, str], hostile: str) -> None:
    for text in (few[1], hostile):
        lines = text.splitlines()
        rules = [i for i, line in enumerate(lines) if re.fullmatch(r"\|( -{3}:? \|)+", line)]
        assert len(rules) >= 4
        for i in rules:
            width = pipes(lines[i])
            rows = [lines[i - 1]]
            for line in lines[i + 1 :]:
                if not line.startswith("|"):
                    break
                rows.append(line)
            assert len(rows) > 1
            assert {pipes(row) for row in rows} == {width}


def pipes(line: str) -> int:
    """Count the bars that part cells: those without a backslash before them."""
    return len(re.findall(r"(?<!\\)\|", line.replace("\\\\", "")))


def test_block_norms_are_those_of_the_series(few: tuple[Path, str]) -> None:
    _, frame = make(arms=FEW)
    section = few[1][few[1].index("### huge-lr") : few[1].index("### skipping")]
    row = next(line for line in section.splitlines() if line.startswith(f"| {BLOCKS[3]} "))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    for arm, place in (("control", 1), ("huge-lr", 2)):
        norm = frame.filter(
            pl.col("arm") == arm,
            pl.col("seed") == 0,
            pl.col("task") == "detect",
            pl.col("block") == BLOCKS[3],
        ).sort("bin")["median"][0]
        assert float(cells[place]) == pytest.approx(norm, rel=5e-3)
    assert cells[-1] == "9"  # the bin of the steps 9 to 11 holds NaN
    assert "NaN or Inf" in cells


def test_hostile_names_are_text(hostile: str) -> None:
    bare = re.sub(r"```+\n.*?\n```+", "", hostile, flags=re.DOTALL)
    bare = re.sub(r'<a id="g1(-a\d)?"></a>|(?<!\\)\]\(#g1(-a\d)?\)', "", bare)
    assert not re.search(r"(?<!\\)<(?!br>)", bare)
    links = re.findall(
        r"(?<![\\!])\[(?!\*\*failed\*\*|\*\*unstable\*\*|\*\*stable\*\*|Detection)(.{5})", bare
    )
    assert set(links) == {"huge-", "skipp"}
    assert HOSTILE.removesuffix("\u202e") in shown(bare)
    assert "\u202e" not in hostile


def test_the_command_cannot_leave_its_block(tmp_path: Path) -> None:
    result = write_sample(tmp_path, arms=("control",), tasks=("detect",), seeds=(0,))
    manifest = {
        **result.manifest,
        "command": ["yolo-stability", "benchmark", "out=my folder", "x=```\n# not a heading"],
    }
    (tmp_path / "results.json").write_text(
        results_to_json(replace(result, manifest=manifest)), encoding="utf-8"
    )
    text = written(tmp_path)
    assert (
        "\n````\nyolo-stability benchmark 'out=my folder' 'x=``` # not a heading'\n````\n" in text
    )


def test_every_link_leads_to_a_heading(few: tuple[Path, str]) -> None:
    _, text = few
    places = dict(re.findall(r'<a id="([^"]+)"></a>\n\n#+ (.+)', text))
    links = re.findall(r"\[([^\]]+)\]\(#([^)]+)\)", text)
    assert places == {
        **{
            "g1": "Detection",
            "g1-a1": "control: stable",
            "g1-a2": "huge-lr: failed",
            "g1-a3": "skipping: unstable",
        },
        **{
            "g2": "Pose",
            "g2-a1": "control: stable",
            "g2-a2": "huge-lr: failed",
            "g2-a3": "skipping: unstable",
        },
    }
    assert {link for _, link in links} == set(places)
    assert all(shown.strip("*") in places[link] for shown, link in links)
    assert len(links) == 2 + 6 + 4  # head and cells of the matrix, a sentence an arm and task


def test_pictures_of_what_is_no_more_are_removed(tmp_path: Path) -> None:
    write_sample(tmp_path, arms=FEW)
    write_report(tmp_path)
    (tmp_path / "figures" / "mine.png").touch()
    write_sample(tmp_path, arms=FEW, tasks=("pose",))
    write_report(tmp_path)
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == [
        "g1-pose-blocks.png",
        "g1-pose-curves.png",
        "mine.png",
    ]


def test_every_picture_named_is_there_and_no_other(few: tuple[Path, str]) -> None:
    folder, text = few
    named = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", text)
    assert {path for _, path in named} == {
        f"figures/{p.name}" for p in (folder / "figures").iterdir()
    }
    assert len(named) == 4
    assert all(
        "Gradient norm of every block" in alt or "Total gradient norm" in alt for alt, _ in named
    )


def test_the_heat_maps_show_control_and_arms_and_what_went_wrong(few: tuple[Path, str]) -> None:
    picture = np.asarray(
        Image.open(few[0] / "figures" / "g1-detect-blocks.png").convert("RGB")
    ).astype(int)
    assert picture.shape[1] == 1300
    red = (abs(picture - [0xE4, 0x00, 0x2B]).sum(axis=2) < 12).nonzero()
    grey = (abs(picture - [0xD5, 0xD8, 0xDC]).sum(axis=2) < 6).nonzero()
    third = picture.shape[1] / 3
    assert (
        (red[1] > third) & (red[1] < 2 * third)
    ).sum() > 5000  # huge-lr: every block in the last bin
    assert 100 < (red[1] > 2 * third).sum() < 5000  # skipping: one cell, a triangle
    assert (red[1] < third).sum() == 0
    assert ((grey[1] > third) & (grey[1] < 2 * third)).sum() > 20_000  # huge-lr ended early


def test_the_curves_show_the_arm_beside_the_control(few: tuple[Path, str]) -> None:
    picture = np.asarray(
        Image.open(few[0] / "figures" / "g1-detect-curves.png").convert("RGB")
    ).astype(int)
    blue = (abs(picture - [0x00, 0x72, 0xB2]).sum(axis=2) < 12).nonzero()[1]
    third = picture.shape[1] / 3
    assert (blue < third).sum() == 0  # the control has its own ink
    assert (blue > 2 * third).sum() > 500
