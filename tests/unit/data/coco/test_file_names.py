"""Names of links in the cache: alone in their split, and short enough for any file system."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolo_stability.data.coco.file_names import LONGEST, LinkNames


@pytest.mark.parametrize("letter", ["a", "\u00e9", "\u753b", "\U00020000"])
def test_a_long_name_is_cut_by_bytes_and_no_character_is_split(letter: str, tmp_path: Path) -> None:
    links, name = LinkNames(), f"{letter * 60}/{letter * 60}.jpg"
    taken = [links.take(name), links.take(name)]
    size = len(letter.encode())
    assert taken[1] == taken[0].removesuffix(".jpg") + "_2.jpg"
    assert LONGEST - size < len(taken[0].removesuffix(".jpg").encode()) <= LONGEST
    assert set(taken[0].removesuffix(".jpg")) <= {letter, "_"}
    for link in taken:
        (tmp_path / link).symlink_to("image.jpg")


@given(
    st.lists(
        st.text(st.characters(exclude_characters="/\\"), min_size=1, max_size=90),
        min_size=1,
        max_size=6,
    )
)
def test_names_differ_and_fit(stems: list[str]) -> None:
    links = LinkNames()
    taken = [links.take(f"{stem}.png") for stem in stems]
    assert len({name.casefold() for name in taken}) == len(taken)
    assert all(
        len(name.encode()) <= LONGEST + len("_6.png") and name.endswith(".png") for name in taken
    )
