"""The verb `frontier`: what it hands on, what it prints, and its exit codes."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import pytest
from fake_runs import FakeExecutor, Truth, below, find

import yolo_stability
from yolo_stability import api
from yolo_stability.benchmarks.plan import RunOutcome
from yolo_stability.cli.main import main
from yolo_stability.studies.frontier.figure import write_frontier_picture
from yolo_stability.studies.frontier.result import FrontierResult


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """Replace the API's function by one that searches among made-up runs; give the list of its
    calls."""
    seen: list[dict[str, Any]] = []
    truths: dict[str, Truth] = {"edge": below(40.0), "none": below(0.0), "all": below(1e9)}

    def frontier(axis: str, *, out: str, **asked: Any) -> FrontierResult:
        print("progress")
        seen.append({"axis": axis, "out": out, **asked})
        executor = FakeExecutor()
        executor.outcome = "killed" if out == "lost" else "finished"
        truth = truths.get(out, lambda value, clip, seed: "crashed")
        return find(tmp_path / out, truth, executor, resolution=4.0)

    monkeypatch.setattr(api, "frontier", frontier)
    return seen


@pytest.mark.parametrize(
    ("out", "code"), [("edge", 0), ("none", 4), ("all", 4), ("unknown", 4), ("lost", 3)]
)
def test_exit_codes(
    calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], out: str, code: int
) -> None:
    assert main(["frontier", "axis=lr_mult", f"out={out}"]) == code
    said, err = capsys.readouterr()
    assert said.startswith(
        "lr_mult from 1 to 1000: yolo26n on shapes, 1 seed, bisection\n- the recipe: "
    )
    assert "progress" not in said
    assert "progress" in err


def test_words_and_keys_reach_the_api(calls: list[dict[str, Any]]) -> None:
    line = (
        "frontier pose lr_mult from=0.1 to=1e3 clip=norm:10,none seeds=[3,4] classes=[0,1] out=edge"
    )
    main(line.split(" "))
    assert calls == [
        {
            "axis": "lr_mult", "out": "edge", "task": "pose", "start": 0.1, "end": 1000.0,
            "clip": "norm:10,none", "seeds": [3, 4], "classes": [0, 1],
        }
    ]  # fmt: skip


def test_json_is_all_there_is_on_stdout(
    calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["frontier", "axis=lr_mult", "out=edge", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["edges"][0]["status"] == "found"
    assert content["cost"]["runs"] == len(content["points"])


def test_the_function_is_public_and_no_module_hides_it() -> None:
    import_module("yolo_stability.cli.commands.frontier")
    import_module("yolo_stability.studies.frontier.run")
    assert "frontier" in yolo_stability.__all__
    assert callable(yolo_stability.frontier)


def test_the_picture_is_drawn_from_the_result(tmp_path: Path) -> None:
    result = find(tmp_path / "out", below(40.0), clip="norm:10,none", seeds=3)
    image = cv2.imread(str(write_frontier_picture(result)))
    assert image is not None
    assert image.shape[0] > 200


def test_an_interrupt_says_what_is_kept_and_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(request: Any, out: Path, *args: Any, **more: Any) -> FrontierResult:
        for value, outcome in enumerate(("finished", "crashed", "killed")):  # the last is run again
            RunOutcome(digest="d", outcome=outcome).write(out / "recipe" / f"lr_mult-{value}")
        (out / "recipe" / "half").mkdir()
        (out / "recipe" / "half" / "run.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr("yolo_stability.studies.frontier.run.find_edges", interrupted)
    monkeypatch.chdir(tmp_path)
    assert main(["frontier", "axis=lr_mult", "out=there"]) == 130
    err = capsys.readouterr().err
    assert "2 finished runs are kept in there. Repeat the command to resume." in err
    assert "yolo-stability: Interrupted." in err
