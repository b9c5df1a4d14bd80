"""Command-line mistakes about benchmark folders: one sentence and exit code 2."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sample_benchmark import write_sample

import yolo_stability.api  # noqa: F401 - Ultralytics greets on stdout when it is imported for the first time
from yolo_stability.benchmarks.executors import make_executor
from yolo_stability.benchmarks.plan import RunOutcome
from yolo_stability.benchmarks.runner import run_suite
from yolo_stability.benchmarks.suite import Suite
from yolo_stability.cli.main import main
from yolo_stability.core.errors import ConfigError


def edited(**changes: object) -> Callable[[Path], None]:
    """Return a function that changes keys of `results.json`."""

    def edit(folder: Path) -> None:
        file = folder / "results.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return edit


def cut(name: str, share: float) -> Callable[[Path], None]:
    """Return a function that truncates a file to a fraction of its size."""

    def edit(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(share * len(content))])

    return edit


def plan_only(folder: Path) -> None:
    for file in ("results.json", "series.parquet"):
        (folder / file).unlink()


def spoilt(folder: Path) -> None:
    """Damage the pages of a Parquet file but not its footer."""
    content = bytearray((folder / "series.parquet").read_bytes())
    content[len(content) // 8 : len(content) // 2] = b"\xa5" * (
        len(content) // 2 - len(content) // 8
    )
    (folder / "series.parquet").write_bytes(content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Provide the folder of a complete benchmark of two arms, without its runs."""
    write_sample(tmp_path / "bench", arms=("control", "huge-lr"), tasks=("detect",), seeds=(0,))
    (tmp_path / "bench" / "plan.json").write_text(
        json.dumps({"schema_version": 1, "suite": {}, "runs": []})
    )
    return tmp_path / "bench"


