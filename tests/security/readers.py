"""Readers of untrusted files with corpora to mutate: `NAME -> make(folder) -> read(mutant)`.

Pickles in the corpus carry a payload: if it is ever executed, it writes the file `BANG` to the
working folder.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from epoch_tables import learning
from incident_sample import written
from mutants import as_json, of_bytes, of_value, seeded
from sample_benchmark import write_sample
from stock_folders import as_yolov5, console_log, traceback_of, write_run
from traces import header, record, write

from yolo_stability import api
from yolo_stability.benchmarks.plan import PLAN, RunOutcome, RunSpec
from yolo_stability.benchmarks.results import (
    RESULTS_FILE,
    SERIES_FILE,
    read_results,
    results_to_json,
)
from yolo_stability.benchmarks.suite import load_suite
from yolo_stability.benchmarks.verify import _specs
from yolo_stability.cli.main import main
from yolo_stability.config import StabilitySettings
from yolo_stability.core.errors import StabilityError
from yolo_stability.core.resources import resource
from yolo_stability.core.strict_yaml import load_yaml
from yolo_stability.data import import_coco
from yolo_stability.data.check.check import check_data
from yolo_stability.diagnosis.results_csv import results_series
from yolo_stability.diagnosis.targets import diagnose_run, examine_target
from yolo_stability.guard.incidents.replay import replay_incident
from yolo_stability.report.run_bins import read_series
from yolo_stability.report.write import write_report
from yolo_stability.trace import load_trace
from yolo_stability.trace.arrays import as_series
from yolo_stability.trace.serialize import event_row, header_from_json, header_to_json
from yolo_stability.trainer.settings.sidecar import resumed_settings, write_sidecar

BANG = Path("bang")
Reader = Callable[[int], object]


class Payload:
    """Makes a file when it is unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (BANG,)


# --- checkpoints and incidents --------------------------------------------------------------------


def checkpoint(folder: Path) -> Reader:
    """`diagnose last.pt`: a tenth of the mutants in the format before torch 1.6."""
    state = {"a.weight": torch.rand(4, 3), "a.bias": torch.zeros(4), "n": torch.tensor(3)}
    content = {
        "epoch": 3,
        "model": state,
        "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}},
        "x": Payload(),
    }
    files = [folder / "new.pt", folder / "old.pt"]
    for file, new in zip(files, (True, False), strict=True):
        torch.save(content, file, _use_new_zipfile_serialization=new)
    corpus = [file.read_bytes() for file in files]

    def read(number: int) -> object:
        target = folder / "mutant.pt"
        target.write_bytes(of_bytes(corpus[number % 10 == 9], number))
        return examine_target(target).lines()

    return read


def incident(folder: Path) -> Reader:
    """`diagnose INCIDENT`: its JSON, or one of its files of tensors."""
    good = written(folder / "good")
    facts = json.loads((good / "incident.json").read_text())

    def read(number: int) -> object:
        bad = folder / "step-000001"
        shutil.rmtree(bad, ignore_errors=True)
        shutil.copytree(good, bad)
        if number % 4 == 1:
            name = seeded(number).choice(["weights.pt", "batch-0.pt", "rng.pt"])
            (bad / name).write_bytes(of_bytes((bad / name).read_bytes(), number))
        elif number % 4:
            key = seeded(number).choice(
                ["model", "hits", "culprit", "window", "args", "settings", None]
            )
            changed = (
                of_value(facts, number)
                if key is None
                else {**facts, key: of_value(facts[key], number)}
            )
            (bad / "incident.json").write_bytes(as_json(changed))
        return replay_incident(bad)

    return read


# --- traces ---------------------------------------------------------------------------------------


def run_header(folder: Path) -> Reader:
    """`header.json`."""
    good = header_to_json(header())

    def read(number: int) -> object:
        value = number % 2 and as_json(of_value(json.loads(good), number))
        return header_from_json(value or of_bytes(good, number), "'header.json'")

    return read


def events(folder: Path) -> Reader:
    """A line of `events.jsonl`: an invalid one is skipped, which counts as refused here."""
    good = {
        "attempt": 0,
        "step": 3,
        "kind": "guard_skip",
        "block": "model.0 Conv",
        "data": {"reason": "loss"},
    }

    def read(number: int) -> object:
        row = event_row(
            as_json(of_value(good, number)) if number % 2 else of_bytes(as_json(good), number)
        )
        if row is None:
            raise StabilityError("It is skipped.")
        return json.loads(row["data"])

    return read


