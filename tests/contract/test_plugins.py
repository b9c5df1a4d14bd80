"""The package of `docs/pages/how-to/own-parts.md`, installed, listed and used in a training."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

from yolo_stability.core import plugins

pytestmark = pytest.mark.installs

REPO = Path(__file__).resolve().parents[2]
GOLDEN = REPO / "tests" / "golden" / "detect-26n"
PAGE = (REPO / "docs" / "pages" / "how-to" / "own-parts.md").read_text(encoding="utf-8")
CLIP, RULE = (
    text.replace("my_package", "tiny_plugin")
    for text in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
)
POINTS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[0]
POINTS = re.sub(r'\[project\.entry-points\."(.*?)"\]', r"[\1]", POINTS).replace('"', "")
POINTS = POINTS.replace("my_package", "tiny_plugin")


def wheel(folder: Path, files: Mapping[str, str], points: str) -> Path:
    """Write the wheel of a package, which takes no build tool."""
    info = "tiny_plugin-1.0.dist-info"
    content = {
        "tiny_plugin/__init__.py": "",
        **{f"tiny_plugin/{name}.py": text for name, text in files.items()},
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tiny-plugin\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": points,
    }
    rows = []
    for name, text in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()
        rows.append(f"{name},sha256={digest.rstrip('=')},{len(text.encode())}")
    path = folder / "tiny_plugin-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)
        archive.writestr(f"{info}/RECORD", "\n".join([*rows, f"{info}/RECORD,,", ""]))
    return path


def install(folder: Path, files: Mapping[str, str], points: str = POINTS) -> dict[str, str]:
    """Install the package into a folder of its own and return the environment that sees it."""
    site = folder / "site"
    pip = [sys.executable if find_spec("pip") else "python3", "-m", "pip"]
    subprocess.run(
        [
            *(*pip, "--disable-pip-version-check", "install", "-q", "--no-index", "--no-deps"),
            *("--target", str(site), str(wheel(folder, files, POINTS))),
        ],
        check=True,
    )
    (site / "tiny_plugin-1.0.dist-info" / "entry_points.txt").write_text(points)
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Give the environment in which the package is installed."""
    return install(tmp_path_factory.mktemp("plugin"), {"clips": CLIP, "rules": RULE})


def run(env: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "yolo_stability", *words]
    return subprocess.run(command, env=dict(env), capture_output=True, text=True, check=False)


def test_it_is_listed_with_the_package_that_it_comes_from(installed: dict[str, str]) -> None:
    listed = run(installed, "list", "rules").stdout
    assert "too_steep" in listed
    assert "A gradient norm above a fixed limit. (from tiny-plugin 1.0)" in " ".join(listed.split())
    assert "halve" in run(installed, "list", "interventions").stdout


def test_its_rule_is_explained_by_its_own_docstring(installed: dict[str, str]) -> None:
    text = run(installed, "explain", "too_steep").stdout
    assert text.startswith("too_steep, a rule: a steep gradient\n\nA gradient norm above a fixed")
    assert "limit = 1000: Largest norm without a warning. My own runs stay below it." in text
    assert "Package:   tiny-plugin 1.0" in text
    assert "too_steep" in run(installed, "explain", "learning_rate").stdout


@pytest.mark.smoke
def test_its_rule_finds(installed: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "run")
    done = run(installed, "diagnose", str(tmp_path / "run"), "--json")
    found = [f for f in json.loads(done.stdout)["findings"] if f["rule"] == "too_steep"]
    assert [(f["severity"], f["threshold"]) for f in found] == [("warning", 1000.0)]
    assert found[0]["observed"] > 1000
    alone = run(os.environ, "diagnose", str(tmp_path / "run"), "--json")
    rest = [f for f in json.loads(done.stdout)["findings"] if f["rule"] != "too_steep"]
    assert rest == json.loads(alone.stdout)["findings"]


@pytest.mark.trains
def test_its_clip_clips(installed: dict[str, str], tmp_path: Path) -> None:
    line = "model=yolov8n.yaml data=shapes imgsz=32 batch=8 epochs=1 device=cpu plots=False"
    done = run(
        installed, "train", *line.split(), "clip=halve:0.5", f"project={tmp_path}", "name=run"
    )
    assert done.returncode == 0, done.stderr
    code = (
        "import sys, yolo_stability; trace = yolo_stability.load_trace(sys.argv[1]);"
        "print(trace.header.requested['clip'], set(trace.steps['clip_coef']))"
    )
    read = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert read.stdout.split("\n")[0] == "halve:0.5 {0.5}"


