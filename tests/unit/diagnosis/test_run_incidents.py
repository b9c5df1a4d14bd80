"""What a run's own incidents prove: an image, a module, or neither."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bad_steps import RANGES, incident

from yolo_stability.diagnosis.examples import event
from yolo_stability.diagnosis.incidents import (
    incident_of_event,
    incidents_of,
    named_images,
    read_incident_facts,
    read_incidents,
)


def test_a_module_that_fails_with_all_in_range_is_to_blame_and_no_image_is() -> None:
    found = incident(3, "a.jpg")
    assert (found.blames_module, found.blames_images) == (True, False)
    assert incident(3, "a.jpg", phase="backward").blames_module


@pytest.mark.parametrize(
    "ranges",
    [
        {"images_finite": False},
        {"largest_pixel": 6e4},
        {"largest_pixel": "inf"},
        {"largest_pixel": 5.0, "other_largest_pixel": None},
    ],
    ids=str,
)
def test_an_image_out_of_range_is_to_blame_itself(ranges: dict[str, Any]) -> None:
    found = incident(3, "a.jpg", ranges=ranges)
    assert found.images_bad
    assert (found.blames_module, found.blames_images) == (False, True)


def test_images_that_were_never_scaled_are_compared_with_each_other() -> None:
    ranges = {"largest_pixel": 255.0, "other_largest_pixel": 250.0}
    assert not incident(3, "a.jpg", ranges=ranges).images_bad


@pytest.mark.parametrize(
    "ranges",
    [{"weights_finite": False}, {"weight_growth": 30.0}, {"weight_growth": "nan"}],
    ids=str,
)
def test_weights_out_of_range_excuse_module_and_image(ranges: dict[str, Any]) -> None:
    found = incident(3, "a.jpg", ranges=ranges)
    assert found.weights_bad
    assert not found.blames_module
    assert not found.blames_images


@pytest.mark.parametrize("entered", [1e6, None, "nan", "inf"])
def test_a_module_whose_input_is_out_of_range_is_not_to_blame(entered: Any) -> None:
    assert not incident(ranges={"module_input": entered}).blames_module


def test_a_loss_is_to_blame_only_if_it_is_the_users() -> None:
    stock = incident(3, "a.jpg", block="v8DetectionLoss", layer=None, phase="loss")
    assert (stock.blames_module, stock.blames_images, stock.located) == (False, True, False)
    assert replace(stock, ranges={**RANGES, "custom": True}).blames_module


def test_nothing_is_blamed_unless_it_fails_again() -> None:
    found = incident(3, "a.jpg", reproduced=False)
    assert not found.blames_module
    assert not found.blames_images


def test_incidents_of_older_versions_blame_images_as_before() -> None:
    data = {"reproduced": True, "images": ["folder/a.jpg"], "phase": "forward", "layer": "l"}
    (found,) = incidents_of([event("incident", 5, data), event("rescue", 6)])
    assert (found.step, found.images) == (5, ("a.jpg",))
    assert (found.blames_module, found.blames_images) == (False, True)


def test_a_folder_is_read_like_its_event(tmp_path: Path) -> None:
    """What an incident of this version writes, with NaN and inf as text."""
    where = tmp_path / "incidents" / "step-000005"
    where.mkdir(parents=True)
    culprit = {
        "reproduced": True,
        "message": "m",
        "module": "model.4 Own",
        "layer": "model.4.act Act",
        "phase": "forward",
        "images": ["/data/a.jpg", "/data/b.jpg"],
    }
    content = {"step": 5, "culprit": culprit, "ranges": {**RANGES, "weight_growth": "inf"}}
    (where / "incident.json").write_text(json.dumps(content))
    found = read_incident_facts(where)
    assert found is not None
    assert (found.block, found.images, found.weights_bad) == (
        "model.4 Own",
        ("a.jpg", "b.jpg"),
        True,
    )
    events = [
        event("incident", 9, {"reproduced": True, "images": ["c.jpg"]}),
        event("incident", 5, {"reproduced": False}),
    ]
    assert [i.step for i in read_incidents(tmp_path, events)] == [5, 9]
    assert not read_incidents(tmp_path, events)[0].reproduced  # the event, not the folder
    assert [i.step for i in read_incidents(tmp_path)] == [5]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"step": 3}', '{"step": "x", "culprit": {}}'])
def test_a_damaged_folder_is_no_incident(text: str, tmp_path: Path) -> None:
    (tmp_path / "incident.json").write_text(text)
    assert read_incident_facts(tmp_path) is None
    assert read_incident_facts(tmp_path / "missing") is None


def test_images_in_a_sentence() -> None:
    assert named_images(()) == ""
    assert named_images(["a.jpg"]) == "image a.jpg"
    assert named_images(["a.jpg", "b.jpg", "c.jpg"]) == "image a.jpg and 2 more"


def test_an_event_with_odd_values_is_read() -> None:
    odd = event("incident", 5, {"reproduced": 1, "ranges": None, "images": None})
    found = incident_of_event(odd)
    assert found.ranges == {}
    assert not math.isnan(found.step)
