"""The tables of a report: each column shows the value that its title names."""

from __future__ import annotations

from sample_benchmark import sample

from yolo_stability.core.text import number
from yolo_stability.report.outline import build_outline
from yolo_stability.report.tables import run_table


def test_every_column_of_the_run_table_shows_its_own_value() -> None:
    result, _ = sample(arms=("control", "skipping"), tasks=("detect",))
    table = run_table(build_outline(result, {}))
    titles = [title for title, _ in table.columns]
    shown = [dict(zip(titles, row, strict=True)) for row in table.rows]
    assert shown == [
        {
            "Run": f"{run.arm}, detect, yolo26n.yaml, seed {run.seed}",
            "Outcome": run.outcome,
            "Verdict": run.verdict,
            "Learning": run.learning.replace("_", " "),
            "Why": run.why,
            "First sign": "-" if run.onset_step is None else str(run.onset_step),
            "Steps": str(run.steps),
            "Skipped": str(run.skipped),
            "Final mAP50": number(run.fitness),
            "Peak norm": number(run.peak_norm),
            "Seconds": number(run.seconds["total"]),
            "Folder": run.folder,
        }
        for run in result.runs
    ]
    assert all(len(set(row.values())) == len(row) for row in shown[2:])  # nothing can be swapped
