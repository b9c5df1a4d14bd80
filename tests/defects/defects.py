"""Forty one-line defects that a good test suite must catch, five in each of eight areas.

Each defect replaces part of one source line. The text to replace is short and occurs exactly once
in the package, so it is still found after a module was moved or its lines were re-wrapped.
`run_defects.py` seeds the defects one at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AREAS", "DEFECTS", "Defect"]

AREAS = ("guard", "rules", "trace", "digest", "rescue", "resume", "cli", "report")


@dataclass(frozen=True, slots=True)
class Defect:
    """One seeded defect.

    Attributes:
        name: Short and unique.
        area: Part of the package that it damages, one of `AREAS`.
        old: Text within one source line, unique in the package.
        new: The defective replacement.
        harm: What a user would see go wrong, in one sentence.
    """

    name: str
    area: str
    old: str
    new: str
    harm: str


DEFECTS = (
    # guard
    Defect(
        "guard-nan-gradient",
        "guard",
        "nonfinite_gradients and not self.scaler_enabled",
        "nonfinite_gradients and self.scaler_enabled",
        "A NaN gradient is applied when AMP is off, and the guard interferes with AMP calibration.",
    ),
    Defect(
        "guard-buffers-kept",
        "guard",
        "line.copy_(values)",
        "values.copy_(line)",
        "A skipped step leaves its NaN in the BatchNorm statistics.",
    ),
    Defect(
        "guard-negative-loss",
        "guard",
        "self._losses.append(abs(loss))",
        "self._losses.append(loss)",
        "With a negative loss (pose) the bound is negative, so healthy steps count as unhealthy.",
    ),
    Defect(
        "guard-limit-off-by-one",
        "guard",
        "in_a_row > self._limit",
        "in_a_row >= self._limit",
        "guard_limit=n ends the run at the n-th consecutive skip, one too early.",
    ),
    Defect(
        "guard-ema-count",
        "guard",
        "state.ema.updates = self._ema_updates",
        "self._ema_updates = state.ema.updates",
        "A rollback restores the EMA weights but not its update count, so its decay is wrong.",
    ),
    # rules
    Defect(
        "rules-exploding-late",
        "rules",
        "max(span[0] + self.lasting - 1, row)",
        "max(span[0] + self.lasting, row)",
        "An exploding gradient is reported one step later than it is known.",
    ),
    Defect(
        "rules-update-thrice",
        "rules",
        "over.cumsum() >= self.twice",
        "over.cumsum() > self.twice",
        "Two early updates larger than the weights are no longer critical; it takes three.",
    ),
    Defect(
        "rules-recovered-at-start",
        "rules",
        "run.guard[-self.recovered :]",
        "run.guard[: self.recovered]",
        "A run whose guard is still skipping at the end is reported as recovered.",
    ),
    Defect(
        "rules-vanishing-warning",
        "rules",
        "middle >= 3 * self.begin",
        "middle >= self.begin",
        "Mildly vanishing gradients at the start no longer raise a warning.",
    ),
    Defect(
        "rules-dead-in-dead-model",
        "rules",
        "(run.block_norm == 0) & (run.norm > 0)",
        "(run.block_norm == 0) & (run.norm >= 0)",
        "In a collapsed model every block is reported as dead, on top of the collapse.",
    ),
    # trace
    Defect(
        "trace-covered-part",
        "trace",
        "return part.first, -part.last",
        "return part.first, part.last",
        "After a killed merge the pieces are read next to the part that already holds their rows.",
    ),
    Defect(
        "trace-repeated-step",
        "trace",
        "record.step <= self._last_step",
        "record.step < self._last_step",
        "A step that is recorded twice is written twice, although steps never repeat.",
    ),
    Defect(
        "trace-pieces-stay",
        "trace",
        "if piece.path != merged.path",
        "if piece.path == merged.path",
        "Merged parts are not deleted, so the trace of a long run keeps growing.",
    ),
    Defect(
        "trace-torn-line",
        "trace",
        'file.read(1) == b"\\n"',
        'file.read(1) != b"\\n"',
        "The first event after a kill is appended to the torn line before it, and both are lost.",
    ),
    Defect(
        "trace-wrong-column",
        "trace",
        "[s.update_ratio for s in stats]",
        "[s.weight_norm for s in stats]",
        "The column update_ratio on disk holds the weight norm.",
    ),
    # digest
    Defect(
        "digest-steps-unsorted",
        "digest",
        "frame.sort(keys, nulls_last",
        "frame.sort(keys[:1], nulls_last",
        "Rows are sorted by attempt only: a run written in another order hashes differently.",
    ),
    Defect(
        "digest-seconds-hashed",
        "digest",
        "set(ordered.columns) - _NOT_HASHED",
        "set(ordered.columns)",
        "A repeated run never has the same digest, since wall time is hashed.",
    ),
    Defect(
        "digest-inf-is-nan",
        "digest",
        "values[np.isnan(values)]",
        "values[~np.isfinite(values)]",
        "A run with an infinite norm has the same digest as one whose norm is NaN.",
    ),
    Defect(
        "digest-null-columns",
        "digest",
        "null_count() < ordered.height",
        "null_count() <= ordered.height",
        "A column that is null throughout changes the digest, so merging parts can change it.",
    ),
    Defect(
        "digest-data-order",
        "digest",
        '"\\n".join(sorted(rows))',
        '"\\n".join(rows)',
        "The same dataset listed in another order counts as a different one.",
    ),
    # rescue
    Defect(
        "rescue-limit-off-by-one",
        "rescue",
        "tries >= self._limit",
        "tries > self._limit",
        "rescue_limit=n tries n + 1 remedies before the run is given up.",
    ),
    Defect(
        "rescue-rate-forgotten",
        "rescue",
        'self._rate *= float(data["value"])',
        'self._rate = float(data["value"])',
        "After a second lower_rate the first is forgotten, so the current rate is overestimated.",
    ),
    Defect(
        "rescue-scale-not-capped",
        "rescue",
        'min(scale, float(saved["scale"]))',
        'max(scale, float(saved["scale"]))',
        "A rollback restores the high AMP scale that a rescue had lowered.",
    ),
    Defect(
        "rescue-rewarm-falls",
        "rescue",
        "[b / a for a, b in pairwise(shares)]",
        "[a / b for a, b in pairwise(shares)]",
        "A new warm-up lowers the learning rate at each iteration instead of raising it.",
    ),
    Defect(
        "rescue-too-young-state",
        "rescue",
        "self._candidate.step <= before - _CLEAR",
        "self._candidate.step <= before",
        "A rescue rolls back to a state from the very step at which trouble showed.",
    ),
    # resume
    Defect(
        "resume-old-wins",
        "resume",
        "{**kept, **given}",
        "{**given, **kept}",
        "Settings given at a resume are overruled by those of the first session.",
    ),
    Defect(
        "resume-step-repeated",
        "resume",
        "point.step + 1 if point",
        "point.step if point",
        "A resumed run records its last step number again.",
    ),
    Defect(
        "resume-bias-rate",
        "resume",
        "self._remedies.follow(self._state, bias)",
        "self._remedies.follow(self._state, None)",
        "A resume forgets that a rescue lowered warmup_bias_lr.",
    ),
    Defect(
        "resume-killed-is-final",
        "resume",
        "return self.outcome in FINISHED",
        "return bool(self.outcome)",
        "A restarted benchmark takes a killed run for a result and does not run it again.",
    ),
    Defect(
        "resume-attempt-of-events",
        "resume",
        "attempt=max(attempt, last)",
        "attempt=last",
        "A recovery with no step after it is forgotten: the resume reuses its attempt number.",
    ),
    # cli
    Defect(
        "cli-stopped-run-ok",
        "cli",
        "return UNSTABLE if result.stopped else DONE",
        "return DONE",
        "train exits with 0 although the guard ended the run early.",
    ),
    Defect(
        "cli-lost-runs-ok",
        "cli",
        "return UNSTABLE if result.lost else DONE",
        "return DONE",
        "benchmark exits with 0 although runs were lost.",
    ),
    Defect(
        "cli-scaler-is-guard",
        "cli",
        'who == "guard" for who in skipped',
        "who is not None for who in skipped",
        "The JSON output of train counts steps skipped by the AMP scaler as guard skips.",
    ),
    Defect(
        "cli-file-beats-typed",
        "cli",
        "dict(typed) if file is None else {**cfg.load_cfg(str(file)), **typed}",
        "dict(typed) if file is None else {**typed, **cfg.load_cfg(str(file))}",
        "A key in cfg=FILE overrules the same key on the command line.",
    ),
    Defect(
        "cli-incident-code",
        "cli",
        "DONE if examined.reproduced else UNSTABLE",
        "UNSTABLE if examined.reproduced else DONE",
        "diagnose exits with 3 for a reproduced incident, and with 0 for one not reproduced.",
    ),
    # report
    Defect(
        "report-decided-runs",
        "report",
        '== cell and r.verdict != "inconclusive"',
        "== cell",
        "The failure rate is given over all runs, including inconclusive ones.",
    ),
    Defect(
        "report-wrong-column",
        "report",
        "number(run.peak_norm)",
        "number(run.fitness)",
        "The column 'Peak norm' of the run table shows the mAP.",
    ),
    Defect(
        "report-bins-overlap",
        "report",
        "(bins + 1) * width, planned) - 1",
        "(bins + 1) * width, planned)",
        "Each bin of the curves also claims the first step of the next bin.",
    ),
    Defect(
        "report-worst-seed",
        "report",
        "np.inf if pair.run.onset_step is None",
        "-1 if pair.run.onset_step is None",
        "The seed shown first is one without trouble.",
    ),
    Defect(
        "report-onset-column",
        "report",
        "(self.first <= step) & (self.last >= step)",
        "(self.first <= step) & (self.last > step)",
        "An onset on the last step of a bin is missing from the pictures and tables.",
    ),
)
