"""No COCO document makes the importer raise anything but one of the package's own sentences."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from yolo_stability.core.errors import StabilityError
from yolo_stability.data import import_coco

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from(
        [
            10**400,
            -(10**30),
            2**63,
            1e308,
            float("nan"),
            float("inf"),
            -0.0,
            "",
            "7",
            "a.png",
            "../x.png",
        ]
    ),
    st.text(max_size=5),
    st.floats(),
)
JSON = st.recursive(
    ODD,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4) | st.just("id"), inner, max_size=4)
    ),
    max_leaves=12,
)
KEYS = ("images", "annotations", "categories")
DOCUMENTS = st.one_of(JSON, st.fixed_dictionaries(dict.fromkeys(KEYS, JSON)))


def healthy() -> dict[str, Any]:
    """Return a document with everything that the importer reads."""
    box = {
        "id": 1,
        "image_id": 7,
        "category_id": 1,
        "bbox": [4, 2, 20, 10],
        "iscrowd": 0,
        "keypoints": [5, 5, 2, 8, 6, 1, 0, 0, 0],
        "segmentation": [[1, 1, 9, 1, 9, 9]],
    }
    person = {"id": 1, "name": "person", "keypoints": ["nose", "left_hand", "right_hand"]}
    images = [
        {"id": i, "file_name": name, "width": 40, "height": 20}
        for i, name in ((7, "a.png"), (9, "b.png"))
    ]
    return {
        "images": images,
        "annotations": [box, box | {"id": 2, "image_id": 9}],
        "categories": [person],
    }


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in a document."""
    inner = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    return (
        [path, *(p for key, value in inner for p in places(value, (*path, key)))]
        if path or inner
        else [path]
    )


PLACES = [path for path in places(healthy()) if path]


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """Return a healthy document of which up to three values were replaced, removed or doubled."""
    document = healthy()
    for path in draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=3)):
        node = document
        try:
            for key in path[:-1]:
                node = node[key]
            action = draw(st.sampled_from(["replace", "replace", "remove", "double"]))
            if action == "remove":
                del node[path[-1]]
            elif action == "double" and isinstance(node, list):
                node.append(copy.deepcopy(node[path[-1]]))
            else:
                node[path[-1]] = draw(JSON)
        except (KeyError, IndexError, TypeError):  # an earlier change took the place away
            continue
    return document


@settings(max_examples=250, suppress_health_check=list(HealthCheck))
@given(
    train=mutated() | mutated() | DOCUMENTS,
    val=st.just(healthy()) | mutated(),
    task=st.sampled_from(["detect", "segment", "pose"]),
)
def test_no_document_raises_anything_but_our_own_errors(
    tmp_path_factory: pytest.TempPathFactory, coco_folder: type, train: Any, val: Any, task: str
) -> None:
    folder = coco_folder(tmp_path_factory.mktemp("any") / "set")
    folder.kind = "person_keypoints" if task == "pose" else "instances"
    root = folder.write()
    for split, document in (("train2017", train), ("val2017", val)):
        (root / "annotations" / f"{folder.kind}_{split}.json").write_text(json.dumps(document))
    try:
        report = import_coco(root, task)
    except StabilityError as err:
        message = str(err)
        assert "\n" not in message.replace(str(root), "")
        return
    event("imported")
    for split in report.splits:
        assert split.annotations_kept + sum(split.dropped.values()) == split.annotations_listed
        assert split.images_kept + sum(split.images_dropped.values()) == split.images_listed


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(
    content=st.binary(max_size=60)
    | st.text(max_size=60).map(lambda s: s.encode("utf-16", "surrogatepass"))
)
def test_no_bytes_raise_anything_but_our_own_errors(
    tmp_path_factory: pytest.TempPathFactory, coco_folder: type, content: bytes
) -> None:
    root: Path = coco_folder(tmp_path_factory.mktemp("any") / "set").write()
    (root / "annotations" / "instances_train2017.json").write_bytes(content)
    with pytest.raises(StabilityError):
        import_coco(root, "detect")
