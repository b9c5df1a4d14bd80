"""The comparison itself: it accepts right answers, and names what is wrong with others. All else would be blind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import case_types
import pytest
from answers import Answer, Mismatch, compare
from case_types import Case, Input, ask
from in_process import Ran
from makers import RUN
from own_code import MIDDLE, raising_line
from registry import CASES
from workshop import Workshop

BY_NAME = {case.name: case for case in CASES}


def diagnosis(verdict: str, *findings: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a diagnosis as `diagnose --json` prints it."""
    return {"verdict": verdict, "findings": list(findings), **fields}


def found(severity: str, **fields: Any) -> dict[str, Any]:
    """Return a finding."""
    return {"severity": severity, "rule": "validation", "column": None, "block": None, **fields}


RAISED = {"type": "AttributeError", "where": f"train.py:{raising_line(MIDDLE)}"}
DIED = {"state": "exception", "epochs_done": 2, "exception": RAISED}
NAN_17 = found("critical", column="val/box_loss", first_epoch=17)
INF_4 = found("warning", column="val/dfl_loss", first_epoch=1, last_epoch=4)
LEAP_45 = found("critical", first_step=46, observed=318.5)
CORNERS = {"split": "train", "kind": "beyond", "count": 30, "examples": ["plate003.txt:2"]}
BLOCK_9 = found("critical", rule="non_finite", block="model.9 UnitImage")
RIGHT: dict[str, dict[str, Any]] = {
    "val-nan-late": diagnosis("failed", NAN_17, learning="not_learned"),
    "val-inf-then-well": diagnosis("stable", INF_4, learning="learned"),
    "mosaic-closes-silence": diagnosis("stable", found("info"), learning="learned"),
    "callback-middle": diagnosis("inconclusive", end=DIED),
    "rate-leap": diagnosis("unstable", LEAP_45, rescued={"count": 1}),
    "own-blocks-rescue": diagnosis("failed", BLOCK_9, cause="module"),
    "own-optimizer": diagnosis("stable"),
    "few-images-start": diagnosis("inconclusive"),
    "corners": {"damaged": True, "found": [CORNERS]},
}
"""Right answers to some cases, of every kind of expectation."""
CODES = {"corners": 3}
HEAD = "a run of 10 optimizer steps\n      Epoch    GPU_mem   box_loss\n"
EVENTS = [
    {"kind": "rescue", "step": 47, "data": {"remedy": "lower_rate", "images": []}},
    {"kind": "end", "step": 59, "data": {}},
]