def trace(folder: Path) -> Reader:
    """`diagnose RUN`: header, events or a part of the trace."""
    good = write(
        folder / "good",
        [record(s, loss=8.0 - 0.1 * s) for s in range(40)],
        effective={"optimizer": "SGD"},
    )
    lines = [
        {"attempt": 0, "step": s, "kind": k, "data": {}}
        for s, k in enumerate(("guard_skip", "end", "resume"))
    ]
    (good / "stability" / "events.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines)
    )
    files = [p.relative_to(good) for p in sorted(good.rglob("*")) if p.is_file()]

    def read(number: int) -> object:
        bad = folder / "bad"
        shutil.rmtree(bad, ignore_errors=True)
        shutil.copytree(good, bad)
        file = bad / seeded(number).choice(files)
        content = file.read_bytes()
        if file.suffix == ".json" and number % 2:
            file.write_bytes(as_json(of_value(json.loads(content), number)))
        else:
            file.write_bytes(of_bytes(content, number))
        as_series(load_trace(bad))
        return diagnose_run(bad).lines()

    return read


def plain_run(folder: Path) -> Reader:
    """`results.csv` of a plain folder of Ultralytics."""
    rows = "epoch,time,train/box_loss,train/cls_loss,metrics/mAP50(B),lr/pg0\n"
    rows += "".join(f"{e},{e}.5,{3 / e:.4f},{2 / e:.4f},0.{e},0.01\n" for e in range(1, 9))

    def read(number: int) -> object:
        (folder / "results.csv").write_bytes(of_bytes(rows.encode(), number))
        return results_series(folder / "results.csv")

    return read


