"""Text form of a checkpoint audit, for a console of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from yolo_stability.core.text import clean, count, setting

if TYPE_CHECKING:
    from yolo_stability.checkpoint.audit import AuditResult
    from yolo_stability.core.findings import Finding

__all__ = ["WIDTH", "audit_lines"]

WIDTH = 80
_INDENT = "  "
_ARGS = ("task", "model", "optimizer", "lr0", "amp")
_VERDICTS = {
    "stable": "no problem was found",
    "unstable": "something looks wrong",
    "failed": "the checkpoint is damaged",
    "inconclusive": "there is not enough data to assess",
}


def audit_lines(result: AuditResult) -> list[str]:
    """Return a description of a checkpoint, the verdict, and each finding with its remedy.

    Args:
        result: Result of `audit_checkpoint`.

    Returns:
        Lines of at most 80 columns, except for a path, which is never broken.
    """
    verdict = f"{result.verdict}: {_VERDICTS[result.verdict]}"
    lines = [
        clean(result.path),
        *_wrapped(_about(result.facts), _INDENT),
        *_wrapped(f"{verdict}.", ""),
    ]
    for finding in result.findings:
        lines += ["", *_of(finding)]
    return lines


def _about(facts: Mapping[str, Any]) -> str:
    """Return a description of the file from its facts."""
    parts = [clean(facts["model_class"])] if "model_class" in facts else []
    parts.append(
        f"{count(facts.get('tensors', 0), 'tensor')}, {count(facts.get('elements', 0), 'number')}"
    )
    if facts.get("unread"):
        parts.append(f"{count(facts['unread'], 'tensor')} of unsupported kinds")
    epoch = facts.get("epoch")
    if isinstance(epoch, int):
        parts.append("after the end of its run" if epoch < 0 else f"saved in epoch {epoch + 1}")
    if "version" in facts:
        parts.append(f"Ultralytics {clean(facts['version'])}")
    if "date" in facts:
        parts.append(clean(facts["date"])[:19])
    args = facts.get("train_args")
    if isinstance(args, Mapping):
        parts += [f"{name}={setting(args[name])}" for name in _ARGS if name in args]
    return "; ".join(parts)


def _of(finding: Finding) -> Iterator[str]:
    """Yield the lines of a finding."""
    place = f" in {clean(finding.block)}" if finding.block else ""
    yield from _wrapped(f"{finding.severity}: {finding.rule}{place}", "")
    yield from _wrapped(clean(finding.message), _INDENT)
    if finding.remedy:
        yield from _wrapped(f"Try: {clean(finding.remedy)}", _INDENT)


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
