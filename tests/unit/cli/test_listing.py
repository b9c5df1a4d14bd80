"""`list`: every name that other commands take, within 80 columns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from yolo_stability.cli.main import main
from yolo_stability.interventions.clips import CLIPS
from yolo_stability.interventions.faults import FAULTS
from yolo_stability.interventions.inits import INITS
from yolo_stability.interventions.norms import NORMS


@pytest.fixture
def page(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Give the lines of `list interventions`."""
    assert main(["list", "interventions"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


def test_every_intervention_is_listed_as_one_writes_it(page: list[str]) -> None:
    settings = [line.split()[0] for line in page[1:] if line[2:3].strip()]
    kinds = [
        (s.split("=")[0], s.split("=")[1].partition(":")[0].partition("@")[0]) for s in settings
    ]
    expected = {"clip": CLIPS, "norm": NORMS, "init": INITS, "fault": FAULTS}
    assert kinds == [(key, name) for key, registry in expected.items() for name in registry]
    assert page[0] == "interventions:"


def test_a_summary_is_whole_and_stands_beside_its_name(page: list[str]) -> None:
    start = next(i for i, line in enumerate(page) if "clip=agc" in line)
    column = page[start].index("Adaptive")
    assert page[start + 1][:column].strip() == ""
    text = f"{page[start][column:]} {page[start + 1][column:]}"
    assert text.startswith("Adaptive gradient clipping per unit (Brock et al. 2021")
    assert text.endswith(".")


@pytest.mark.parametrize(
    "args", [["list"], ["list", "interventions"], ["list", "interventions", "data"]]
)
def test_lines_fit_80_columns_and_end_without_blanks(
    capsys: pytest.CaptureFixture[str], args: list[str]
) -> None:
    assert main(args) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert all(line == line.rstrip() for line in lines)


def test_a_mistake_gets_the_nearest_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "intervention"]) == 2
    told = capsys.readouterr().err
    assert (
        "Did you mean 'interventions'? Choose from data, interventions, scenarios, suites, rules, "
        "executors, " in told
    )
    assert "sinks, schema." in told


def test_listing_interventions_loads_no_torch() -> None:
    code = (
        "import sys\n"
        "from yolo_stability.cli.main import main\n"
        "code = main(['list', 'interventions'])\n"
        "print(code, [m for m in ('torch', 'ultralytics') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_schemas_are_written_where_one_says(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["list", "schema", f"out={tmp_path / 'new'}"]) == 0
    written = sorted((tmp_path / "new").iterdir())
    assert [file.name for file in written] == ["scenario.json", "suite.json"]
    assert json.loads(written[1].read_text())["required"] == ["name", "control"]
    assert f"written: {written[0]}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "args", [["list", "suites", "out=x"], ["list", "schema", "ot=x"], ["list", "out=x"]]
)
def test_out_is_for_schemas_alone(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 2
    assert "but 'list schema out=FOLDER'" in capsys.readouterr().err


def test_schemas_do_not_go_where_a_file_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    assert main(["list", "schema", f"out={tmp_path / 'file'}"]) == 2
    assert "cannot be written: File exists. Name another folder." in capsys.readouterr().err