def error_of(args: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line on stderr of a command that ends with code 2."""
    capsys.readouterr()
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize("verb", ["verify", "compare"])
@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (edited(schema_version=9), "has schema version 9; this version of the package reads 1"),
        (
            plan_only,
            "contains no results.json: the benchmark is not complete; run it again to resume it",
        ),
        (cut("results.json", 0.5), "results.json cannot be read"),
        (cut("results.json", 0), "results.json cannot be read"),
        (edited(runs="none"), "results.json is not a valid result"),
    ],
)
def test_a_result_that_is_not_whole(
    verb: str,
    damage: Callable[[Path], None],
    complaint: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(folder)
    assert complaint in error_of([verb, str(folder)], capsys)


@pytest.mark.parametrize("damage", [cut("series.parquet", 0.5), cut("series.parquet", 0), spoilt])
def test_series_that_are_not_whole(
    damage: Callable[[Path], None], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(folder)
    text = error_of(["compare", str(folder)], capsys)
    assert "series.parquet cannot be read" in text
    assert "Run the benchmark again to rewrite it" in text


def test_a_plan_that_is_not_whole(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "contains no run with a trace that can be repeated" in error_of(
        ["verify", str(folder)], capsys
    )
    cut("plan.json", 0.5)(folder)
    assert "plan.json cannot be read" in error_of(["verify", str(folder)], capsys)
    (folder / "plan.json").unlink()
    assert "plan.json cannot be read" in error_of(["verify", str(folder)], capsys)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("verify {} sample=0", "Invalid value sample=0: expected a whole number, 1 or more."),
        ("verify {} sample=some", "Invalid value sample=some"),
        ("verify {} smaple=1", "Did you mean 'sample'"),
        ("verify {}/nowhere", "contains no results.json"),
        ("verify", "takes the folder of one benchmark"),
        ("compare {}/nowhere", "expects two or more runs"),
        ("compare {} ot=x", "Did you mean 'out'"),
        ("compare {}/a {}/b out={}/file", "is a file; name a folder for the comparison"),
        ("compare {}/a {}/b out={}/file/below", "cannot be created"),
        (
            "benchmark suite=demo jobs=0",
            "Invalid value jobs=0: expected a whole number, 1 or more.",
        ),
        (
            "benchmark suite=demo seeds=0",
            "Invalid value seeds=0: expected a whole number, 1 or more.",
        ),
        ("benchmark suite=demo seeds=two", "Invalid value seeds=two"),
        (
            "benchmark suite=demo arms=no-nrom",
            "unknown scenario 'no-nrom'. Did you mean 'no-norm'",
        ),
        ("benchmark suite=demo arms=huge-lr,huge-lr", "'huge-lr' is listed twice"),
        ("benchmark suite=quikc", "No suite 'quikc'. Did you mean 'quick'"),
        ("benchmark siute=quick", "'benchmark' needs a suite"),
        ("benchmark suite=demo out={}/file", "is a file; name a folder for the benchmark"),
        ("benchmark suite=demo out={}/others", "contains other files (thesis.txt)"),
        ("benchmark suite=demo out={}/newer", "contains a benchmark of schema version 9"),
    ],
)
def test_a_line_that_cannot_be(
    line: str, complaint: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "file").touch()
    for name in ("a", "b"):
        (folder / name).mkdir()
    (folder / "others").mkdir()
    (folder / "others" / "thesis.txt").touch()
    (folder / "newer").mkdir()
    (folder / "newer" / "plan.json").write_text('{"schema_version": 9}')
    assert complaint in error_of(line.format(*[folder] * 3).split(), capsys)
    assert (folder / "newer" / "plan.json").read_text() == '{"schema_version": 9}'


@pytest.mark.parametrize("plan", ["", "[", "[]", '{"schema_version": 1, "suite"'])
def test_a_half_written_folder_is_gone_on_with(
    plan: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill may leave a partial plan: the next call rewrites it and runs the missing runs."""

    class Stop(Exception):
        pass

    def run(*_: object) -> RunOutcome:
        raise Stop

    (tmp_path / "plan.json").write_text(plan)
    (tmp_path / "runs").mkdir()
    monkeypatch.setattr("yolo_stability.benchmarks.executors.local.supervise", run)
    suite = Suite(name="x", control="control", arms=["control"], tasks=["detect"])
    with pytest.raises(Stop):
        run_suite(suite, tmp_path, Silent(), make_executor("local"), command="")
    assert len(json.loads((tmp_path / "plan.json").read_text())["runs"]) == 1


class Silent:
    """A listener that ignores all notifications."""

    def planned(self, specs: object, done: int) -> None: ...
    def started(self, spec: object) -> None: ...
    def ended(self, spec: object, outcome: object) -> None: ...


def test_runs_at_hand_with_unreadable_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in (("a", b"task: detect\n"), ("b", b"task: \xff\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "args.yaml").write_bytes(content)
        (tmp_path / name / "results.csv").write_text("epoch\n1\n")
    line = ["compare", str(tmp_path / "a"), str(tmp_path / "b"), f"out={tmp_path / 'out'}"]
    assert "args.yaml cannot be read" in error_of(line, capsys)
    (tmp_path / "b" / "args.yaml").write_text("task: detect\ntask: pose\n")
    assert "duplicate key 'task'; keep one." in error_of(line, capsys)


def test_a_suite_with_everything_wrong_names_all_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(
        "name: My Suite\ncontrol: control\narms: [3]\nseeds: two\ntasks: detect\n"
        "limits: {minutes: -1}\n"
    )
    text = error_of(["benchmark", f"suite={file}"], capsys)
    assert [
        path
        for path in ("name:", "arms.0:", "seeds:", "tasks:", "limits.minutes:")
        if path not in text
    ] == []


def test_the_class_of_these_errors() -> None:
    """Errors with exit code 2 on the command line are a ConfigError in Python."""
    with pytest.raises(ConfigError, match="jobs=0"):
        make_executor("local", jobs=0)
