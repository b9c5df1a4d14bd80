"""Rescues in sittings: a remedy by hand is tried until one repairs, and what is known is not run again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from rescues import HANDS, Row, options, plan_of, read_rows, report, twin, wanted, write_rows  # noqa: E402

PLAN = [spec for spec in plan_of("rescue", "yolov8n.yaml", 64, 8, [1]) if spec.task == "detect"]
CAUSES = {"rate-30", "rate-100", "rate-1000", "rate-jump", "rate-jump-late"}


def row(arm: str, fitness: float, **more: Any) -> Row:
    values: dict[str, Any] = {
        "suite": "rescue",
        "arm": arm,
        "task": "detect",
        "model": "yolov8n.yaml",
        "imgsz": 64,
        "epochs": 8,
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
    assert arms([], blind=True) == {
        *expected,
        "rescue-auto",
        *(f"{cause}+rescue-random" for cause in CAUSES),
    }


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
    repaired = [r for r in known if r.arm != f"rate-30+{HANDS[1]}"] + [
        row(f"rate-30+{HANDS[1]}", 0.75)
    ]
    assert arms([r for r in repaired if r.arm != f"rate-30+{HANDS[2]}"]) == set()


def test_a_run_by_hand_that_a_rescue_was_anyway_is_not_done_again_but_where_that_is_checked() -> (
    None
):
    known = [
        row("control", 0.8),
        *(row(c, 0.8) for c in CAUSES),
        *(row(f"{c}+rescue-auto", 0.8) for c in CAUSES),
    ]
    known = [r for r in known if not r.arm.startswith("rate-jump")]
    jumps = [row("rate-jump", 0.1), row("rate-jump+rescue-auto", 0.75, remedies=("tighten_clip",))]
    jumps += [row("rate-jump-late", 0.8), row("rate-jump-late+rescue-auto", 0.8)]
    same = twin(jumps[1])
    assert same is not None
    assert (same.arm, same.same_as, same.fitness) == (
        "rate-jump+rescue-tighten-clip",
        jumps[1].arm,
        0.75,
    )
    assert arms([*known, *jumps, same]) == set()
    blind = [row("rescue-auto", 0.8), *(row(f"{c}+rescue-random", 0.1) for c in CAUSES)]
    assert arms([*known, *jumps, *blind, same], blind=True) == {"rate-jump+rescue-lower-rate"}
    checked = row("rate-jump+rescue-tighten-clip", 0.74)
    assert (
        report([*known, *jumps, checked]).splitlines()[-2].endswith(": 1, of the same fitness: 0")
    )
    assert report([*known, *jumps, same]).splitlines()[-2].endswith(": 0, of the same fitness: 0")


@pytest.mark.parametrize(
    "remedies",
    [(), ("lower_rate", "lower_rate"), ("lower_rate", "ended: learning_rate"), ("restart",)],
)
def test_a_rescue_that_did_more_is_no_run_by_hand(remedies: tuple[str, ...]) -> None:
    assert twin(row("rate-30+rescue-auto", 0.8, remedies=remedies)) is None


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
    assert "## rescue, yolov8n.yaml, imgsz 64, 8 epochs" in text
    assert "| rescue=auto | 1 of 1 | 1.00 |" in text


def test_runs_of_other_settings_are_counted() -> None:
    now = {spec.arm: spec.digest for spec in PLAN}
    rows = [
        row("control", 0.8, digest=now["control"]),
        row("rate-30", 0.1),
        row("rate-100", 0.1, same_as="rate-30"),
    ]
    assert (
        report(rows).splitlines()[-1]
        == "runs: 2, of settings or libraries that are not those of today: 1"
    )


def test_words() -> None:
    chosen = options(["out=x", "seeds=0-2,7", "random=none"])
    assert (chosen["seeds"], chosen["random"], chosen["jobs"]) == ([0, 1, 2, 7], [], 1)
    for wrong in (["out=x", "sedes=1"], ["seeds=1"]):
        with pytest.raises(SystemExit):
            options(wrong)


def test_what_has_been_measured_is_scored_without_running_anything() -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "rescues.py"), "seeds=none"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "## all" in done.stdout
