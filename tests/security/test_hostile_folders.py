"""Untrusted run and benchmark folders: nothing leads out of them, and nothing is endless."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sample_benchmark import write_sample
from traces import record, write

from yolo_stability.benchmarks.plan import RunOutcome, RunSpec
from yolo_stability.benchmarks.suite import load_suite
from yolo_stability.cli.main import main
from yolo_stability.config import StabilitySettings
from yolo_stability.core.errors import ConfigError, StabilityError, TraceError
from yolo_stability.report.run_bins import read_series
from yolo_stability.trainer.settings.sidecar import resumed_settings

SPEC: dict[str, Any] = {
    "arm": "control",
    "task": "detect",
    "model": "yolo26n.yaml",
    "seed": 0,
    "settings": {},
    "minutes": 1.0,
    "gigabytes": 1.0,
    "zero_loss_steps": 4,
    "digest": "d",
}
DEEP = "[" * 1_000_000
Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """Run a command; it must end in time, without a traceback or terminal control characters."""

    def asked(*words: object) -> tuple[int, str, str]:
        start = time.monotonic()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert time.monotonic() - start < 60
        assert "Traceback" not in out + err
        assert "Unexpected" not in err
        assert "\x1b" not in (out + err).replace("\x1b[1;31m", "").replace("\x1b[0m", "")
        if code == 2:
            assert err.count("yolo-stability: ") == 1
        return code, out, err

    return asked


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write(
        tmp_path / "run", [record(s, (3.0, 4.0, 2.0, 12.0), loss=8.0 - 0.02 * s) for s in range(60)]
    )


# --- a plan ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"arm": "../../../victim"},
        {"arm": "/victim"},
        {"arm": "a/../../.."},
        {"arm": ""},
        {"arm": "a//b"},
        {"arm": "..\\victim"},
        {"arm": "a\0b"},
        {"arm": "a\nb"},
        {"task": ".."},
        {"task": "../x"},
        {"model": ".."},
        {"model": "/"},
        {"seed": "../../victim"},
        {"seed": None},
        {"arm": 3},
        {"settings": []},
    ],
)
def test_no_run_of_a_plan_lies_outside_its_folder(change: dict[str, Any]) -> None:
    """A run clears its own folder first: one that lay elsewhere would clear that."""
    with pytest.raises(ConfigError, match="The plan contains a run"):
        RunSpec(**{**SPEC, **change})


@pytest.mark.parametrize(
    "arm", ["control", "sgd-lr-100+clip", "stock/lr_mult-1e+03", "norm none, act tanh/lr0-0.1"]
)
def test_names_of_suites_and_frontiers_are_folders(arm: str) -> None:
    assert RunSpec(**{**SPEC, "arm": arm}).folder == Path(
        "runs", *arm.split("/"), "detect", "yolo26n", "0"
    )


def test_verify_clears_no_folder_of_the_user(tmp_path: Path, ask: Ask) -> None:
    victim = tmp_path / "victim" / "detect" / "yolo26n" / "0"
    victim.mkdir(parents=True)
    (victim / "thesis.txt").write_text("mine")
    bench = tmp_path / "bench"
    write_sample(bench, arms=("control", "huge-lr"), tasks=("detect",), seeds=(0,))
    (bench / "plan.json").write_text(
        json.dumps({"runs": [{**SPEC, "arm": f"../../../../../../{tmp_path}/victim"}]})
    )
    code, _, err = ask("verify", bench)
    assert code == 2
    assert "which is not a valid folder name" in err
    assert (victim / "thesis.txt").read_text() == "mine"


def test_a_suite_names_no_arm_outside_its_folder(tmp_path: Path) -> None:
    for arm in ("../../x", "/x", "a/../b"):
        text = f"name: tiny\ncontrol: control\narms: [control, '{arm}']\n"
        (tmp_path / "suite.yaml").write_text(text)
        with pytest.raises(ConfigError, match="unknown scenario"):
            load_suite(str(tmp_path / "suite.yaml"))
    (tmp_path / "suite.yaml").write_text("name: ../../x\ncontrol: control\narms: [control]\n")
    with pytest.raises(ConfigError, match="name: String should match pattern"):
        load_suite(str(tmp_path / "suite.yaml"))


# --- what has no end ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["header.json", "events.jsonl"])
def test_a_trace_nested_without_end(name: str, run: Path, ask: Ask) -> None:
    (run / "stability" / name).write_text(DEEP)
    assert (
        ask("diagnose", run)[0] == {"header.json": 2, "events.jsonl": 4}[name]
    )  # without events no end is known


@pytest.mark.parametrize("name", ["results.json", "plan.json", "run.json"])
def test_a_benchmark_nested_without_end(name: str, tmp_path: Path, ask: Ask) -> None:
    bench = tmp_path / "bench"
    write_sample(bench, arms=("control", "huge-lr"), tasks=("detect",), seeds=(0,))
    (bench / name).write_text(DEEP)
    if name == "results.json":
        assert ask("compare", bench)[0] == 2
    if name != "run.json":
        assert ask("verify", bench)[0] == 2
    assert RunOutcome.read(bench) is None


def test_yaml_nested_without_end_or_full_of_aliases(tmp_path: Path, ask: Ask) -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(
        f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60)
    )
    for text in (
        DEEP,
        "a: " + "{a: " * 100_000,
        bomb,
        "a: !!python/object/apply:os.system ['touch bang']\n",
        "\0",
        "",
    ):
        file = tmp_path / "suite.yaml"
        file.write_text(text)
        assert ask("benchmark", f"suite={file}", f"out={tmp_path / 'out'}")[0] == 2
        (tmp_path / "yolo_stability.yaml").write_text(text)
        with pytest.raises(StabilityError, match="is not a valid settings file"):
            resumed_settings(tmp_path, StabilitySettings())
    assert not Path("bang").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("table", ["steps", "blocks"])
def test_a_table_that_unfolds(table: str, run: Path, ask: Ask) -> None:
    """A Parquet file of some kilobytes can hold millions of equal rows."""
    (part,) = (run / "stability" / "trace").glob(f"{table}-*.parquet")
    first = pl.read_parquet(part)[:1].select("attempt", "step", "nonfinite")
    first.select(pl.all().repeat_by(3_000_000).explode()).write_parquet(part)
    assert part.stat().st_size < 30_000
    code, out, _ = ask("diagnose", run)
    assert code == 4
    assert "damaged" in out


@pytest.mark.parametrize("name", ["arm", "seed", "bin", "first_step", "block", "median"])
@pytest.mark.parametrize("value", [None, "x", [1], {"a": 1}, b"x", 1e300])
def test_a_series_of_another_kind(name: str, value: Any, tmp_path: Path) -> None:
    write_sample(tmp_path, arms=("control", "huge-lr"), tasks=("detect",), seeds=(0,))
    rows = pl.read_parquet(tmp_path / "series.parquet")
    column = pl.Series(name, [value] * rows.height)
    rows.with_columns(column).write_parquet(tmp_path / "series.parquet")
    with contextlib.suppress(TraceError):
        read_series(tmp_path / "series.parquet")


def test_a_series_that_unfolds(tmp_path: Path) -> None:
    write_sample(tmp_path, arms=("control", "huge-lr"), tasks=("detect",), seeds=(0,))
    rows = pl.read_parquet(tmp_path / "series.parquet")[:1]
    rows.select(pl.all().repeat_by(10_000_001).explode()).write_parquet(tmp_path / "series.parquet")
    with pytest.raises(TraceError, match="it contains 10,000,001 rows"):
        read_series(tmp_path / "series.parquet")


@pytest.mark.parametrize(
    "schema",
    [
        {"attempt": pl.List(pl.Int8), "step": pl.Struct({"a": pl.Int8})},
        {"attempt": pl.String, "step": pl.Binary},
        {"attempt": pl.Float64, "step": pl.Float64},
        {"attempt": pl.Int64, "step": pl.Int64, **{f"loss/{i}": pl.Float32 for i in range(2000)}},
        {"attempt": pl.Date, "step": pl.Duration},
    ],
)
@pytest.mark.parametrize("table", ["steps", "blocks"])
def test_a_table_of_another_kind(table: str, schema: Any, run: Path, ask: Ask) -> None:
    (part,) = (run / "stability" / "trace").glob(f"{table}-*.parquet")
    pl.DataFrame({name: [None, None] for name in schema}, schema=schema).write_parquet(part)
    assert ask("diagnose", run)[0] in {0, 2, 3, 4}


def test_a_part_whose_name_promises_more_than_it_holds(run: Path, ask: Ask) -> None:
    (part,) = (run / "stability" / "trace").glob("steps-*.parquet")
    shutil.copy(part, part.with_name("steps-0000000-9999999999.parquet"))
    assert ask("diagnose", run)[0] == 0


# --- links ----------------------------------------------------------------------------------------


def test_what_is_written_replaces_a_link_and_never_its_target(
    run: Path, tmp_path: Path, ask: Ask
) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    (run / "stability" / "diagnosis.json").symlink_to(precious)
    assert ask("diagnose", run)[0] == 0
    bench = tmp_path / "bench"
    write_sample(bench, arms=("control", "huge-lr"), tasks=("detect",), seeds=(0,))
    (bench / "report.html").symlink_to(precious)
    (bench / "report.md").symlink_to(precious)
    assert ask("compare", bench)[0] == 0
    assert precious.read_text() == "mine"
    assert not (bench / "report.html").is_symlink()


def test_pictures_are_not_written_through_a_link(tmp_path: Path, ask: Ask) -> None:
    elsewhere, bench = tmp_path / "elsewhere", tmp_path / "bench"
    elsewhere.mkdir()
    (elsewhere / "g1-detect-blocks.png").write_text("mine")
    write_sample(bench, arms=("control", "huge-lr"), tasks=("detect",), seeds=(0,))
    (bench / "figures").symlink_to(elsewhere)
    code, _, err = ask("compare", bench)
    assert code == 2
    assert "figures is a symbolic link" in err
    assert (elsewhere / "g1-detect-blocks.png").read_text() == "mine"


def test_pipes_and_devices_are_not_waited_for(tmp_path: Path, run: Path, ask: Ask) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes here")
    os.mkfifo(tmp_path / "last.pt")
    assert ask("diagnose", tmp_path / "last.pt")[0] == 2
    header = run / "stability" / "header.json"
    header.unlink()
    os.mkfifo(header)
    assert ask("diagnose", run)[0] == 2


# --- names ----------------------------------------------------------------------------------------

EVIL = "model.0 \x1b]0;owned\x07\x1b[2JConv\u202e\nstable: no sign of trouble\r"


def test_a_name_commands_no_terminal(tmp_path: Path, ask: Ask) -> None:
    steps = [record(s, (3.0, float("nan")), names=(EVIL, "b"), skipped="guard") for s in range(40)]
    folder = write(tmp_path / "run", steps, names=(EVIL, "b"), run_id=EVIL)
    code, out, _ = ask("diagnose", folder)
    assert code == 3
    assert "\u202e" not in out
    assert "\nstable:" not in out
    assert "\r" not in out


def test_a_name_in_an_error_commands_no_terminal(tmp_path: Path, ask: Ask) -> None:
    bench = tmp_path / "bench"
    bench.mkdir()
    (bench / "results.json").write_text(json.dumps({"schema_version": EVIL}))
    code, _, err = ask("compare", bench)
    assert code == 2
    assert "\\x1b]0;owned\\x07" in err
    assert ask("diagnose", tmp_path / EVIL)[0] == 2
    assert ask("train", f"model={EVIL}", "data=shapes")[0] == 2


def test_a_long_value_is_cut_in_an_error() -> None:
    text = str(StabilityError(f"{'x' * 10**6} is too long; write less."))
    assert len(text) < 5000
    assert text.endswith("is too long; write less.")


def test_a_report_of_hostile_names_commands_no_terminal(tmp_path: Path, ask: Ask) -> None:
    bench = tmp_path / "bench"
    write_sample(bench, arms=("control", "huge-lr"), tasks=("detect",), seeds=(0,), hostile=True)
    content = json.loads((bench / "results.json").read_text())
    content["comparisons"][0]["sentence"] = f"huge-lr {EVIL} failed."
    (bench / "results.json").write_text(json.dumps(content))
    code, out, _ = ask("compare", bench)
    assert code == 0
    assert "\\x1b[2J" in out
