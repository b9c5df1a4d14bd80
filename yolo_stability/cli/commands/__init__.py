"""The verbs of the command line: one module each, one entry here."""

from __future__ import annotations

from collections.abc import Mapping

from yolo_stability.cli.commands import (
    benchmark,
    bundle,
    compare,
    data,
    diagnose,
    frontier,
    listing,
    mechanics,
    probe,
    train,
    verify,
)
from yolo_stability.cli.commands.verb import Verb

__all__ = ["ELSEWHERE", "VERBS", "Verb"]

_ALL = (
    *(train, probe, diagnose, benchmark, compare, verify, bundle),
    *(frontier, mechanics, data, listing),
)
VERBS: Mapping[str, Verb] = {module.VERB.name: module.VERB for module in _ALL}
"""Verbs by name, in the order in which help prints them."""

_USE_YOLO = (
    "'yolo-stability' only trains; for {verb} use 'yolo {verb} ...', the checkpoints are plain "
    "Ultralytics files."
)
ELSEWHERE: Mapping[str, str] = {
    **{verb: _USE_YOLO.format(verb=verb) for verb in ("val", "predict", "export", "track")},
    "tune": (
        "For tune use model.tune(...) of Ultralytics: its search is a loop of its own that starts stock training runs, "
        "which this package can neither watch nor guard."
    ),
}
"""Verbs of Ultralytics that are not ours, and the sentence that says what to do."""
