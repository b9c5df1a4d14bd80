"""What is known of the printed lines before they are run: which are left out and why, what is shortened, how they end.

Every entry is a pattern, and a test fails where one matches no line any more.
"""

from __future__ import annotations

import re

from printed import Printed

LEFT_OUT = {
    r"^make ": "belongs to a clone",
    r"^pytest ": "belongs to a clone",
    r"^python (docs|tests)/": "belongs to a clone",
    r"^(python -m )?pip (wheel|install) ": "belongs to a clone",
    r"^\. \.venv/bin/activate$": "the environment is active already",
    r"device=0,1": "needs two GPUs",
}
"""Lines that are not run."""

TINY = {"epochs": "1", "imgsz": "32", "device": "cpu", "workers": "0", "plots": "False"}
SHORTENED: dict[str, dict[str, str]] = {
    r"^yolo-stability train (?!resume )(?!.* imgsz=96 )": TINY,
    r"^yolo-stability train .* imgsz=96 .* epochs=10 ": {"epochs": "1"},
    r" fraction=0.01 ": {"fraction": "0.2"},
    r"^yolo val ": {"imgsz": "32", "device": "cpu", "workers": "0"},
    r"^yolo-stability benchmark ": {"epochs": "1", "imgsz": "32", "seeds": "1", "task": "detect"},
    r"^yolo-stability benchmark .*device=0 ": {"device": "cpu", "jobs": "2"},
    r"^yolo-stability benchmark suite=(demo|quick|faults)\b": {"arms": "control,huge-lr"},
    r"^yolo-stability benchmark suite=full (?!arms=)": {"arms": "control,no-clip"},
    r"^yolo-stability benchmark suite=rescue\b(?!-)": {
        "arms": "control,rate-100,rate-100+rescue-auto"
    },
    r"^yolo-stability benchmark suite=rescue-sgd\b": {
        "arms": "control,rate-100,rate-100+rescue-auto"
    },
    r"^yolo-stability benchmark suite=remedies\b": {"arms": "control,no-norm,no-norm+group-norm"},
    r"^yolo-stability frontier ": {"epochs": "1", "imgsz": "32", "seeds": "1"},
    r"^yolo-stability frontier axis=lr_mult": {"from": "1", "to": "10000"},
    r"^yolo-stability frontier axis=lr_mult(?!.* grid=)": {"resolution": "10000"},
    r"^yolo-stability frontier .* grid=": {"grid": "2"},
    r"^yolo-stability frontier .*device=0 ": {"device": "cpu", "workers": "0"},
    r"^yolo-stability frontier axis=batch ": {"resolution": "8"},
    r" (batch=1|arms=tiny-batch)\b": {
        "imgsz": "64"
    },  # Ultralytics refuses a batch of one image of 32 pixels
}
"""Keys that are set in a line before it is run; all patterns that match count."""

SHORTENED_PYTHON = {
    'frontier("lr_mult", seeds=3, jobs=2)': (
        'frontier("lr_mult", seeds=1, jobs=2, epochs=1, imgsz=32, start=1, end=10000, resolution=10000)'
    ),
    "epochs=3)": "epochs=1, imgsz=32, device='cpu', workers=0)",
}
"""Texts that are replaced in a block of Python."""

INTERRUPTED = {
    r"^yolo-stability train detect model=yolo26n.pt data=path/to/data.yaml epochs=100$": "train",
    r" name=coco$": "coco",
}
"""Trainings that a later line resumes, so that they are ended with Ctrl-C once there is a checkpoint."""

LEFT_BEHIND = {
    r"^runs/detect/train-2$": "a second run",
    r"^runs/detect/(stock|mine|coco-2)$": "runs of the reader's",
    r"/incidents/step-000031$": "the number of a bad step is the reader's",
    r"^runs/detect/train/stability/healthy\.pt$": "is written after more steps than a shortened run takes",
}
"""Paths that no earlier line leaves behind; copied from a run that is made for it."""

_CODES = {
    r"^yolo-stability train .* guard=off fault=nan_grad@(12,20|15|4)": {3},
    r"^yolo-stability (diagnose|train .*fail_on=)": {0, 3, 4},
    r"^yolo-stability (probe|verify|data check) ": {0, 3},
    r"^yolo-stability frontier ": {0, 4},
}


def why_left_out(line: Printed) -> str:
    """Return why a line is not run; empty where it is."""
    return (
        ""
        if line.python
        else next((why for p, why in LEFT_OUT.items() if re.search(p, line.text)), "")
    )


def to_run(line: Printed) -> str:
    """Return what is run: the text as printed, but for what is shortened."""
    text = line.text
    if line.python:
        for old, new in SHORTENED_PYTHON.items():
            text = text.replace(old, new)
        return text
    changed = {
        k: v for p, keys in SHORTENED.items() if re.search(p, line.text) for k, v in keys.items()
    }
    if interrupted(line):
        changed["epochs"] = "8"
    for key, value in changed.items():
        text, count = re.subn(rf"(?<=\s){key}=\S+", f"{key}={value}", text)
        text += "" if count else f" {key}={value}"
    return text


def interrupted(line: Printed) -> str:
    """Return the name of the run that a line trains where it is to be interrupted; empty for all other lines."""
    return (
        ""
        if line.python
        else next((name for p, name in INTERRUPTED.items() if re.search(p, line.text)), "")
    )


def codes(line: Printed) -> set[int]:
    """Return the exit codes with which a line may end."""
    if interrupted(line):
        return {130}
    return next(
        (found for p, found in _CODES.items() if not line.python and re.search(p, line.text)), {0}
    )


def may_be_left_behind(path: str) -> bool:
    """Return whether a path may be one that no earlier line leaves."""
    return any(re.search(p, path) for p in LEFT_BEHIND)


def stale(lines: list[Printed]) -> list[str]:
    """Return the entries above that concern no printed line."""
    shell, python = (
        [line.text for line in lines if not line.python],
        [line.text for line in lines if line.python],
    )
    words = [word.partition("=")[2] or word for text in shell for word in text.split()]
    words += [quoted for text in python for quoted in re.findall(r'"([^"]+)"', text)]
    patterns = [(p, shell) for table in (LEFT_OUT, SHORTENED, INTERRUPTED) for p in table]
    patterns += [(p, words) for p in LEFT_BEHIND]
    found = [
        pattern
        for pattern, texts in patterns
        if not any(re.search(pattern, text) for text in texts)
    ]
    for given in SHORTENED_PYTHON:
        found += [] if any(given in text for text in python) else [given]
    return found
