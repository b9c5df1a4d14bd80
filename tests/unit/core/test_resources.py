"""Shipped files are found in a checkout and in a wheel."""

from __future__ import annotations

import pytest

from yolo_stability.core import resources
from yolo_stability.core.resources import resource


def test_a_checkout_has_them_beside_the_package():
    assert resource("datasets", "shapes.yaml").is_file()
    assert resource("configs", "scenarios", "control.yaml").is_file()


def test_a_wheel_has_them_inside(tmp_path, monkeypatch):
    inside = tmp_path / "yolo_stability"
    (inside / "_datasets").mkdir(parents=True)
    (inside / "_datasets" / "shapes.yaml").write_text("")
    monkeypatch.setattr(resources, "PACKAGE", inside)
    assert resource("datasets", "shapes.yaml") == inside / "_datasets" / "shapes.yaml"


def test_a_damaged_installation_says_so():
    with pytest.raises(
        FileNotFoundError, match=r"datasets/none\.yaml is missing from this installation"
    ):
        resource("datasets", "none.yaml")
