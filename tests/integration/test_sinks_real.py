"""Records of the experiment trackers after a real run, compared with the trace."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import struct
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from yolo_stability import Trace, load_trace

pytestmark = pytest.mark.trains

REPO = Path(__file__).resolve().parents[2]
TRACKERS = [name for name in ("tensorboard", "wandb", "mlflow") if importlib.util.find_spec(name)]
EPOCHS = 3  # of 4 steps each
FAULT = "nan_grad@5"
Series = dict[str, dict[int, float]]


@dataclass
class Run:
    """A finished child.

    Attributes:
        folder: Where it ran.
        trace: The trace of its run.
        said: What it printed.
    """

    folder: Path
    trace: Trace
    said: str

    def expected(self) -> Series:
        """Return what each tracker has to hold, from the trace alone."""
        series: Series = defaultdict(dict)
        skipped = 0
        for row in self.trace.steps.to_dicts():
            skipped += row["skipped"] is not None
            numbers = {
                "grad_norm_total": row["grad_norm"],
                "clip_coef": row["clip_coef"],
                "skipped_steps": skipped,
                **{key: value for key, value in row.items() if key.startswith("lr/")},
            }
            for name, value in numbers.items():
                if value is not None:
                    series[f"stability/{name}"][row["step"]] = value
        for row in self.trace.blocks.to_dicts():
            if row["grad_norm"] is not None:
                series[f"stability/grad_norm/{row['block']}"][row["step"]] = row["grad_norm"]
            if row["update_ratio"] is not None:
                ratios = series["stability/update_ratio"]
                ratios[row["step"]] = max(row["update_ratio"], ratios.get(row["step"], 0.0))
        return dict(series)

    def epochs(self) -> list[dict[str, float]]:
        """Return the rows of Ultralytics' own `results.csv`."""
        head, *rows = [
            line.split(",")
            for line in (self.folder / "run" / "results.csv").read_text().splitlines()
        ]
        names = [name.strip() for name in head]
        return [dict(zip(names, map(float, row), strict=True)) for row in rows]


def child(folder: Path, trackers: str, *pairs: str) -> Run:
    """Train in a process of its own, which does not know that tests are running."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "WANDB", "MLFLOW"))}
    env |= {
        "YOLO_CONFIG_DIR": str(folder / "config"),
        "PYTHONPATH": os.pathsep.join(
            [str(REPO), str(Path(__file__).parent), env.get("PYTHONPATH", "")]
        ),
        "WANDB_MODE": "offline",
        **mlflow_store(folder),
        "OMP_NUM_THREADS": "1",
    }
    font = Path(os.environ["YOLO_CONFIG_DIR"], "Ultralytics", "Arial.ttf")
    (folder / "config" / "Ultralytics").mkdir(parents=True)
    (folder / "config" / "Ultralytics" / font.name).write_bytes(font.read_bytes())
    done = subprocess.run(
        [
            sys.executable,
            str(Path(__file__).parent / "sinks_child.py"),
            str(folder),
            trackers,
            *pairs,
        ],
        capture_output=True,
        text=True,
        cwd=folder,
        env=env,
        check=False,
        timeout=400,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return Run(folder, load_trace(folder / "run"), said)


def mlflow_store(folder: Path) -> dict[str, str]:
    """Return the environment for a file store; a database needs half a minute of migrations."""
    uri = (folder / "mlruns").as_uri()
    return {
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Give a run with every tracker that is installed, one of whose steps the guard left out."""
    return child(tmp_path_factory.mktemp("sinks"), ",".join(TRACKERS), "every=1", f"fault={FAULT}")


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        name not in TRACKERS, reason=f"{name} is not installed: pip install {name}"
    )


def same(found: Series, expected: Series) -> None:
    """Hold what a tracker says against the trace, which stores float32."""
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert list(found[name]) == list(values), name
        assert list(found[name].values()) == pytest.approx(
            list(values.values()), rel=1e-6, nan_ok=True
        ), name


@needs("tensorboard")
def test_tensorboard_holds_every_step(run: Run) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    files = list(run.folder.rglob("*tfevents*"))
    assert len(files) == 1
    log = EventAccumulator(str(files[0]), size_guidance={"scalars": 0, "tensors": 0})
    log.Reload()
    tags = log.Tags()["scalars"]
    found = {
        tag: {e.step: e.value for e in log.Scalars(tag)}
        for tag in tags
        if tag.startswith("stability/")
    }
    same(found, run.expected())
    own = {e.step: e.value for e in log.Scalars("train/box_loss")}
    assert own == pytest.approx(
        {i + 1: row["train/box_loss"] for i, row in enumerate(run.epochs())}, rel=1e-4
    )
    texts = log.Tensors("stability/events/text_summary")
    told(run, [(e.step, e.tensor_proto.string_val[0].decode()) for e in texts])


