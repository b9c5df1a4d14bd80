"""The page with pictures: self-contained, escaped, and complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from data_set_builders import Builder, corners, divided_twice, picture

from yolo_stability.core.errors import DataError
from yolo_stability.data.check.check import check_data


def page_of(data: Path, out: Path) -> str:
    report = check_data(data, out=out)
    assert report.page is not None
    assert report.to_json()["page"] == report.page
    return Path(report.page).read_text(encoding="utf-8")


def test_pictures_show_the_boxes(tmp_path: Path) -> None:
    html = page_of(corners(tmp_path / "set"), tmp_path / "page.html")
    assert html.count("<svg") == 6 + 5
    assert 'class="mark"' in html
    assert "x1 y1 x2 y2" in html
    circles = page_of(divided_twice(tmp_path / "tiny"), tmp_path)
    assert circles.count("<circle") == 3 * 11, "boxes too small to be seen are rings"
    assert (tmp_path / "data-check.html").is_file()


def test_it_loads_nothing_and_escapes_names(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "set").build()
    builder.add("train", "<b>bold & co", picture(1), [(0, 0.1, 0.1, 0.6, 0.6)] * 2)
    html = page_of(builder.write(names=["<i>cat", "dog"]), tmp_path / "page.html")
    assert "<b>" not in html
    assert not re.search(r"(?:src|href)=\"(?!data:)", html)
    assert "<script" not in html


@pytest.mark.parametrize("name", ["page.pdf", "page"])
def test_a_page_is_html(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"expected a name that ends in \.html"):
        check_data("shapes", out=tmp_path / name)
