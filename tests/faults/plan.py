"""Number of repetitions of each fault, used by the tests and compared with the table in the docs.

Standard library only, so that the contract test can read it at no cost.
"""

from __future__ import annotations

import random

__all__ = [
    "CASES",
    "COMPACTION_KILLS",
    "KILL_MOMENTS",
    "REPORT_KILLS",
    "SEED",
    "SUITE_KILLS",
    "TRIED",
    "moments_in_training",
]

SEED = 20_261
# Phase, how often, its Nth beginning at most, and the seconds after it within which to kill.
KILL_MOMENTS = (
    ("step", 16, 39, 0.1),
    ("checkpoint", 9, 9, 0.12),
    ("flush", 6, 5, 0.03),
    ("merge", 6, 16, 0.02),
    ("healthy", 4, 2, 0.03),
    ("final", 5, 1, 0.1),
    ("close", 2, 1, 0.05),
    ("header", 2, 1, 0.02),
)
TRAINING_KILLS = sum(times for _, times, _, _ in KILL_MOMENTS)
COMPACTION_KILLS = 100
SUITE_KILLS = 10
REPORT_KILLS = 40
KILLS = TRAINING_KILLS + COMPACTION_KILLS + SUITE_KILLS + REPORT_KILLS

STRIKES_A_PLACE = 3  # NaN, Inf, -Inf
NETS = {
    "skip": 19,
    "rollback": 14,
    "harmless": 2,
    "shown": 1,
}  # places by what catches a NaN there; see places.py
PLACES = sum(NETS.values())
CHECKPOINT_PLACES = 7
CLOCKS = ("an hour back", "ten years back", "a day ahead", "stands still", "jumps at every look")
SLOW = ("slow", "slower than the steps", "does not answer")
SINK_CALLS = ("open", "write", "event", "end_epoch", "close")
DATA_CHANGES = (
    *("image deleted", "image garbage", "image cut short", "image of another size", "image empty"),
    *("label deleted", "label garbage", "label cache deleted", "folder gone"),
)
BAD_LABELS = ("nan", "inf", "-inf")

CASES = {
    "Ctrl-C or SIGTERM, once and more often": (10, "test_signals.py::"),
    "disk full": (3, "test_full_disk.py::"),
    "read-only folder": (4, "test_locked.py::test_read_only_"),
    "permission lost": (3, "test_locked.py::test_(no_permission|permission_lost)_"),
    "sink hanging": (2, "test_bad_sinks.py::test_a_sink_that_hangs_"),
    "out of memory while training": (4, "test_out_of_memory.py::test_(in_the_first_epoch|later)_"),
    "out of memory in a worker of a suite": (3, "test_out_of_memory.py::test_workers_"),
}
"""Repetitions that are separate test cases: their number and the prefix of their names."""

TRIED = {
    **{fault: count for fault, (count, _) in CASES.items()},
    "kill -9 while training": TRAINING_KILLS,
    "kill -9 while the trace is compacted": COMPACTION_KILLS,
    "kill -9 of a suite": SUITE_KILLS,
    "kill -9 while a report is written": REPORT_KILLS,
    "clock wrong": len(CLOCKS),
    "slow disk": len(SLOW),
    "sink raising": len(SINK_CALLS),
    "NaN or Inf in a training": PLACES * STRIKES_A_PLACE,
    "NaN or Inf in a checkpoint that is resumed": CHECKPOINT_PLACES * 2,
    "NaN or Inf in a label file": len(BAD_LABELS),
    "dataset changed during a run": len(DATA_CHANGES),
}
"""Times tried by fault, as the rows of docs/pages/measured/faults.md are called."""


def moments_in_training() -> list[str]:
    """Return the moments to kill a training at, shuffled."""
    rng = random.Random(SEED)
    moments = [
        f"{phase}:{rng.randint(1, nth)}:{rng.uniform(0, span):.4f}"
        for phase, times, nth, span in KILL_MOMENTS
        for _ in range(times)
    ]
    rng.shuffle(moments)
    return moments
