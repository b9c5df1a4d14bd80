"""Findings about a run without a trace, with epochs and columns instead of steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from yolo_stability.core.findings import Finding
from yolo_stability.core.text import listing
from yolo_stability.diagnosis.context import DiagnosisContext

__all__ = ["in_epochs"]

_NON_FINITE = "non_finite"


def in_epochs(context: DiagnosisContext, finding: Finding) -> Finding:
    """Return a finding of a rule about steps with the epochs and the column of `results.csv`.

    Args:
        context: A run of which each step is an epoch.
        finding: A finding; one that names its epochs is returned unchanged.
    """
    first, last = finding.first_step, finding.last_step
    if first is None or finding.first_epoch is not None:
        return finding
    epoch = context.run.epoch
    finding = replace(
        finding,
        first_epoch=int(epoch[first]) + 1,
        last_epoch=int(epoch[first if last is None else last]) + 1,
    )
    broken = [
        name
        for name, values in context.epochs.values.items()
        if name.startswith("train/") and not np.isfinite(values[first])
    ]
    if finding.rule != _NON_FINITE or not broken:
        return finding
    verb = "was" if len(broken) == 1 else "were"
    text = f"{listing(broken)} {verb} not finite from epoch {finding.first_epoch} on"
    return replace(finding, column=broken[0], message=text)