def test_an_impossible_number_gets_the_sentence_of_any_clip(installed: dict[str, str]) -> None:
    done = run(installed, "train", "model=yolo26n.yaml", "data=shapes", "clip=halve:2")
    assert done.returncode == 2
    assert "halve:2" in done.stderr
    assert "the share that is kept" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("raise OSError('no driver')", "cannot be imported (OSError: no driver)"),
        ("class Halve: ...", "must be a subclass of yolo_stability.interventions.clips.Clip"),
    ],
)
def test_a_broken_package_is_named(tmp_path: Path, source: str, expected: str) -> None:
    env = install(tmp_path, {"clips": source, "rules": RULE})
    assert run(env, "--help").returncode == 0
    done = run(env, "train", "model=yolo26n.yaml", "data=shapes", "clip=halve:0.5")
    assert (done.returncode, done.stdout) == (2, "")
    assert "The clip 'halve' of the package tiny-plugin 1.0" in done.stderr
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_that_is_taken_is_ignored_aloud(tmp_path: Path) -> None:
    env = install(
        tmp_path,
        {"clips": CLIP, "rules": RULE},
        "[yolo_stability.clips]\nagc = tiny_plugin.clips:Halve\n",
    )
    code = "from yolo_stability.interventions.clips import CLIPS; print(CLIPS['agc'].__module__)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "yolo_stability.interventions.clips.agc"
    assert "clip 'agc' of the package tiny-plugin 1.0 is ignored" in done.stderr


def test_a_rule_that_fails_costs_its_own_findings_only(tmp_path: Path) -> None:
    source = RULE.replace("        rows = ", "        raise KeyError('column')\n        rows = ")
    env = install(tmp_path, {"clips": CLIP, "rules": source})
    shutil.copytree(GOLDEN, tmp_path / "run")
    done = run(env, "diagnose", str(tmp_path / "run"), "--json")
    alone = run(os.environ, "diagnose", str(tmp_path / "run"), "--json")
    assert (done.returncode, done.stdout) == (alone.returncode, alone.stdout)
    assert "rule 'too_steep' of another package failed" in done.stderr


def test_an_unused_rule_or_logger_stops_nothing(tmp_path: Path) -> None:
    points = (
        "[yolo_stability.rules]\ntoo_steep = tiny_plugin.rules:TooSteep\n"
        "[yolo_stability.loggers]\npost = tiny_plugin.loggers:Post\n"
    )
    logger = "from yolo_stability.trainer.loggers import Sink\nclass Post(Sink): ...\n"
    env = install(tmp_path, {"rules": "import nothing_of_that_name", "loggers": logger}, points)
    shutil.copytree(GOLDEN, tmp_path / "run")
    done = run(env, "diagnose", str(tmp_path / "run"), "--json")
    alone = run(os.environ, "diagnose", str(tmp_path / "run"), "--json")
    assert (done.returncode, done.stdout) == (alone.returncode, alone.stdout)
    assert "rule 'too_steep' of the package tiny-plugin 1.0 is skipped" in done.stderr
    code = (
        "from yolo_stability.trainer.monitor import _make_sinks; from yolo_stability.diagnosis.live import LiveRules;"
        "print(len(_make_sinks()), LiveRules() is not None)"
    )
    made = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert made.stdout.split()[-2:] == ["4", "True"]
    assert "sink 'post' of the package tiny-plugin 1.0 is skipped" in made.stderr


@pytest.mark.parametrize(
    ("points", "source"),
    [
        ("[yolo_stability.clips]\nhalve = tiny-plugin.clips:Halve\n", CLIP),
        (POINTS, "\u00e9 = '"),
    ],
    ids=["no module", "no Python"],
)
def test_a_damaged_package_breaks_no_other_command(
    tmp_path: Path, points: str, source: str
) -> None:
    env = install(tmp_path, {"clips": source, "rules": RULE}, points)
    shutil.copytree(GOLDEN, tmp_path / "run")
    for line in (["--help"], ["list", "interventions"], ["diagnose", str(tmp_path / "run")]):
        done = run(env, *line)
        assert done.returncode in {0, 3}, done.stderr
        assert "Traceback" not in done.stderr


def test_entry_points_that_cannot_be_read_cost_only_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Broken:
        name = "broken"

        @property
        def entry_points(self) -> object:
            raise TypeError("no equals sign")

    monkeypatch.setattr(plugins, "distributions", lambda: [Broken()])
    with pytest.warns(UserWarning, match="entry points of broken cannot be read: no equals sign"):
        assert plugins.plugin_points.__wrapped__() == {}


def test_a_class_of_this_package_keeps_its_name(tmp_path: Path) -> None:
    points = "[yolo_stability.clips]\nsame = yolo_stability.interventions.clips.norm:NormClip\n"
    env = install(tmp_path, {"clips": CLIP, "rules": RULE}, points)
    done = run(env, "train", "model=yolo26n.yaml", "data=shapes", "clip=same:10")
    assert done.returncode == 2
    assert "is already registered under another name" in done.stderr


def test_a_run_with_a_clip_of_another_package_depends_on_its_version(
    installed: dict[str, str],
) -> None:
    code = (
        "from yolo_stability.interventions.plugin_versions import plugin_versions as v;"
        "print(v({'clip': 'halve:0.5', 'norm': 'batch'}), v({'clip': 'norm:10', 'fault': None}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=installed, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "{'tiny-plugin': '1.0'} {}"
