"""Rescues in sittings: a remedy by hand is tried until one repairs, and what is known is not run again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from rescues import HANDS, Row, options, plan_of, read_rows, report, wanted, write_rows  # noqa: E402

PLAN = [spec for spec in plan_of("rescue", "yolov8n.yaml", 64, [1]) if spec.task == "detect"]
CAUSES = {"rate-30", "rate-100", "rate-1000", "rate-jump", "rate-jump-late"}


def row(arm: str, fitness: float, **more: Any) -> Row:
    values: dict[str, Any] = {
        "suite": "rescue",
        "arm": arm,
        "task": "detect",
        "model": "yolov8n.yaml",
        "imgsz": 64,
        "seed": 1,
        "digest": "d",
        "outcome": "finished",
        "fitness": fitness,
        "steps": 10.0,
        "trace": "t",
        "remedies": (),
    }
    return Row(**{**values, **more})


def arms(rows: list[Row], *, blind: bool = False) -> set[str]:
    return {spec.arm for spec in wanted(PLAN, {r.key: r for r in rows}, blind=blind)}


def test_first_come_the_failing_runs_and_their_rescues() -> None:
    expected = {"control", *CAUSES, *(f"{cause}+rescue-auto" for cause in CAUSES)}
    assert arms([]) == expected
    assert arms([], blind=True) == {*expected, "rescue-auto", *(f"{cause}+rescue-random" for cause in CAUSES)}


def test_then_remedies_by_hand_where_a_run_failed_until_one_repairs() -> None:
    known = [
        row("control", 0.8),
        *(row(cause, 0.8) for cause in CAUSES),
        *(row(f"{c}+rescue-auto", 0.8) for c in CAUSES),
    ]
    assert arms(known) == set()
    known = [r for r in known if r.arm != "rate-30"] + [row("rate-30", 0.1)]
    for hand in HANDS:
        assert arms(known) == {f"rate-30+{hand}"}
        known.append(row(f"rate-30+{hand}", 0.1))
    assert arms(known) == set()
    repaired = [r for r in known if r.arm != f"rate-30+{HANDS[1]}"] + [row(f"rate-30+{HANDS[1]}", 0.75)]
    assert arms([r for r in repaired if r.arm != f"rate-30+{HANDS[2]}"]) == set()


def test_rows_come_back_and_are_scored(tmp_path: Path) -> None:
    known = [
        row("control", 0.8),
        row("rate-30", 0.1, remedies=("lower_rate",)),
        row("rate-30+rescue-auto", 0.79),
        row("rate-30+rescue-lower-rate", 0.78),
    ]
    file = tmp_path / "rows.jsonl"
    write_rows(file, known[::-1])
    assert sorted(read_rows(file), key=str) == sorted(known, key=str)
    assert read_rows(tmp_path / "none.jsonl") == []
    text = report(known)
    assert "## rescue, yolov8n.yaml, imgsz 64" in text
    assert "| rescue=auto | 1 of 1 | 1.00 |" in text


def test_words() -> None:
    chosen = options(["out=x", "seeds=0-2,7", "random=none"])
    assert (chosen["seeds"], chosen["random"], chosen["jobs"]) == ([0, 1, 2, 7], [], 1)
    for wrong in (["out=x", "sedes=1"], ["seeds=1"]):
        with pytest.raises(SystemExit):
            options(wrong)


def test_what_has_been_measured_is_scored_without_running_anything() -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "rescues.py"), "seeds=none"], capture_output=True, text=True, check=True
    )
    assert "## all" in done.stdout
