"""Runs all commands of the package in one process, each marked in the network log."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

SUITE = """
name: tiny
control: control
arms: [control, group-norm]
tasks: [detect]
seeds: 1
overrides: {imgsz: 32, batch: 4, nbs: 4, epochs: 1, fraction: [16, 4], warmup_epochs: 0}
"""
TINY = (
    *(
        "imgsz=32",
        "batch=4",
        "nbs=4",
        "epochs=1",
        "fraction=[16,4]",
        "val=False",
        "plots=False",
        "amp=False",
    ),
    *("workers=0", "device=cpu", "optimizer=SGD", "lr0=0.01"),
)


def mark(name: str) -> None:
    """Note in the log what comes now."""
    with Path(os.environ["NETWORK_LOG"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"command": name}) + "\n")


def main(folder: Path) -> None:
    """Run the commands; each has to end as it should."""
    mark("import")
    from yolo_stability.cli.main import main as run

    def go(*words: str, code: int = 0) -> None:
        mark(words[0])
        assert run(list(words)) == code, words

    model = "model=yolo26n.yaml"
    go("help")
    go("list")
    go("explain", "spike")
    go(
        "probe",
        model,
        "data=shapes",
        "imgsz=32",
        "batch=2",
        "norm=none",
        f"out={folder / 'probe'}",
        code=3,
    )
    place = f"project={folder / 'runs'}"
    go(
        "train",
        "detect",
        model,
        "data=shapes",
        *TINY,
        "optimizer=SGD",
        "lr0=0.01",
        "fault=nan_pixel@1",
        place,
        "name=a",
    )
    go("train", "detect", model, "data=shapes", *TINY, place, "name=b")
    mark("diagnose")
    assert run(["diagnose", str(folder / "runs" / "a")]) in {0, 3, 4}
    (incident,) = (folder / "runs" / "a" / "stability" / "incidents").iterdir()
    go("diagnose", str(incident))
    go("diagnose", str(folder / "runs" / "b" / "weights" / "last.pt"))
    go(
        "compare",
        str(folder / "runs" / "a"),
        str(folder / "runs" / "b"),
        f"out={folder / 'compared'}",
    )
    (folder / "tiny.yaml").write_text(SUITE)
    go("benchmark", f"suite={folder / 'tiny.yaml'}", f"out={folder / 'bench'}", "jobs=1")
    go("data", "check", "shapes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
