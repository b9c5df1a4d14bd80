"""Report of a run with a million steps x 25 blocks, with little memory and a small page."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from process import HERE, environment

sys.path.insert(0, str(HERE.parent))

from traces import write_long

STEPS, BLOCKS = 1_000_000, 25
SPIKE = 123_456


@pytest.mark.full
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the largest resident memory comes from /proc"
)
@pytest.mark.timeout(900)
def test_a_million_steps_become_a_report(tmp_path: Path) -> None:
    totals = write_long(tmp_path / "run", STEPS, BLOCKS, spike=SPIKE)
    done = subprocess.run(
        [sys.executable, str(HERE / "million_report.py"), str(tmp_path)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    told = json.loads(done.stdout)
    print(f"\n{told}")
    assert told["steps"] == STEPS
    assert told["peak_norm"] == pytest.approx(totals[SPIKE], rel=1e-6)
    assert told["median_norm"] == pytest.approx(float(np.median(totals)), rel=1e-6)
    assert told["gigabytes"] < 1.5
    assert told["html"] < 12e6
    assert told["cpu"] < 60  # 15 s on a quiet machine
    assert told["assess"] + told["render"] < 600
