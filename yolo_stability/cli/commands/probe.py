"""`probe`: one batch forward and backward, before any training; settings side by side."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolo_stability.cli import parser as arguments
from yolo_stability.cli import show
from yolo_stability.cli.commands.verb import Verb
from yolo_stability.cli.exit_codes import DONE, UNSTABLE
from yolo_stability.cli.output import stdout_to_stderr
from yolo_stability.config import OWN_KEYS
from yolo_stability.core.errors import ConfigError, nearest

__all__ = ["VERB"]

OUT = "runs/probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What a `probe` line asks for."""

    task: str | None
    model: str
    data: str
    grid: tuple[dict[str, Any], ...]
    overrides: dict[str, Any]
    out: Path
    json: bool


def run(args: Sequence[str]) -> int:
    """Probe every setting of the grid and show them side by side.

    Args:
        args: What the user typed, without the verb.

    Returns:
        Exit code: 0 when gradients flow well in every setting, 3 when they vanish or explode in one.

    Raises:
        ConfigError: If a word, key, value or model cannot be used.
        DataError: If the dataset cannot be used.
    """
    with stdout_to_stderr():
        request = _read(args)
        from yolo_stability.api import draw_probes, probe_grid

        _check_folder(request.out)
        results = probe_grid(
            model=request.model,
            data=request.data,
            task=request.task,
            grid=request.grid,
            **request.overrides,
        )
        picture = draw_probes(results, request.out)
    if request.json:
        print(
            json.dumps(
                {"picture": str(picture), "settings": [result.to_json() for result in results]}
            )
        )
    else:
        show.show_probes(results, picture)
    return DONE if all(result.verdict == "healthy" for result in results) else UNSTABLE


def _read(args: Sequence[str]) -> _Request:
    """Read and check the line."""
    from yolo_stability.compat import cfg as yolo

    words, typed, as_json = arguments.read_with_json(args)
    file = typed.pop("cfg", None)
    given = typed if file is None else {**yolo.load_cfg(str(file)), **typed}
    as_json |= arguments.is_true("json", given.pop("json", False))  # of a cfg file
    task = _task(words, given.pop("task", None))
    out = Path(str(given.pop("out", OUT)))
    axes = {key: _values(key, given.pop(key)) for key in OWN_KEYS if key in given}
    yolo.check_keys(given, (*OWN_KEYS, "out", "json"))
    model = given.pop("model", None)
    if model is None:
        model = yolo.default_model(task).replace(".pt", ".yaml")
        print(f"model= is not given: taking {model}, with new weights.", file=sys.stderr)
    data = given.pop("data", None)
    if data is None or isinstance(data, list):
        raise ConfigError(
            "data= takes one dataset, such as data=shapes (embedded, nothing to download)."
        )
    return _Request(
        task=task,
        model=str(model),
        data=str(data),
        grid=_grid(axes),
        overrides=yolo.check_values(given),
        out=out,
        json=as_json,
    )


def _task(words: Sequence[str], key: Any) -> str | None:
    """Return the one task that was named, as a word or as `task=`."""
    for word in words:
        if word not in arguments.KNOWN_TASKS:
            known = (*arguments.KNOWN_TASKS, "json", *OWN_KEYS)
            raise ConfigError(
                f"Unknown word '{word}'.{nearest(word, known)} A task or key=value was expected."
            )
    named = list(dict.fromkeys([*words, *([] if key is None else [str(key)])]))
    if len(named) > 1:
        raise ConfigError(f"Two tasks, {' and '.join(named)}; give one.")
    if named and named[0] not in arguments.KNOWN_TASKS:
        raise ConfigError(f"Unknown task '{named[0]}'.{nearest(named[0], arguments.KNOWN_TASKS)}")
    return named[0] if named else None


def _values(key: str, typed: Any) -> list[Any]:
    """Split the values of one of our keys at commas, each read as if it stood alone."""
    if isinstance(typed, list | tuple):
        return list(typed)
    if not isinstance(typed, str) or "," not in typed:
        return [typed]
    pieces = [piece.strip() for piece in typed.split(",")]
    if not all(pieces):
        raise ConfigError(
            f"'{key}={typed}' has an empty place between its commas; write {key}=A,B."
        )
    return [arguments.read([f"{key}={piece}"])[1][key] for piece in pieces]


def _grid(axes: Mapping[str, Sequence[Any]]) -> tuple[dict[str, Any], ...]:
    """Return every combination of the values, the last key changing fastest, each once."""
    grid: list[dict[str, Any]] = []
    for values in itertools.product(*axes.values()):
        setting = dict(zip(axes, values, strict=True))
        if setting not in grid:
            grid.append(setting)
    return tuple(grid)


def _check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be made, before anything takes time; make none yet, for the probe may fail."""
    try:
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        if there.is_dir() and os.access(there, os.W_OK):
            return
        why = f"{there} is {'not writable' if there.is_dir() else 'no folder'}"
    except (OSError, ValueError):  # an overlong name, a NUL
        why = "no file can have this name"
    raise ConfigError(f"out={folder} cannot be made a folder: {why}. Name another one.")


VERB = Verb(
    name="probe",
    usage="[TASK] model= data= [key=value,value ...] [out=] [--json]",
    summary="gradient flow along the depth on one batch, untrained",
    run=run,
    examples=(
        "yolo-stability probe model=yolo26n.yaml data=shapes norm=none",
        "yolo-stability probe data=shapes norm=batch,none init=default,kaiming",
        "yolo-stability probe pose data=figures act=silu,relu,sigmoid --json",
    ),
    details="""\
  Builds the model with the switches norm=, init=, act=, residual= and
  depth_mult=, passes one batch forward and backward (imgsz=160 batch=8 mosaic=0
  seed=0 unless given; any key of Ultralytics is taken) and trains nothing.
  Several values with commas make a grid, every setting side by side.

  The verdict is judged against the stock profile of the same model on the same
  batch, never by a constant. gain: how often the gradient at the outputs of the
  head is found at the output of the first block. signal: deviation of the block
  output that departs most from stock's. Exploding or vanishing: a gain 100
  times, or a signal 10 times, larger or smaller than stock's, or NaN and Inf.

  A table is printed; probe.png goes to out= (default runs/probe). Exit code 0:
  healthy everywhere; 3: vanishing or exploding in at least one setting.
""",
)