def answer(
    folder: Path,
    content: Mapping[str, Any],
    *,
    code: int = 0,
    printed: str = HEAD,
    events: list[dict[str, Any]] = EVENTS,
) -> Answer:
    """Return an answer about a run with events."""
    trace = folder / RUN / "stability"
    trace.mkdir(parents=True)
    (trace / "events.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in events))
    made = Ran(code=0, out="", printed=printed)
    return Answer(json=dict(content), code=code, folder=folder, made=made)


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_is_accepted(name: str, tmp_path: Path) -> None:
    compare(answer(tmp_path, RIGHT[name], code=CODES.get(name, 0)), BY_NAME[name].right)


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("val-nan-late", {"verdict": "stable"}, "expected verdict failed, got stable"),
        ("val-nan-late", {"learning": "learned"}, "expected learning not_learned, got learned"),
        ("val-nan-late", {"findings": []}, "first_epoch 17, got none"),
        ("val-nan-late", {"findings": [NAN_17 | {"first_epoch": 16}]}, "got .*first_epoch=16"),
        ("val-nan-late", {"findings": [NAN_17 | {"severity": "info"}]}, "got none"),
        ("val-nan-late", {"findings": [NAN_17 | {"column": "train/box_loss"}]}, "column val/"),
        (
            "val-inf-then-well",
            {"findings": [INF_4, found("critical")]},
            "expected no critical finding",
        ),
        ("val-inf-then-well", {"findings": [INF_4 | {"severity": "critical"}]}, "warning"),
        ("mosaic-closes-silence", {"findings": [found("warning")]}, "expected no finding"),
        ("mosaic-closes-silence", {"verdict": "unstable"}, "stable or inconclusive, got unstable"),
        ("callback-middle", {"end": None}, "expected end.state exception, got None"),
        ("callback-middle", {"end": DIED | {"epochs_done": 3}}, "epochs_done 2, got 3"),
        ("callback-middle", {"end": DIED | {"exception": None}}, "exception.type AttributeError"),
        ("callback-middle", {"end": DIED | {"exception": RAISED | {"where": "a.py:7"}}}, "a.py:7"),
        ("callback-middle", {"verdict": "failed"}, "got failed"),
        ("rate-leap", {"findings": [LEAP_45 | {"observed": 14.2}]}, "observed 288 to 352"),
        ("rate-leap", {"findings": [LEAP_45 | {"first_step": 50}]}, "first_step 45 to 48"),
        ("rate-leap", {"rescued": None}, "expected rescued.count 1 to 10, got None"),
        ("own-blocks-rescue", {"findings": [BLOCK_9, BLOCK_9 | {"block": "model.25"}]}, "another"),
        ("corners", {"damaged": False}, "expected damaged True, got False"),
        ("corners", {"found": [CORNERS | {"count": 2}]}, "count 8 to 60"),
        ("corners", {"found": [CORNERS | {"split": "val"}]}, "got none"),
        ("corners", {"found": [CORNERS | {"examples": []}]}, "plate"),
    ],
)
def test_a_wrong_answer_is_named(
    name: str, changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    content = deepcopy(RIGHT[name]) | changed
    with pytest.raises(Mismatch, match=message):
        compare(answer(tmp_path, content, code=CODES.get(name, 0)), BY_NAME[name].right)


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("corners", {"code": 0}, "expected exit code 3, got 0"),
        ("own-optimizer", {"printed": "optimizer=auto ignores lr0"}, "got optimizer=auto ignores"),
        ("few-images-start", {"printed": ""}, "got no such line"),
        ("few-images-start", {"printed": "Epoch GPU_mem\n10 steps"}, "got no such line"),
        ("rate-leap", {"events": []}, "expected a rescue in steps 45 to 51"),
        (
            "own-blocks-rescue",
            {"events": [{"kind": "rescue", "step": 9, "data": {"images": ["plate006.png"]}}]},
            "expected no image excluded, got plate006.png",
        ),
    ],
)
def test_what_was_printed_and_recorded_counts(
    name: str, changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    given = {"code": CODES.get(name, 0), **changed}
    with pytest.raises(Mismatch, match=message):
        compare(answer(tmp_path, RIGHT[name], **given), BY_NAME[name].right)


# --- only a wrong answer is a mismatch --------------------------------------------------------------------------------


def nothing(folder: Path) -> None:
    """Leave a folder empty."""


def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int, out: str) -> Answer:
    """Ask about an empty folder, with a command line that ends with a code and prints something."""
    ran = Ran(code=code, out=out, printed=out)
    monkeypatch.setattr(case_types, "run_command", lambda *words: ran)
    given = Input(name="empty", make=nothing, proof=lambda folder, made: None)
    case = Case(given=given, saw="", after="", right=(), ask=("diagnose", "."), waits_for=None)
    return ask(case, tmp_path, None)


def test_a_refusal_is_a_wrong_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(Mismatch, match="got a refusal: no such run"):
        asked(monkeypatch, tmp_path, 2, "no such run")


@pytest.mark.parametrize(
    ("code", "out", "error"),
    [
        (1, "an unexpected error", AssertionError),
        (0, "no JSON", json.JSONDecodeError),
        (0, '{"verdict": "failed"}', AssertionError),
        (3, '{"verdict": "stable"}', AssertionError),
    ],
)
def test_a_crash_is_no_answer(
    code: int,
    out: str,
    error: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with pytest.raises(error) as raised:
        asked(monkeypatch, tmp_path, code, out)
    assert not isinstance(raised.value, Mismatch)


def test_an_input_that_failed_is_not_made_again(tmp_path: Path) -> None:
    def make(folder: Path) -> None:
        raise OSError("full")

    workshop = Workshop(tmp_path)
    given = Input(name="disk", make=make, proof=lambda folder, made: None)
    with pytest.raises(OSError, match="full"):
        workshop.make(given)
    with pytest.raises(AssertionError, match="disk did not come about"):
        workshop.make(given)
