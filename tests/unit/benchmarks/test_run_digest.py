"""The digest of a run, which determines whether to repeat it, covers the packages it uses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from yolo_stability.benchmarks.runner import plan_run
from yolo_stability.benchmarks.suite import Limits
from yolo_stability.core import plugins
from yolo_stability.core.registry import Registry
from yolo_stability.interventions import plugin_versions

VERSIONS = {"torch": "2.6", "yolo-stability": "0.1.0"}
STOCK = {"model": "yolo26n.yaml", "data": "shapes", "clip": "norm:10", "norm": "batch"}
Install = Callable[[str], None]


def digest(**changes: str) -> str:
    """Return the digest of a run in a plan."""
    settings = {**STOCK, **changes}
    spec = plan_run("control", "detect", 0, settings, limits=Limits(), versions=VERSIONS)
    return spec.digest


def digest_without_packages(**changes: Any) -> str:
    """Return the digest of settings, limits and versions, computed independently."""
    content = [{**STOCK, **changes}, {"zero_loss_steps": 16}, VERSIONS]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that installs a version of a distribution with the clip `halve`."""

    def put(version: str) -> None:
        info = tmp_path / version / f"tiny_plugin-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Name: tiny-plugin\nVersion: {version}\n")
        (info / "entry_points.txt").write_text("[yolo_stability.clips]\nhalve = tiny.clips:Halve\n")
        monkeypatch.syspath_prepend(str(tmp_path / version))
        plugins.plugin_points.cache_clear()
        folder = "yolo_stability.interventions.clips"
        clips: Registry[Any] = Registry("clip", folder, f"{folder}.Clip")
        monkeypatch.setattr(plugin_versions, "CLIPS", clips)

    yield put
    monkeypatch.undo()
    plugins.plugin_points.cache_clear()


def test_another_version_of_a_package_that_the_run_uses_is_another_run(install: Install) -> None:
    install("1.0")
    before = digest(clip="halve:0.5")
    install("1.1")
    after = digest(clip="halve:0.5")
    assert len({before, after, digest_without_packages(clip="halve:0.5")}) == 3
    install("1.1.0")
    assert digest(clip="halve:0.5") not in {before, after}


def test_a_package_that_the_run_does_not_use_changes_nothing(install: Install) -> None:
    alone = digest()
    install("1.0")
    assert digest() == alone == digest_without_packages()


def test_without_packages_the_digest_is_that_of_settings_limits_and_versions() -> None:
    assert digest(clip="agc:0.01") == digest_without_packages(clip="agc:0.01") != digest()
