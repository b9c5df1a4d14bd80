"""Selection of images: the result must equal the batch that a loader would make of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from yolo_stability.guard.incidents.batch import (
    exclude_images,
    images_not_finite,
    labels_of,
    select,
    tensor_bytes,
)

COUNTS = [2, 0, 1, 3]


def made(images: list[int]) -> dict[str, Any]:
    """Return the batch that holds these images of four, built from nothing as a loader does."""
    rows = [(place, image, k) for place, image in enumerate(images) for k in range(COUNTS[image])]
    return {
        "img": torch.stack([torch.full((3, 2, 2), float(i)) for i in images]),
        "im_file": [f"folder/{i}.jpg" for i in images],
        "ori_shape": [(i, i) for i in images],
        "batch_idx": torch.tensor([float(place) for place, _, _ in rows]),
        "cls": torch.tensor([[10.0 * image + k] for _, image, k in rows]).reshape(-1, 1),
        "bboxes": torch.tensor([[image / 8, k / 8, 0.5, 0.5] for _, image, k in rows]).reshape(
            -1, 4
        ),
        "keypoints": torch.tensor(
            [[[float(image), float(k), 2.0]] for _, image, k in rows]
        ).reshape(-1, 1, 3),
        "masks": torch.stack([torch.full((2, 2), i) for i in images]),
    }


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4, unique=True))
def test_a_selection_is_the_batch_of_those_images(images: list[int]) -> None:
    chosen, expected = select(made([0, 1, 2, 3]), images), made(images)
    order = torch.argsort(chosen["batch_idx"], stable=True)  # a loader sorts labels by image
    for key, value in expected.items():
        if key in {"batch_idx", "cls", "bboxes", "keypoints"}:
            assert torch.equal(chosen[key][order], value), key
        elif isinstance(value, torch.Tensor):
            assert torch.equal(chosen[key], value), key
        else:
            assert chosen[key] == value, key


def test_classes_of_whole_images_are_selected_too() -> None:
    chosen = select({"img": torch.rand(3, 3, 2, 2), "cls": torch.tensor([5, 6, 7])}, [2, 0])
    assert chosen["cls"].tolist() == [7, 5]
    assert "batch_idx" not in chosen


def test_the_batch_itself_stays() -> None:
    batch, before = made([0, 1, 2, 3]), made([0, 1, 2, 3])
    select(batch, [3])["img"].zero_()
    assert all(torch.equal(batch[k], v) for k, v in before.items() if isinstance(v, torch.Tensor))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize(("key", "place", "image"), [("img", (2, 0, 0, 0), 2), ("bboxes", (3, 1), 3),
                                                     ("cls", (0, 0), 0), ("keypoints", (2, 0, 1), 2)])  # fmt: skip
def test_bad_numbers_are_found_in_pixels_and_labels(
    value: float, key: str, place: tuple[int, ...], image: int
) -> None:
    batch = made([0, 1, 2, 3])
    assert images_not_finite(batch) == []
    batch[key][place] = value
    assert images_not_finite(batch) == [image]


def test_labels_are_listed_by_image_and_can_be_json() -> None:
    batch = made([0, 1, 2, 3])
    batch["bboxes"][2, 0] = torch.nan
    rows = labels_of(batch)
    assert [len(image) for image in rows] == COUNTS
    assert rows[3][1] == [31.0, 0.375, 0.125, 0.5, 0.5, 3.0, 1.0, 2.0]
    assert rows[2][0][1] == "nan"
    json.dumps(rows, allow_nan=False)


def test_labels_of_a_batch_without_any_or_of_whole_images() -> None:
    assert labels_of({"img": torch.rand(2, 3, 2, 2), "im_file": ["a", "b"]}) == [[], []]
    assert labels_of({"img": torch.rand(2, 3, 2, 2), "cls": torch.tensor([4, 5])}) == [
        [[4.0]],
        [[5.0]],
    ]


def test_bytes_are_those_of_the_tensors() -> None:
    assert (
        tensor_bytes({"a": torch.zeros(3, 2), "b": torch.zeros(5, dtype=torch.uint8), "c": [1, 2]})
        == 29
    )


def batch(*names: str, size: int = 64) -> dict[str, Any]:
    """Images with two boxes each."""
    count = len(names)
    return {
        "img": torch.arange(count)
        .float()
        .reshape(count, 1, 1, 1)
        .expand(count, 3, size, size)
        .clone(),
        "im_file": [f"/data/{name}" for name in names],
        "batch_idx": torch.arange(count).repeat_interleave(2).float(),
        "cls": torch.arange(2 * count).float().reshape(-1, 1),
        "bboxes": torch.zeros(2 * count, 4),
    }


def test_an_image_in_quarantine_leaves_the_batch_with_its_labels() -> None:
    given = batch("a.png", "bad.png", "c.png")
    exclude_images(given, {"bad.png"})
    assert given["im_file"] == ["/data/a.png", "/data/c.png"]
    assert given["img"][:, 0, 0, 0].tolist() == [0.0, 2.0]
    assert given["batch_idx"].tolist() == [0, 0, 1, 1]
    assert given["cls"].flatten().tolist() == [0, 1, 4, 5]


@pytest.mark.parametrize("names", [{"other.png"}, {"a.png", "b.png"}])
def test_a_batch_stays_whole_where_nothing_or_everything_would_go(names: set[str]) -> None:
    given = batch("a.png", "b.png")
    exclude_images(given, names)
    assert len(given["img"]) == 2


@pytest.mark.parametrize(("size", "kept"), [(64, 1), (32, 2)])
def test_a_batch_of_small_images_is_not_left_with_one(size: int, kept: int) -> None:
    """BatchNorm needs more than one value a channel in training."""
    given = batch("a.png", "bad.png", size=size)
    exclude_images(given, {"bad.png"})
    assert len(given["img"]) == kept
