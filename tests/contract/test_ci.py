"""What CI relies on: skipped tests on coco-mini fail where the images are there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPO = Path(__file__).resolve().parents[2]
SKIPPING = """
import pytest

@pytest.mark.coco_mini
def test_images():
    pytest.skip("for another reason")

def test_other():
    pytest.skip("not about images")

@pytest.mark.coco_mini
@pytest.mark.xfail(reason="known")
def test_known():
    assert False
"""


@pytest.mark.parametrize(
    ("ci", "images", "closing"),
    [
        ("true", True, "1 failed, 1 skipped, 1 xfailed"),
        ("true", False, "2 skipped, 1 xfailed"),
        ("", True, "2 skipped, 1 xfailed"),
    ],
)
def test_a_skipped_coco_mini_test_fails_only_in_ci_where_the_images_are(
    tmp_path: Path, ci: str, images: bool, closing: str
) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    shutil.copy(REPO / "tests" / "conftest.py", tests)
    (tests / "test_skipping.py").write_text(SKIPPING)
    folder = tmp_path / "coco-mini"
    if images:
        folder.mkdir()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-o",
            "markers=coco_mini",
            str(tests),
        ],
        cwd=tmp_path,
        env={**os.environ, "CI": ci, "YOLO_STABILITY_COCO_MINI": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1].startswith(closing), done.stdout + done.stderr
    assert done.returncode == closing.startswith("1 failed")


def test_the_coco_mini_fixture_gives_the_folder_or_skips(request: pytest.FixtureRequest) -> None:
    named = os.environ.get("YOLO_STABILITY_COCO_MINI")
    folder = Path(named) if named else REPO.parent / "shared" / "data" / "coco-mini"
    if folder.is_dir():
        assert request.getfixturevalue("coco_mini") == folder
    else:
        with pytest.raises(pytest.skip.Exception, match="YOLO_STABILITY_COCO_MINI"):
            request.getfixturevalue("coco_mini")


def test_every_action_is_pinned_to_a_commit() -> None:
    lines = [
        line.strip()
        for file in (REPO / ".github" / "workflows").glob("*.yml")
        for line in file.read_text(encoding="utf-8").splitlines()
        if "uses:" in line
    ]
    assert lines
    pinned = re.compile(r"- uses: [\w-]+/[\w/-]+@[0-9a-f]{40} # v\d+(\.\d+)*")
    assert [line for line in lines if not pinned.fullmatch(line)] == []


def test_every_job_of_the_workflow_calls_what_the_makefile_has() -> None:
    jobs = yaml.safe_load((REPO / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    targets = re.findall(
        r"^([a-z-]+):", (REPO / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    runs = [step["run"] for job in jobs["jobs"].values() for step in job["steps"] if "run" in step]
    made = [line.removeprefix("make ") for line in runs if line.startswith("make ")]
    assert {"lint", "test", "test-wheel"} <= set(made) <= set(targets)
