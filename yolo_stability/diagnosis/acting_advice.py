"""Advice that can act: nothing that is in force already, or that this trainer cannot do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from yolo_stability.core.findings import Finding
from yolo_stability.core.types import RunHeader
from yolo_stability.diagnosis.base import USUAL_RATE
from yolo_stability.diagnosis.usual_rates import usual_rate_text

__all__ = ["DROP_OWN_STEP", "acting", "acting_findings", "can_act", "has_own_step"]

DROP_OWN_STEP = (
    "drop the trainer's optimizer_step override and clip with clip=norm:10 (or your own limit) "
    "instead: then guard=skip can skip such a step"
)
_FORCED = ("guard", "rescue", "clip", "amp", "warmup_epochs")
_REQUESTED = ("norm", "act", "init", "residual", "depth_mult", "lr_mult")
_DEFAULTS: Mapping[str, Any] = {"act": "silu", "norm": "batch", "init": "default"}
_STEPPING = re.compile(r"\b(guard|clip|rescue)=")
_PAIR = re.compile(r"\b([a-z_]+)=([^\s,;()]+)")
_CLAUSE = re.compile(r"; (?![^(]*\))")
_CHOICE = re.compile(r", or (?![^(]*\))|, (?![^(]*\))| or (?![^(]*\))")


def acting_findings(findings: Sequence[Finding], header: RunHeader | None) -> tuple[Finding, ...]:
    """Return findings whose advice can act in the run; see `acting`."""
    return tuple(replace(f, remedy=acting(f.remedy, header)) if f.remedy else f for f in findings)


def acting(remedy: str, header: RunHeader | None) -> str:
    """Return advice without what is in force already, for the family of the model.

    Args:
        remedy: Clauses separated by semicolons, each of alternatives separated by `,` or `or`.
        header: Header of the run; None if its settings are not to be used.

    Example:
        >>> acting("clip=agc:0.01 under SGD, or a larger batch=", None)
        'clip=agc:0.01 under SGD, or a larger batch='
    """
    if header is None or not remedy:
        return remedy
    text = remedy.replace(USUAL_RATE, usual_rate_text(header))
    clauses = (_acting_clause(clause, header) for clause in _CLAUSE.split(text))
    return "; ".join(dict.fromkeys(clause for clause in clauses if clause))


def can_act(choice: str, header: RunHeader | None) -> bool:
    """Return whether settings such as `clip=agc:0.01` can change anything in a run.

    Args:
        choice: The settings.
        header: Header of the run; None if it is not to be used.
    """
    if header is None:
        return True
    refused = has_own_step(header) and bool(_STEPPING.search(choice))
    return not refused and not _in_force(choice, header)


def has_own_step(header: RunHeader) -> bool:
    """Return whether the trainer steps by itself: its guard was requested, and is not in force."""
    asked = str(header.requested.get("guard") or "off")
    return asked != "off" and header.effective.get("guard") == "off"


def _acting_clause(clause: str, header: RunHeader) -> str:
    choices = _CHOICE.split(clause)
    if has_own_step(header):
        left = [DROP_OWN_STEP if _STEPPING.search(choice) else choice for choice in choices]
    else:
        left = [choice for choice in choices if not _in_force(choice, header)]
    return clause if left == choices else ", or ".join(dict.fromkeys(left))


def _in_force(choice: str, header: RunHeader) -> bool:
    """Return whether all settings that an alternative names are those of the run."""
    pairs = [(k, v) for k, v in _PAIR.findall(choice) if k in _FORCED or k in _REQUESTED]
    return bool(pairs) and all(_same(_value(header, key), value) for key, value in pairs)


def _value(header: RunHeader, key: str) -> Any:
    source = header.effective if key in _FORCED else header.requested
    value = source.get(key)
    return _DEFAULTS.get(key) if value is None else value


def _same(value: Any, text: str) -> bool:
    """Return whether a value in force is the one that a text gives, such as `norm:10`."""
    if value is None:
        return False
    ours, theirs = str(value).lower().partition(":"), text.lower().rstrip(".").partition(":")
    return _number(ours[0]) == _number(theirs[0]) and _number(ours[2]) == _number(theirs[2])


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
