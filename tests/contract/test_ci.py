"""What CI relies on: skipped tests on coco-mini fail where the images are there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

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


def jobs_of(name: str) -> dict[str, Any]:
    """Return the jobs of a workflow."""
    text = (REPO / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8")
    jobs: dict[str, Any] = yaml.safe_load(text)["jobs"]
    return jobs


@pytest.mark.parametrize(
    ("workflow", "needed"),
    [("ci", {"lint", "test", "test-wheel"}), ("release", {"check", "test-wheel", "docs"})],
)
def test_every_job_of_a_workflow_calls_what_the_makefile_has(
    workflow: str, needed: set[str]
) -> None:
    targets = re.findall(
        r"^([a-z-]+):", (REPO / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    steps = [step for job in jobs_of(workflow).values() for step in job["steps"]]
    runs = [step["run"] for step in steps if "run" in step]
    made = [line.removeprefix("make ") for line in runs if line.startswith("make ")]
    assert needed <= set(made) <= set(targets)


def test_a_release_is_tested_before_it_is_built_published_and_documented() -> None:
    text = (REPO / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    jobs = jobs_of("release")
    assert {name: job.get("needs") for name, job in jobs.items()} == {
        "tests": None,
        "build": "tests",
        "publish": "build",
        "docs": "publish",
    }
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
    # Trusted publishing: the index asks who runs it, and no secret is needed.
    assert "secrets." not in text
    may_identify = {name for name, job in jobs.items() if "id-token" in job.get("permissions", {})}
    assert may_identify == {"publish", "docs"}
    assert {step.get("uses", "").partition("@")[0] for step in jobs["publish"]["steps"]} == {
        "actions/download-artifact",
        "pypa/gh-action-pypi-publish",
    }


@pytest.mark.parametrize(
    ("tag", "dated", "good"),
    [("v1.2.3", True, True), ("v1.2.4", True, False), ("v1.2.3", False, False)],
)
def test_a_tag_must_be_the_version_and_its_changes_dated(
    tmp_path: Path, tag: str, dated: bool, good: bool
) -> None:
    """The step of the workflow, run as it is there."""
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    date = "2026-11-30" if dated else "unreleased"
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n## [1.2.3] - {date}\n")
    step = next(s for s in jobs_of("release")["tests"]["steps"] if "GITHUB_REF_NAME" in str(s))
    python = tmp_path / "bin"
    python.mkdir()
    (python / "python").symlink_to(sys.executable)
    done = subprocess.run(
        ["bash", "-e", "-c", step["run"]],
        cwd=tmp_path,
        env={**os.environ, "GITHUB_REF_NAME": tag, "PATH": f"{python}:{os.environ['PATH']}"},
        check=False,
    )
    assert (done.returncode == 0) == good
