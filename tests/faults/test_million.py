"""One million steps x 25 blocks: flat memory, small files, fast reads and linear merging."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from process import HERE, environment

from yolo_stability.trace import load_trace, scan_trace

STEPS, BLOCKS, STRETCH = 1_000_000, 25, 50_000
WARM = 100_000
READ_AT = (50_000, 250_000, 600_000)


@pytest.mark.full
@pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="resident memory comes from /proc"
)
@pytest.mark.timeout(1800)
def test_a_million_steps(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(HERE / "million.py"),
        str(tmp_path),
        str(STEPS),
        str(BLOCKS),
        str(STRETCH),
    ]
    lines = []
    print(
        f"\n{'steps':>9}{'s':>8}{'RSS MB':>9}{'written MB':>12}{'merging s':>11}   (the last two "
        "per stretch)"
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as child:
        assert child.stdout is not None
        for text in child.stdout:
            line = json.loads(text)
            before = lines[-1] if lines else {"written": 0, "merging": 0.0}
            line["wrote"], line["merged"] = (
                line["written"] - before["written"],
                line["merging"] - before["merging"],
            )
            lines.append(line)
            print(
                f"{line['step']:>9}{line['seconds']:>8.0f}{line['rss']:>9.0f}"
                f"{line['wrote'] / 1e6:>12.1f}"
                f"{line['merged']:>11.2f}"
            )
            assert line["error"] is None
            if line["step"] in READ_AT:  # while it is being written
                steps = load_trace(tmp_path).steps
                assert steps.height >= line["step"] - 5 * STRETCH // 100
                assert (steps["step"].diff().drop_nulls() == 1).all()
    assert child.returncode == 0
    check_cost(lines)
    check_reading(tmp_path)


def check_cost(lines: list[dict[str, float]]) -> None:
    warm = [line for line in lines if line["step"] >= WARM]
    rss = [line["rss"] for line in warm]
    middle = (max(rss) + min(rss)) / 2
    print(
        f"resident memory after {WARM} steps: {min(rss):.0f} to {max(rss):.0f} MB "
        f"(+-{max(rss) - middle:.0f})"
    )
    assert max(rss) - middle <= 20
    half = len(warm) // 2
    for what, slack in (
        ("wrote", 1.15),
        ("merged", 1.5),
    ):  # bytes are exact; seconds are those of a busy machine
        early, late = (
            sum(line[what] for line in part) / len(part) for part in (warm[:half], warm[half:])
        )
        unit = 1e6 if what == "wrote" else 1
        print(
            f"{what} per {STRETCH} steps: {early / unit:.2f} in the first half, {late / unit:.2f} "
            "in the second"
        )
        assert late <= slack * early


def check_reading(run: Path) -> None:
    size = sum(p.stat().st_size for p in (run / "stability" / "trace").iterdir())
    parts = len(list((run / "stability" / "trace").iterdir()))
    print(f"{size / STEPS:.1f} bytes a step in {parts} parts ({size / 1e6:.0f} MB)")
    assert size <= 200 * STEPS
    began = time.monotonic()
    frame = scan_trace(run, "steps").select("step", "grad_norm").collect()
    seconds = time.monotonic() - began
    assert frame.height == STEPS
    assert frame["grad_norm"].null_count() == 0
    print(f"one metric of all steps: {seconds:.2f} s")
    assert seconds < 1.0
    import polars as pl

    began = time.monotonic()
    one = (
        scan_trace(run, "blocks")
        .filter(pl.col("block").cast(pl.String) == "model.7 C3k2")
        .select("grad_norm")
    )
    assert one.collect().height == STEPS
    print(f"one metric of one block at all steps: {time.monotonic() - began:.2f} s")
    began = time.monotonic()
    trace = load_trace(run)
    print(f"everything: {time.monotonic() - began:.2f} s")
    assert trace.steps["step"].to_list() == list(range(STEPS))
    assert trace.blocks.height == STEPS * BLOCKS