def console(folder: Path) -> Reader:
    """A console log, alone: of Ultralytics and YOLOv5, with every kind of end."""
    columns = learning(4)
    restart = ["Loss NaN/Inf detected (attempt 1/3), recovering from last.pt..."]
    corpus = [
        console_log(columns, [*restart, *traceback_of("RuntimeError: NaN persisted for 4 epochs")]),
        console_log(
            columns, traceback_of("torch.OutOfMemoryError: CUDA out of memory."), planned=9
        ),
        console_log(columns, ["^C", *traceback_of("KeyboardInterrupt")], style="8.0", planned=9),
        console_log(as_yolov5(columns), ["4 epochs completed in 0.1 hours."], style="yolov5"),
        console_log(learning(4, task="classify"), ["Killed"], planned=9),
        "a text about something else\n",
    ]

    def read(number: int) -> object:
        text = corpus[number % len(corpus)] * (1 + number % 3 // 2)
        (folder / "console.log").write_bytes(of_bytes(text.encode(), number))
        examined = examine_target(folder / "console.log")
        json.dumps(examined.to_json(), allow_nan=False)
        return examined.lines()

    return read


def stock_folder(folder: Path) -> Reader:
    """`diagnose RUN log=FILE` of a stock folder: its table, its settings, or the log."""
    run = write_run(folder / "train", learning(6), stripped=False)
    log = folder / "console.log"
    log.write_text(console_log(learning(6), ["Killed"], planned=9))
    good = {file: file.read_bytes() for file in (run / "results.csv", run / "args.yaml", log)}

    def read(number: int) -> object:
        for file, content in good.items():
            file.write_bytes(content)
        changed = list(good)[number % len(good)]
        changed.write_bytes(of_bytes(good[changed], number))
        examined = examine_target(run, log if number % 2 else None)
        json.dumps(examined.to_json(), allow_nan=False)
        return examined.lines()

    return read


# --- benchmarks and reports -----------------------------------------------------------------------


def results(folder: Path) -> Reader:
    """`results.json`."""
    good = _benchmark(folder)

    def read(number: int) -> object:
        value = as_json(of_value(good, number)) if number % 4 else of_bytes(as_json(good), number)
        (folder / RESULTS_FILE).write_bytes(value)
        return results_to_json(read_results(folder))

    return read


def report(folder: Path) -> Reader:
    """`compare BENCH`: report and figures from `results.json` and `series.parquet`."""
    good = _benchmark(folder)
    rows = (folder / SERIES_FILE).read_bytes()

    def read(number: int) -> object:
        key = seeded(number).choice(["runs", "comparisons", "arms"])
        changed = good if number % 5 == 0 else {**good, key: of_value(good[key], number)}
        (folder / RESULTS_FILE).write_bytes(as_json(changed))
        (folder / SERIES_FILE).write_bytes(rows if number % 5 else of_bytes(rows, number))
        return [len(path.read_bytes()) for path in write_report(folder)]

    return read


def series(folder: Path) -> Reader:
    """`series.parquet`."""
    _benchmark(folder)
    rows = (folder / SERIES_FILE).read_bytes()

    def read(number: int) -> object:
        (folder / SERIES_FILE).write_bytes(of_bytes(rows, number))
        return read_series(folder / SERIES_FILE)

    return read


def plan(folder: Path) -> Reader:
    """`plan.json`, as `verify` reads it: no run may be outside the folder."""
    spec = RunSpec(
        arm="control",
        task="detect",
        model="yolo26n.yaml",
        seed=0,
        settings={"lr0": 0.1},
        minutes=1.0,
        gigabytes=1.0,
        zero_loss_steps=4,
        digest="d",
    )
    good = {"schema_version": 1, "runs": [spec.to_json()]}

    def read(number: int) -> object:
        (folder / PLAN).write_bytes(
            as_json(of_value(good, number)) if number % 4 else of_bytes(as_json(good), number)
        )
        places = [(folder / one.folder).resolve() for one in _specs(folder)]
        assert all(place.is_relative_to(folder.resolve() / "runs") for place in places)
        return places

    return read


def outcome(folder: Path) -> Reader:
    """`run.json`: one that is not whole is as good as none, which counts as refused here."""
    RunOutcome(digest="d", outcome="finished", metrics={"a": 0.5}, seconds={"total": 3.0}).write(
        folder
    )
    good = json.loads((folder / "run.json").read_text())

    def read(number: int) -> object:
        value = as_json(of_value(good, number)) if number % 4 else of_bytes(as_json(good), number)
        (folder / "run.json").write_bytes(value)
        found = RunOutcome.read(folder)
        if found is None:
            raise StabilityError("It is skipped.")
        return replace(found, seconds={**found.seconds, "total": 1.0})

    return read


def _benchmark(folder: Path) -> Mapping[str, Any]:
    """Write a benchmark of two arms and return its `results.json`."""
    write_sample(folder, arms=("control", "huge-lr"), tasks=("detect",), seeds=(0,))
    content: Mapping[str, Any] = json.loads((folder / RESULTS_FILE).read_text())
    return content


# --- YAML -----------------------------------------------------------------------------------------


def settings_yaml(folder: Path) -> Reader:
    """Any YAML of settings: the scenarios that ship, mutated."""
    corpus = [file.read_bytes() for file in sorted(resource("configs", "scenarios").glob("*.yaml"))]

    def read(number: int) -> object:
        text = of_bytes(corpus[number % len(corpus)], number).decode("utf-8", "replace")
        return load_yaml(text, "x.yaml")

    return read


def suite(folder: Path) -> Reader:
    """`suite=FILE.yaml`: the suites that ship, mutated as text and as values."""
    corpus = [file.read_bytes() for file in sorted(resource("configs", "suites").glob("*.yaml"))]

    def read(number: int) -> object:
        content = corpus[number % len(corpus)]
        if number % 2:
            text = yaml.safe_dump(of_value(yaml.safe_load(content), number), allow_unicode=True)
            content = text.encode("utf-8", "replace")
        else:
            content = of_bytes(content, number)
        (folder / "suite.yaml").write_bytes(content)
        return load_suite(str(folder / "suite.yaml"))

    return read


def sidecar(folder: Path) -> Reader:
    """`yolo_stability.yaml` of a run that is resumed."""
    write_sidecar(folder, StabilitySettings(clip="norm:1", norm="none"))
    good = (folder / "yolo_stability.yaml").read_bytes()

    def read(number: int) -> object:
        (folder / "yolo_stability.yaml").write_bytes(of_bytes(good, number))
        return resumed_settings(folder, StabilitySettings())

    return read


# --- datasets -------------------------------------------------------------------------------------


def coco(folder: Path) -> Reader:
    """A folder in COCO's layout."""
    image = cv2.imencode(".png", np.full((20, 40, 3), 90, np.uint8))[1].tobytes()
    box = {"id": 1, "image_id": 7, "category_id": 1, "bbox": [4, 2, 20, 10], "iscrowd": 0}
    good = {
        "images": [{"id": 7, "file_name": "a.png", "width": 40, "height": 20}],
        "annotations": [box, {**box, "id": 2, "segmentation": [[1, 1, 9, 1, 9, 9]]}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }

    def read(number: int) -> object:
        root = folder / "set"
        shutil.rmtree(root, ignore_errors=True)
        for split in ("train2017", "val2017"):
            (root / split).mkdir(parents=True)
            (root / split / "a.png").write_bytes(image)
        (root / "annotations").mkdir()
        (root / "annotations" / "instances_val2017.json").write_bytes(as_json(good))
        value = as_json(of_value(good, number)) if number % 4 else of_bytes(as_json(good), number)
        (root / "annotations" / "instances_train2017.json").write_bytes(value)
        return import_coco(root, "detect")

    return read


def dataset(folder: Path) -> Reader:
    """`data check`: a data YAML whose download would be a script, and a label file."""
    image = cv2.imencode(".png", np.full((20, 40, 3), 90, np.uint8))[1].tobytes()
    config = (
        f"path: {folder}\ntrain: images\nval: images\nnames: [cat, dog]\n"
        f"download: open('{BANG}', 'w')\n"
    ).encode()
    rows = b"0 0.5 0.5 0.2 0.2\n1 0.25 0.25 0.5 0.1\n"
    for name in ("images", "labels"):
        (folder / name).mkdir()
    (folder / "images" / "a.png").write_bytes(image)

    def read(number: int) -> object:
        (folder / "data.yaml").write_bytes(config if number % 2 else of_bytes(config, number))
        (folder / "labels" / "a.txt").write_bytes(of_bytes(rows, number) if number % 2 else rows)
        return list(check_data(folder / "data.yaml").lines())

    return read


# --- the command line -----------------------------------------------------------------------------

WORDS = (
    *(
        "train",
        "probe",
        "diagnose",
        "explain",
        "benchmark",
        "compare",
        "verify",
        "frontier",
        "mechanics",
        "list",
        "help",
        "data",
    ),
    *(
        "detect",
        "pose",
        "check",
        "--json",
        "--help",
        "-v",
        "version",
        "resume",
        "axis=lr_mult",
        "seeds=0,1",
        "jobs=2",
    ),
    *(
        "model=yolo26n.yaml",
        "data=shapes",
        "lr0=1e-3",
        "guard=skip",
        "norm=none,batch",
        "init=gain:3",
        "=",
        "a=b=c",
    ),
    *(
        "clip=norm:1",
        "fault=nan_grad@3",
        "cfg=x.yaml",
        "model=../../x.pt",
        "data=https://x.invalid/y",
        "imgsz=[32,64]",
    ),
    *(
        "lr0=__import__('os').system('true')",
        "batch=" + "9" * 400,
        "freeze=[" + "[" * 200,
        "x" * 300,
        "\x1b[2J",
        "",
    ),
)
DOES = (
    "train_checked",
    "probe_checked",
    "benchmark",
    "compare",
    "verify",
    "frontier",
    "mechanics",
    "examine",
)


def arguments(folder: Path) -> Reader:
    """A command line; whatever would do something is stubbed out, exit code 2 counts as refused."""

    def done(*args: Any, **kwargs: Any) -> Any:
        raise StabilityError("It would be done.")

    for name in DOES:
        setattr(api, name, done)  # the test puts them back

    def read(number: int) -> object:
        draw = seeded(number)
        words = [draw.choice(WORDS) for _ in range(draw.randint(1, 6))] if number else ["help"]
        if number % 3 == 1:
            at = draw.randrange(len(words))
            words[at] = (
                of_bytes(words[at].encode(), number).decode("utf-8", "replace").replace("\0", "")
            )
        code = main(words)
        assert code in {0, 2}, (code, words)
        if code:
            raise StabilityError("It is refused.")
        return code

    return read


READERS: Mapping[str, tuple[Callable[[Path], Reader], int, int]] = {
    # name: (reader, mutants in `make test`, mutants in `make test-full`)
    "checkpoint": (checkpoint, 200, 10_000),
    "incident": (incident, 20, 300),
    "header.json": (run_header, 500, 10_000),
    "events.jsonl": (events, 500, 10_000),
    "trace": (trace, 20, 400),
    "results.csv": (plain_run, 200, 5_000),
    "console log": (console, 100, 5_000),
    "stock run": (stock_folder, 100, 5_000),
    "results.json": (results, 100, 5_000),
    "report": (report, 5, 40),
    "series.parquet": (series, 40, 500),
    "plan.json": (plan, 200, 10_000),
    "run.json": (outcome, 200, 10_000),
    "settings YAML": (settings_yaml, 100, 2_000),
    "suite YAML": (suite, 50, 500),
    "sidecar YAML": (sidecar, 100, 2_000),
    "COCO JSON": (coco, 40, 1_000),
    "data YAML and labels": (dataset, 40, 1_000),
    "command line": (arguments, 200, 5_000),
}
