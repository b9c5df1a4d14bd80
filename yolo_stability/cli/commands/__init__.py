"""The verbs of the command line, one module per verb."""

from __future__ import annotations

from collections.abc import Mapping

from yolo_stability.cli.commands import (
    benchmark,
    bundle,
    compare,
    data,
    diagnose,
    explain,
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
    *(train, probe, diagnose, explain, benchmark, compare, verify, bundle),
    *(frontier, mechanics, data, listing),
)
VERBS: Mapping[str, Verb] = {module.VERB.name: module.VERB for module in _ALL}
"""Verbs by name, in the order in which the help page lists them."""

_USE_YOLO = (
    "'yolo-stability' has no verb '{verb}': use 'yolo {verb} ...'. The checkpoints are standard "
    "Ultralytics files."
)
ELSEWHERE: Mapping[str, str] = {
    **{verb: _USE_YOLO.format(verb=verb) for verb in ("val", "predict", "export", "track")},
    "tune": (
        "'yolo-stability' has no verb 'tune': use model.tune(...) of Ultralytics. It starts stock "
        "training runs, which this package can neither record nor guard."
    ),
}
"""Messages for the verbs of Ultralytics that this package does not have."""
