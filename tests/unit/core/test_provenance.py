"""Digests depend on the content of a run, not on its location or order."""

from __future__ import annotations

from pathlib import Path

import torch

from yolo_stability.core.provenance import config_digest, dataset_digest, package_versions


def test_config_digest_ignores_order_and_places() -> None:
    a = config_digest({"lr0": 0.01, "epochs": 3, "project": "here", "name": "x"})
    assert a == config_digest({"epochs": 3, "lr0": 0.01, "project": "there"})
    assert a != config_digest({"epochs": 3, "lr0": 0.02})


def test_dataset_digest_sees_labels_sizes_and_names(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.jpg").write_bytes(b"one")
        (tmp_path / folder / "2.jpg").write_bytes(b"three")
    one, two = (str(tmp_path / "a" / f"{n}.jpg") for n in (1, 2))
    digest = dataset_digest([(one, b"x"), (two, b"y")])
    assert digest == dataset_digest([(two, b"y"), (one, b"x")])
    assert digest == dataset_digest(
        [(one.replace("/a/", "/b/"), b"x"), (two.replace("/a/", "/b/"), b"y")]
    )
    assert digest != dataset_digest([(one, b"x"), (two, b"z")])
    assert digest != dataset_digest([(one, b"x")])
    (tmp_path / "a" / "1.jpg").write_bytes(b"longer")
    assert digest != dataset_digest([(one, b"x"), (two, b"y")])
    assert dataset_digest([("missing.jpg", b"")])


def test_versions_name_the_stack() -> None:
    versions = package_versions()
    assert versions["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert {"python", "ultralytics", "yolo-stability", "torchvision"} <= versions.keys()
