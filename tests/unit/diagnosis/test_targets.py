"""What `diagnose` makes of run folders, plain ones, checkpoints, and of what is none of these."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from traces import record, write

from yolo_stability.core.errors import TraceError
from yolo_stability.core.findings import Cause, Diagnosis, Finding
from yolo_stability.diagnosis.store import DIAGNOSIS_FILE, diagnosis_to_json
from yolo_stability.diagnosis.targets import diagnose_run, examine_target, kind_of
from yolo_stability.display.diagnosis_text import verdict_lines
from yolo_stability.trace import load_trace

NORMS = (3.0, 4.0, 2.0, 12.0)


def plain_folder(folder: Path, losses: list[float | str]) -> Path:
    """A run folder of stock Ultralytics, as far as it matters."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["epoch,time,train/box_loss,train/cls_loss,metrics/mAP50(B),lr/pg0"]
    rows += [f"{i + 1},{i}.5,{loss},1.0,0.1,0.01" for i, loss in enumerate(losses)]
    (folder / "results.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_a_run_of_ours_gets_its_diagnosis_file(tmp_path: Path) -> None:
    records = [record(s, NORMS if s < 40 else (math.nan,) * 4, loss=5.0) for s in range(60)]
    found = diagnose_run(write(tmp_path, records))
    assert found.verdict == "failed"
    assert [f.rule for f in found.findings if f.severity == "critical"] == ["non_finite"]
    content = json.loads(
        (tmp_path / "stability" / DIAGNOSIS_FILE).read_text(), parse_constant=pytest.fail
    )
    assert content["schema_version"] == 2
    assert content["verdict"] == "failed"
    assert content["findings"][0]["first_step"] == 40
    assert content == diagnosis_to_json(found)
    assert diagnose_run(tmp_path / "stability") == found
    assert load_trace(tmp_path).steps.height == 60


def test_a_stock_folder_is_diagnosed_from_its_losses(tmp_path: Path) -> None:
    calm = diagnose_run(plain_folder(tmp_path / "calm", [5 - 0.1 * i for i in range(30)]))
    assert calm.verdict == "inconclusive"
    assert "no gradient was recorded" in calm.why
    broken = diagnose_run(plain_folder(tmp_path / "nan", [5.0] * 20 + ["nan"] * 10))
    assert broken.verdict == "failed"
    assert (broken.findings[0].first_step, broken.findings[0].first_epoch) == (20, 21)
    assert broken.findings[0].column == "train/box_loss"
    assert "results.csv" in broken.why
    risen = diagnose_run(plain_folder(tmp_path / "risen", [5.0] * 20 + [5e4] * 20))
    assert (risen.verdict, risen.findings[0].rule) == ("failed", "divergence")


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "\x00\x01", "epoch,train/box_loss\n"])
def test_a_table_without_losses_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.csv").write_text(text)
    with pytest.raises(TraceError, match=r"results\.csv"):
        diagnose_run(tmp_path)


def test_kinds(tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("")
    incident = tmp_path / "step-000003"
    incident.mkdir()
    (incident / "incident.json").write_text("{}")
    assert kind_of(tmp_path / "last.pt") == "checkpoint"
    assert kind_of(incident) == "incident"
    assert kind_of(tmp_path) == "run"
    with pytest.raises(TraceError, match="does not exist"):
        kind_of(tmp_path / "nothing")
    assert kind_of(tmp_path / "notes.txt") == "log"
    with pytest.raises(
        TraceError, match=r"is not a run folder, .* holds no output of an Ultralyti"
    ):
        examine_target(tmp_path / "notes.txt")


def test_a_diagnosis_shows_itself() -> None:
    finding = Finding(
        rule="spike",
        severity="warning",
        message="a <b>step</b> stood out " + "x " * 60,
        block="model.0 <script>",
        first_step=3,
        last_step=9,
        remedy="clip=norm:10",
    )
    causes = (
        Cause(name="data", score=0.8, evidence="one batch"),
        Cause(name="depth", score=0.15, evidence="it is deep"),
        Cause(name="unknown", score=0.05, evidence="the rest"),
    )
    found = Diagnosis(
        run_id="r",
        verdict="unstable",
        why="a step",
        cause="data",
        causes=causes,
        findings=(finding,),
    )
    lines = found.lines(80)
    assert lines[:3] == [
        "unstable: a step",
        "cause: data (80 %), one batch",
        "next : depth (15 %), it is deep",
    ]
    alone = replace(found, causes=(causes[0], causes[2]))
    assert alone.lines(80)[2].startswith("warning spike")  # what stays open is no cause
    assert "Next" not in alone._repr_html_()
    assert lines[3] == "warning spike, steps 3-9, model.0 <script>"
    assert max(map(len, lines)) <= 80
    html = found._repr_html_()
    assert "<script>" not in html
    assert "&lt;b&gt;step" in html
    assert "clip=norm:10" in html
    assert Finding(rule="r", severity="info", message="m").lines() == ["info r", "  m"]


LONG = Diagnosis(
    run_id="r",
    verdict="failed",
    why="the loss was not finite " + "again " * 40,
    cause="learning_rate",
    causes=(Cause(name="learning_rate", score=0.9, evidence="updates were long " * 9),),
)


def test_the_end_of_a_run_is_printed_in_80_columns() -> None:
    lines = [line.plain for line in verdict_lines(LONG, "runs/" + "deep/" * 30, 80)]
    *reported, more = lines
    assert max(map(len, reported)) <= 80
    assert reported[0].startswith("failed: the loss was not finite")
    assert any(
        line.startswith("cause:   learning_rate, since updates were long") for line in reported
    )
    assert more == "more:    yolo-stability diagnose runs/" + "deep/" * 30
    calm = Diagnosis(run_id="r", verdict="stable", why="no sign of trouble")
    assert [line.plain for line in verdict_lines(calm, "runs", 80)] == [
        "stable: no sign of trouble"
    ]
    unknown = replace(LONG, cause="unknown", causes=())
    assert not any(line.plain.startswith("cause") for line in verdict_lines(unknown, "runs", 80))


def test_a_notebook_shows_it_without_colours_of_its_own() -> None:
    """A fixed color is invisible on the dark or on the light theme."""
    finding = Finding(
        rule="spike",
        severity="warning",
        message="m",
        first_step=3,
        last_step=9,
        remedy="clip=norm:10",
    )
    html = replace(LONG, findings=(finding,))._repr_html_()
    assert re.findall(r"(?:background|color)[^;\"']*", html) == ["color:inherit"]
    assert "learning_rate (90% of the evidence): updates were long" in html
    assert html.count("<tr>") == 2
    assert "3&#8209;9" in html
    assert "To try: clip=norm:10" in html
    assert "<table" not in LONG._repr_html_()
