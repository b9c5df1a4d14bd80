"""`explain`: every rule and cause in a terminal of 80 columns, all names, mistakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

import yolo_stability.compat.cfg  # noqa: F401 - its logger must not meet a captured stdout first
from yolo_stability.cli.main import main
from yolo_stability.diagnosis.cause_descriptions import CAUSE_DESCRIPTIONS
from yolo_stability.diagnosis.rules import RULES


def refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


@pytest.mark.parametrize("name", [*RULES, *CAUSE_DESCRIPTIONS])
def test_each_is_printed_within_80_columns(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["explain", name]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert max(len(line) for line in out.splitlines()) <= 80
    assert out.startswith(f"{name}, a {'rule' if name in RULES.names else 'cause'}")
    for other in (*RULES, *CAUSE_DESCRIPTIONS):
        if f"yolo-stability explain {other}\n" in out:  # what it points to exists
            assert other in CAUSE_DESCRIPTIONS


@pytest.mark.parametrize("name", ["non_finite", "dropped_images", "learning_rate"])
def test_json_is_strict(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", name, "--json"]) == 0
    content = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert content["name"] == name
    if name == "non_finite":
        curve = content["example"]["curve"]
        assert curve["values"][60:] == [None] * 36
        assert curve["fired"] == [False] * 60 + [True] * 36
        assert content["thresholds"][0].keys() == {"name", "value", "meaning"}


def test_without_a_name_all_are_listed_in_two_groups(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= 80
    heads = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert heads == ["rules:", "causes:"]
    named = [line.split()[0] for line in lines if line[:2] == "  " and line[2:3].strip()]
    assert named == [*RULES, *CAUSE_DESCRIPTIONS]
    assert main(["explain", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert {kind: [row["name"] for row in content[kind]] for kind in content} == {
        "rules": list(RULES),
        "causes": list(CAUSE_DESCRIPTIONS),
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["spikes"], "Unknown rule or cause 'spikes'. Did you mean 'spike'?"),
        (["learning-rate"], "Did you mean 'learning_rate'?"),
        (["zzz"], "Unknown rule or cause 'zzz'. 'yolo-stability explain' lists all."),
        (["spike", "noise"], "'explain' takes one name, such as explain spike"),
        (["spike", "jsn=1"], "Unknown key 'jsn'. Did you mean 'json'?"),
    ],
)
def test_a_mistake_is_one_sentence(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", *words]) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert len(err.splitlines()) == 1
    assert out == ""


def test_a_terminal_without_block_characters_gets_a_plain_chart() -> None:
    code = (
        "import sys\n"
        "from yolo_stability.cli.main import main\n"
        "code = main(['explain', 'oscillation'])\n"
        "print(code, {'torch', 'ultralytics', 'polars', 'matplotlib'} & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.isascii()
    assert "\\" not in done.stdout
    assert "|" * 10 in done.stdout
    assert done.stdout.splitlines()[-1] == "0 set()"
