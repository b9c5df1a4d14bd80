"""How cost grows: the script on small cases; a thousand runs planned, resumed and reported in linear time."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import long_run  # noqa: E402
import many_runs  # noqa: E402
import recorded_blocks  # noqa: E402
from scale import COLUMNS, cases, line, options, run  # noqa: E402

from yolo_stability.benchmarks.plan import RunOutcome  # noqa: E402


def test_many_runs_are_found_there_assessed_and_reported(tmp_path: Path) -> None:
    told = many_runs.measure(tmp_path / "bench", arms=3, seeds=2)
    assert told["runs"] == 12
    assert told["verdicts"] == {"stable": 12}
    assert min(told[part] for part in ("plan", "resume_half", "resume", "assess", "report")) > 0
    assert line("runs", told).startswith("12  3 arms  2 seeds  ")
    outcome = next((tmp_path / "bench" / "runs").rglob("run.json"))
    outcome.unlink()
    with pytest.raises(SystemExit, match="1 of 12 runs are missing"):
        many_runs.run_suite(
            many_runs.make_suite(3, 2),
            tmp_path / "bench",
            many_runs.Planned(),
            many_runs.make_executor("local"),
            command="",
        )
    assert RunOutcome.read(outcome.parent) is None


def test_made_up_runs_end_in_different_ways(tmp_path: Path) -> None:
    from yolo_stability.diagnosis.diagnose import diagnose_trace
    from yolo_stability.trace import load_trace

    verdicts = {
        ending: diagnose_trace(load_trace(many_runs.pattern(tmp_path, ending, 0))).verdict
        for ending in many_runs.ENDINGS
    }
    assert verdicts == {
        "calm": "stable",
        "spike": "stable",  # a warning decides nothing
        "skips": "stable",  # resolved by the guard
        "dies": "failed",
    }


def test_a_long_run_is_read_diagnosed_and_reported(tmp_path: Path) -> None:
    told = long_run.measure(tmp_path, 500)
    assert (told["steps"], told["verdict"]) == (500, "stable")
    assert min(told[part] for part in ("read", "diagnose", "report")) > 0
    assert line("steps", told)


def test_blocks_are_those_of_the_trace(tmp_path: Path) -> None:
    from yolo_stability import load_trace

    told = recorded_blocks.measure(tmp_path, 7, turns=2)
    assert len(load_trace(tmp_path).header.blocks) == 7
    assert told["steps"] == load_trace(tmp_path).steps.height
    assert told["dense_ms"] > 0
    assert line("blocks", told)


def test_every_case_names_a_script_and_every_column_a_key() -> None:
    for part in COLUMNS:
        for quick in (True, False):
            for script, args in cases(part, quick):
                assert (HERE / f"{script}.py").is_file()
                assert args
        source = (HERE / f"{next(iter(cases(part, True)))[0]}.py").read_text()
        assert [key for key in COLUMNS[part] if f'"{key}": ' not in source] == []


@pytest.mark.parametrize("arg", ["--fast", "parts=step", "steps=3"])
def test_a_wrong_option_of_scale_is_a_sentence(arg: str) -> None:
    with pytest.raises(
        SystemExit, match=re.escape(arg.partition("=")[2] or arg) + "|is not an option"
    ):
        options([arg])
    assert options(["parts=runs,steps", "--quick"]) == (["runs", "steps"], None, True)


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the largest resident memory comes from /proc"
)
def test_a_thousand_runs_take_ten_times_as_long_as_a_hundred(tmp_path: Path) -> None:
    """Planning, finding that nothing is missing, assessing and reporting are linear; the page stays small enough."""
    few, many = (run("many_runs", ["5", str(seeds)], tmp_path / str(seeds)) for seeds in (10, 100))
    print("\n" + "\n".join(line("runs", told) for told in (few, many)))
    assert (few["runs"], many["runs"]) == (100, 1000)
    for parts in (
        ("plan", "resume"),
        ("plan", "resume_half"),
        ("assess",),
        ("report",),
        ("plan", "resume", "assess", "report"),
    ):
        assert sum(many[p] for p in parts) < 15 * sum(few[p] for p in parts), parts
    assert many["resume"] < 5
    assert many["html_mb"] < 12
    assert many["peak_gb"] < 1.5


def test_the_table_is_printed_and_a_case_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="many_runs 0 0 ended with 1"):
        run("many_runs", ["0", "0"], tmp_path / "none")
    done = subprocess.run(
        [sys.executable, str(HERE / "scale.py"), "parts=none"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "there are steps, blocks, runs" in done.stderr
