"""`diagnose` of damaged, truncated or foreign input: one sentence, and exit code 2 or 4."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from traces import record, write

from yolo_stability.api import examine
from yolo_stability.cli.main import main
from yolo_stability.guard.incidents.replay import ReplayResult

NORMS = (3.0, 4.0, 2.0, 12.0)
Ask = Callable[[Path | str], tuple[int, str, str]]
Change = Callable[[Path], Any]
OLD = "                  epoch,         train/box_loss,         train/cls_loss,                 lr/pg0\n"
NEW = "epoch,time,train/box_loss,train/cls_loss,lr/pg0\n"


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(
        tmp_path_factory.mktemp("healthy"),
        [record(s, NORMS, loss=8.0 - 0.02 * s) for s in range(60)],
    )


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """Diagnose twice, for people and as JSON, and return code, output and errors of the first."""

    def asked(path: Path | str) -> tuple[int, str, str]:
        code = main(["diagnose", str(path)])
        out, err = capsys.readouterr()
        assert main(["diagnose", str(path), "--json"]) == code
        text = capsys.readouterr().out
        assert code in {0, 2, 3, 4}
        if code == 2:
            assert (out, text) == ("", "")
            assert err.count("yolo-stability: ") == 1
            assert err.rstrip().endswith((".", "?"))
        else:
            content = json.loads(text, parse_constant=pytest.fail)
            assert {"stable": 0, "inconclusive": 4}.get(content["verdict"], 3) == code
        assert "Traceback" not in out + err
        return code, " ".join(out.split()), err

    return asked


def part(run: Path, table: str) -> Path:
    (found,) = (run / "stability" / "trace").glob(f"{table}-*.parquet")
    return found


def rewritten(table: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Change:
    return lambda run: change(pl.read_parquet(part(run, table))).write_parquet(part(run, table))


def lacking(table: str, *columns: str) -> Change:
    return rewritten(table, lambda frame: frame.drop(columns))


def cut(table: str, share: float) -> Change:
    def change(run: Path) -> None:
        content = part(run, table).read_bytes()
        part(run, table).write_bytes(content[: int(len(content) * share)])

    return change


def head(**changes: Any) -> Change:
    def change(run: Path) -> None:
        file = run / "stability" / "header.json"
        content = {**json.loads(file.read_text()), **changes}
        file.write_text(
            json.dumps({key: value for key, value in content.items() if value != "gone"})
        )

    return change


def events(text: str) -> Change:
    return lambda run: (run / "stability" / "events.jsonl").write_bytes(text.encode("latin1"))


GARBAGE = '\x00\xff{]\nno\n[1]\n{"a": 1}\n{"attempt":-1,"step":1e99,"kind":"end"}\n'
DAMAGE: dict[str, tuple[Change, int, str]] = {
    "nothing": (lambda run: None, 0, "never validated; no sign of trouble in 60 steps"),
    "steps cut": (cut("steps", 0.5), 4, "no step of the trace can be read: its files are damaged"),
    "steps empty": (cut("steps", 0), 4, "no step of the trace can be read"),
    "steps gone": (lambda run: part(run, "steps").unlink(), 4, "no step was recorded"),
    "steps of another program": (rewritten("steps", lambda f: pl.DataFrame({"a": [1]})), 4, "no step of the trace"),
    "steps are text": (rewritten("steps", lambda f: f.with_columns(step=pl.lit("x"))), 4, "no step of the trace"),
    "steps twice": (rewritten("steps", lambda f: pl.concat([f, f])), 0, "in 60 steps"),
    "blocks cut": (cut("blocks", 0.5), 4, "the norms of the blocks are missing"),
    "blocks gone": (lambda run: part(run, "blocks").unlink(), 4, "the norms of the blocks are missing"),
    "blocks are text": (rewritten("blocks", lambda f: f.with_columns(grad_norm=pl.lit("x"))), 4, "norms of the blocks"),
    "no loss": (lacking("steps", "loss"), 4, "no loss"),
    "no norm": (lacking("steps", "grad_norm"), 4, "no gradient was recorded"),
    "no column that matters": (lacking("steps", "clip_coef", "skipped", "seconds", "epoch"), 0, "stable"),
    "no update ratio": (lacking("blocks", "update_ratio", "weight_norm"), 0, "stable"),
    "no block norm": (lacking("blocks", "grad_norm"), 4, "the norms of the blocks are missing"),
    "no names": (lacking("blocks", "block"), 4, "the norms of the blocks are missing"),
    "newer schema": (head(schema_version=99), 2, "trace schema 99"),
    "no schema": (head(schema_version="gone"), 2, "no run header"),
    "no blocks in the header": (head(blocks="gone"), 2, "is damaged"),
    "no settings": (head(requested=None, effective=[1]), 2, "is damaged"),
    "header without one block": (head(blocks=[]), 0, "stable"),
    "events are garbage": (events(GARBAGE), 4, "killed after 14 epochs"),
    "events without details": (events('{"attempt":0,"step":3,"kind":"resume","data":null}\n' * 2), 4, "killed"),
    "details are a list": (events('{"attempt":0,"step":3,"kind":"oom_restart","data":[1]}\n'), 4, "a warning that decides"),
    "a folder in the way": (lambda run: (run / "stability" / "diagnosis.json").mkdir(), 0, "stable"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_run(name: str, healthy: Path, ask: Ask, tmp_path: Path) -> None:
    change, code, expected_text = DAMAGE[name]
    run = tmp_path / "run"
    shutil.copytree(healthy, run)
    change(run)
    found, out, err = ask(run)
    assert found == code, out + err
    assert expected_text in (err if code == 2 else out)


@pytest.mark.parametrize(
    "odd",
    [
        {"effective": {"groups": {"a": 3}}},
        {"effective": {"groups": [1]}},
        {"requested": {"act": ["relu"], "depth_mult": {}}},
        {"effective": {"warnings": 3}},
    ],
)
def test_a_failed_run_with_unknown_settings_is_diagnosed_from_its_trace(
    odd: dict[str, Any], ask: Ask, tmp_path: Path
) -> None:
    run = write(tmp_path, [record(s, NORMS, loss=math.nan if s > 50 else 5.0) for s in range(60)])
    expected = ask(run)[1].split("cause:")[0]
    head(**odd)(run)
    code, out, _ = ask(run)
    assert code == 3
    assert out.split("cause:")[0] == expected


TWENTY = "".join(f"{i + 1},1,5,1,0.01\n" for i in range(20))
PLAIN: dict[str, tuple[str | bytes, int, str]] = {
    "old header, spaces": (OLD + "".join(f"  {i},  {5 - 0.1 * i},  1.0, 0.01\n" for i in range(30)), 4, "30 epochs"),
    "old header, NaN": (OLD + "".join(f" {i}, {'nan' if i > 20 else 5}, 1.0, 0.01\n" for i in range(30)), 3, "epoch 22"),
    "new header": (NEW + "".join(f"{i},{i}.5,{5 - 0.1 * i},1.0,0.01\n" for i in range(30)), 4, "30 epochs"),
    "new header, Inf": (NEW + "".join(f"{i},1,{'-inf' if i > 20 else 5},1.0,0.01\n" for i in range(30)), 3, "epoch 22"),
    "byte order mark": ("\ufeff" + NEW + TWENTY, 4, "20 epochs"),
    "one epoch": (NEW + "1,1,5,1,0.01\n", 4, "1 epoch show"),
    "last row cut": (NEW + TWENTY + "21,1,4", 4, "20 epochs"),
    "epochs repeated": (NEW + TWENTY + "20,1,5,1,0.01\n" * 3, 4, "20 epochs"),
    "only a header": (NEW, 2, "no training losses"),
    "losses are text": (NEW + "1,1,x,y,z\n" * 20, 2, "no training losses"),
    "semicolons": ("epoch;train/a\n1;2\n", 2, "no training losses"),
    "bytes": (b"\xff\xfe\x00epoch\n", 2, "cannot be read"),
    "zeros": (b"epoch,train/a\n1,2\x003\n", 2, "results.csv"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_folder(name: str, ask: Ask, tmp_path: Path) -> None:
    content, code, expected_text = PLAIN[name]
    (tmp_path / "results.csv").write_bytes(
        content.encode() if isinstance(content, str) else content
    )
    found, out, err = ask(tmp_path)
    assert found == code, out + err
    assert expected_text in (err if code == 2 else out)
    if code == 3:
        assert "cause: unknown" in out  # one loss per epoch does not distinguish causes


def test_the_last_checkpoint_of_a_plain_folder_is_looked_at(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text(NEW + "1,1,5,1,0.01\n" * 20)
    (tmp_path / "weights").mkdir()
    last = tmp_path / "weights" / "last.pt"
    last.write_bytes(b"no checkpoint")
    assert ask(tmp_path)[0] == 4
    torch.save({"model": torch.full((4, 4), math.nan)}, last)
    code, out, _ = ask(tmp_path)
    assert (code, "weights/last.pt: 16 NaN or Inf" in out) == (3, True)


@pytest.mark.parametrize(
    ("name", "expected_text"),
    [
        ("empty", "is not a run with a trace"),
        ("empty/notes.txt", "is not a run folder"),
        ("bench", "is a benchmark folder: give one of the runs"),
        ("emty", "Did you mean 'empty'?"),
        ("x" * 4000, "File name too long"),
        ("a\0b", "a .pt file"),
        ("~nobody-at-all/run", "does not exist"),
        ("weights.pt", "it is empty"),
        ("no-zip.pt", "not written by torch.save"),
        ("cut.pt", "is truncated"),
    ],
)
def test_what_is_no_run(name: str, expected_text: str, ask: Ask, tmp_path: Path) -> None:
    for folder in ("empty", "bench"):
        (tmp_path / folder).mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("hello")
    (tmp_path / "bench" / "plan.json").write_text("{}")
    (tmp_path / "weights.pt").touch()
    (tmp_path / "no-zip.pt").write_bytes(b"no zip at all" * 50)
    (tmp_path / "cut.pt").write_bytes(b"PK\x03\x04" + bytes(200))
    code, _, err = ask(name if name.startswith("~") else f"{tmp_path}/{name}")
    assert code == 2
    assert expected_text in err
    assert len(err) < 600


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_a_folder_without_permission(ask: Ask, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "run").mkdir(parents=True)
    closed.chmod(0)
    try:
        assert ask(closed / "run")[0] == 2
    finally:
        closed.chmod(0o700)


# --- checkpoints ----------------------------------------------------------------------------------


def test_facts_that_are_not_finite_are_null(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = {
        "best_fitness": math.nan,
        "epoch": 3,
        "train_metrics": {"fitness": math.inf, "loss": 2.5},
    }
    torch.save({"model": torch.randn(30, 30), **facts}, tmp_path / "a.pt")
    assert main(["diagnose", str(tmp_path / "a.pt"), "--json"]) == 0
    content = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert content["facts"]["train_metrics"] == {"fitness": None, "loss": 2.5}
    assert (content["facts"]["best_fitness"], content["facts"]["epoch"]) == (None, 3)
    assert content["facts"]["elements"] == 900


@pytest.mark.parametrize(
    ("content", "code", "expected_text"),
    [
        ({"model": torch.randn(30, 30), "epoch": 3}, 0, "1 tensor, 900 numbers; saved in epoch 4"),
        ({"model": torch.zeros(30, 30)}, 3, "failed: the checkpoint is damaged."),
        ({"hello": "world"}, 4, "inconclusive: there is not enough data to assess."),
    ],
)
def test_a_checkpoint_is_shown_with_its_facts(
    content: dict[str, Any], code: int, expected_text: str, ask: Ask, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "last.pt")
    found, out, _ = ask(tmp_path / "last.pt")
    assert (found, expected_text in out) == (code, True), out
    assert out.startswith(str(tmp_path / "last.pt"))


# --- incidents ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected_text"),
    [
        ("no json", "is damaged"),
        ("[]", "is damaged"),
        ("{}", "is damaged"),
        ('{"schema_version": 9}', "incident version 9"),
        ('{"schema_version": 1}', "is damaged"),
    ],
)
def test_a_damaged_incident(text: str, expected_text: str, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "incident.json").write_text(text)
    code, _, err = ask(tmp_path)
    assert (code, expected_text in err) == (2, True)


def test_an_incident_without_its_batch_is_inconclusive(ask: Ask, tmp_path: Path) -> None:
    facts: dict[str, Any] = {"schema_version": 1, "window": [], "left_out": [], "device": "cpu"}
    facts["culprit"] = {
        "micro_batch": 0,
        "module": "model.0 Conv",
        "phase": "forward",
        "images": [],
    }
    (tmp_path / "incident.json").write_text(json.dumps(facts))
    code, out, _ = ask(tmp_path)
    assert (code, "cannot be replayed because data is missing" in out) == (4, True)


@pytest.mark.parametrize(
    ("reproduced", "kept", "expected"),
    [(True, True, True), (False, True, False), (False, False, None)],
)
def test_an_incident_reports_whether_it_was_reproduced(
    reproduced: bool,
    kept: bool,
    expected: bool | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = ReplayResult(
        reproduced=reproduced,
        culprit_module="model.0 Conv",
        phase="forward",
        image="a.jpg",
        message="so it went",
    )
    monkeypatch.setattr(
        "yolo_stability.guard.incidents.replay.replay_incident", lambda folder: shown
    )
    (tmp_path / "incident.json").write_text("{}")
    if kept:
        (tmp_path / "weights.pt").touch()
        (tmp_path / "batch-0.pt").touch()
    found = examine(tmp_path)
    assert found.reproduced is expected
    assert found.diagnosis.verdict == ("failed" if reproduced else "inconclusive")
    assert found.to_json().get("reproduced") is expected
    assert ("exclude a.jpg" in found.diagnosis.findings[0].remedy) == reproduced