@dataclass
class WandbLog:
    """What is in the file of a W&B run.

    Attributes:
        rows: Rows of the history, each with W&B's own step as `_number`.
        exits: Exit codes with which the run was finished.
        alerts: Texts of alerts.
        axes: Name of the x axis by name of the metrics.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    exits: list[int] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)
    axes: dict[str, str] = field(default_factory=dict)


def wandb_log(folder: Path) -> WandbLog:
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = folder.rglob("*.wandb")
    log = WandbLog()
    for data in wandb_records(file.read_bytes()):
        record = Record.FromString(data)
        if record.HasField("history"):
            items = {
                item.key or item.nested_key[0]: json.loads(item.value_json)
                for item in record.history.item
            }
            log.rows.append({**items, "_number": record.history.step.num})
        elif record.HasField("exit"):
            log.exits.append(record.exit.exit_code)
        elif record.HasField("alert"):
            log.alerts.append(record.alert.text)
        elif record.HasField("metric"):
            log.axes[record.metric.glob_name or record.metric.name] = record.metric.step_metric
    return log


@needs("wandb")
def test_wandb_holds_every_step(run: Run) -> None:
    log = wandb_log(run.folder)
    assert log.axes["stability/*"] == "stability/step"
    found: Series = defaultdict(dict)
    for row in log.rows:
        for name in row.keys() - {"stability/step", "stability/event"}:
            if name.startswith("stability/"):
                found[name][row["stability/step"]] = float(row[name])
    same(found, run.expected())
    told(
        run,
        [
            (row["stability/step"], row["stability/event"])
            for row in log.rows
            if "stability/event" in row
        ],
    )
    assert log.alerts == []  # a skipped step is no emergency


@needs("wandb")
def test_wandb_epochs_are_undisturbed(run: Run) -> None:
    log = wandb_log(run.folder)
    assert log.exits == [0]
    numbers = [row["_number"] for row in log.rows]
    assert numbers == sorted(set(numbers))
    own = [
        row for row in log.rows if "train/box_loss" in row
    ]  # losses, rates and metrics of an epoch in one row
    assert [row["epoch"] for row in own] == [1, 2, 3]
    for row, line in zip(own, run.epochs(), strict=True):
        for name in ("train/box_loss", "lr/pg0", "metrics/mAP50(B)"):
            assert row[name] == pytest.approx(line[name], rel=1e-4, abs=1e-5)
        assert not any(name.startswith("stability/") for name in row)


@needs("mlflow")
def test_mlflow_holds_every_step(run: Run) -> None:
    # in a process of its own: a client keeps its store open
    code = """if True:
        import json, mlflow, sys
        client = mlflow.MlflowClient()
        experiments = [e.experiment_id for e in client.search_experiments()]
        runs = [run for name in experiments for run in client.search_runs([name])]
        id = runs[0].info.run_id
        history = {
            k: [(m.step, m.value) for m in client.get_metric_history(id, k)]
            for k in runs[0].data.metrics
        }
        events = runs[0].info.artifact_uri + "/stability/events.txt"
        print(json.dumps({
            "status": [r.info.status for r in runs], "history": history, "tags": runs[0].data.tags,
            "events": mlflow.artifacts.load_text(events),
        }))
    """
    env = {**os.environ, **mlflow_store(run.folder)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=run.folder,
        env=env,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout.splitlines()[-1])
    assert read["status"] == ["FINISHED"]
    found = {name: dict(sorted(map(tuple, rows))) for name, rows in read["history"].items()}
    same({n: v for n, v in found.items() if n.startswith("stability/")}, run.expected())
    own = {row["epoch"] - 1: row["train/box_loss"] for row in run.epochs()}
    assert found["train/box_loss"] == pytest.approx(own, rel=1e-4)
    lines = [line.removeprefix("step ").split(": ", 1) for line in read["events"].splitlines()]
    told(run, [(int(step), text) for step, text in lines])
    assert read["tags"]["stability.non_finite"].startswith("step 5: warning non_finite: ")


def told(run: Run, notes: list[tuple[int, str]]) -> None:
    """Check that findings and the skipped step are there in words."""
    events = run.trace.events.filter(
        run.trace.events["kind"].is_in(["finding", "guard_skip", "notice"])
    )
    while_open = [row for row in events.to_dicts() if row["step"] < 4 * EPOCHS]
    assert [step for step, _ in notes] == [row["step"] for row in while_open]
    assert any(
        text.startswith("update skipped, gradients not finite in ")
        for step, text in notes
        if step == 5
    )
    findings = [json.loads(row["data"]) for row in while_open if row["kind"] == "finding"]
    assert findings
    for finding in findings:
        assert any(finding["message"] in text and finding["rule"] in text for _, text in notes)


def test_the_trace_is_whole_and_nothing_was_thinned_or_failed(run: Run) -> None:
    assert run.trace.steps["step"].to_list() == list(range(4 * EPOCHS))
    assert "failed and is disabled" not in run.said
    assert "logging every step to" not in run.said
    assert math.isnan(run.trace.steps["grad_norm"][5])


def wandb_records(content: bytes) -> Iterator[bytes]:
    """Yield the records of a W&B file: LevelDB's log format after a header of seven bytes."""
    block, whole, at = 32768, b"", 7
    assert content[:4] == b":W&B"
    while at + 7 <= len(content):
        if block - at % block < 7:
            at += block - at % block
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in {1, 4}:  # whole, or the last part
            yield whole
            whole = b""
