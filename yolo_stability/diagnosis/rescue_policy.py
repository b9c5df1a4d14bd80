"""Decides how to rescue a run: the live rules say what is wrong, the cause says what may help, one after another.

A remedy is tried on the last healthy state. If trouble comes back the next one is, and after `limit` of them the run
ends. What is built into the model (no normalisation, a saturating activation, too much depth) no rescue can mend
while it trains: such a run ends at once, with advice. A bad initialisation may begin again once.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

import numpy as np

from yolo_stability.core.actions import Action, Ending
from yolo_stability.core.findings import Finding
from yolo_stability.core.types import BlockSpec, CauseName, Event, RunHeader, StepRecord
from yolo_stability.diagnosis.causes import rank_causes
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.live import LiveRules
from yolo_stability.diagnosis.rolling import ratio_of
from yolo_stability.diagnosis.rules import RULES
from yolo_stability.trace.arrays import median_of

__all__ = ["PLANS", "Rescuer"]

_EVERY = 8
_SKIPS = 3  # steps in a row that the guard left out: the batch alone is no longer to blame
_OWN = "recoveries"  # what was done before is no sign of what is wrong now
_SINCE_EVER = {"noise"}  # norms that waver over 48 steps do not say when trouble began
_BLAMED = 2  # incidents that name the same image before it is left out
# rates that are used, and above which they hardly ever are
_ADAM, _SGD = (0.005, 0.02), (0.01, 0.1)
_LEAP = 3.0
_TENTH = 0.1

PLANS: Mapping[CauseName, tuple[str, ...]] = {
    "learning_rate": ("lower_rate", "tighten_clip", "lower_rate"),
    "batch_noise": ("lower_rate", "tighten_clip", "lower_rate"),
    "data": ("quarantine", "tighten_clip", "lower_rate"),
    "numeric_range": ("lower_scale", "tighten_clip", "lower_rate"),
    "initialisation": ("restart", "lower_rate", "tighten_clip"),
    "unknown": ("lower_rate", "tighten_clip", "lower_rate"),
}
"""Remedies by cause, in the order in which they are tried; a cause that is not here is built into the model."""

SGD_PLAN = ("tighten_clip", "lower_rate", "lower_rate")
"""The same for a rate out of SGD's family, up to `_BEARABLE`: adaptive clipping bears it, and learns faster."""

_BEARABLE = 2.0

_ADVICE: Mapping[CauseName, str] = {
    "normalisation": "no remedy helps a running model without normalisation: begin again with norm=batch or "
    "norm=group, or at least with init=lsuv",
    "activation": "no remedy helps a running model whose activation saturates: begin again with act=silu or act=relu",
    "depth": "no remedy helps a running model that is too deep for its gradients: begin again with residual=true and "
    "depth_mult=1",
    "initialisation": "begin again with init=default",
}


class Rescuer(LiveRules):
    """The rules during a run, and what to do about what they find.

    Args:
        mode: `auto` chooses by cause; `random` chooses blindly among the same remedies, for comparison; the name of a
            remedy takes that one always.
        limit: Remedies before the run is given up.
    """

    def __init__(self, mode: str = "auto", limit: int = 3) -> None:
        super().__init__(every=_EVERY)
        self._mode, self._limit = mode, limit
        self._done: list[str] = []
        self._rate = 1.0
        self._clip: str | None = None
        self._in_a_row = self._helped = 0
        self._blamed: Counter[str] = Counter()
        self._mixed = False
        self._left_out: set[str] = set()
        self._trouble = False

    def open(self, blocks: Sequence[BlockSpec], header: RunHeader | None = None) -> None:
        """Begin a run, or a further sitting of one; what was done in earlier ones comes as events."""
        super().open(blocks, header)
        self._in_a_row, self._trouble = 0, False

    def event(self, event: Event) -> None:
        """Take note of an event: of images that are blamed, and of what a rescue has done."""
        super().event(event)
        if event.kind == "incident" and event.data.get("reproduced"):
            names = [PurePath(str(name)) for name in event.data.get("images") or ()]
            self._mixed |= bool(event.data.get("mixed"))
            if not event.data.get("mixed"):  # of a mosaic only one file is named
                # some tasks do not name their files
                self._blamed.update(name.name for name in names if name.suffix)
        elif event.kind == "rescued":
            self._helped = len(self._done)
        elif event.kind == "rescue":
            self._take_note(event.data)

    def _take_note(self, data: Mapping[str, Any]) -> None:
        """Remember what a remedy has changed."""
        remedy = str(data["remedy"])
        self._done.append(remedy)
        self._left_out |= set(data.get("images") or ())
        if remedy == "lower_rate":
            self._rate *= float(data["value"])
        elif remedy == "tighten_clip":
            self._clip = str(data["value"])
        elif remedy == "restart" and self._header:  # what was asked for no longer holds
            self._header = replace(
                self._header, requested={**self._header.requested, "init": "default"}
            )

    def observe(self, record: StepRecord) -> tuple[Finding, ...]:
        """Take a step; return what has newly been found."""
        self._in_a_row = self._in_a_row + 1 if record.skipped == "guard" else 0
        new = super().observe(record)
        self._trouble |= self._in_a_row >= _SKIPS
        return new

    def ask(self) -> tuple[Finding, ...]:
        """Ask the rules now; return what has newly been found."""
        new = super().ask()
        self._trouble |= any(self._is_trouble(f) for f in new)
        return new

    def _is_trouble(self, finding: Finding) -> bool:
        return (finding.severity == "critical" and finding.rule != _OWN) or self._confirmed(finding)

    def _confirmed(self, finding: Finding) -> bool:
        """Return whether the settings say what a warning only suspects: updates too long, and a rate out of its family.

        Under AdamW a rate thirty times too high never blows up; the run merely learns half as much.
        """
        return finding.rule == "update_ratio" and self._present_rate() > self._family[1]

    def undone(self, restored: int) -> None:
        """Forget what was undone: the steps since a state, and what was found in them."""
        super().undone(restored)
        self._in_a_row, self._trouble = 0, False

    def decide(self) -> Action | Ending | None:
        """Return what to do now; None while nothing is to be done. Call it after each step."""
        suspects = self._suspects() if self._possible("quarantine") else ()
        if self._mode in {"auto", "quarantine"} and suspects and not self._trouble:
            why = f"{', '.join(suspects)} made {_BLAMED} steps fail"
            return Action(
                remedy="quarantine", cause="data", why=why, images=suspects, roll_back=False
            )
        if not self._trouble or self.context is None:
            return None
        self._trouble = False
        if self._mode == "quarantine" and not self._possible("quarantine"):
            return None  # its culprit may still show
        findings = [
            f
            for f in self.found
            if f.severity != "info" and RULES[f.rule].unsettles and f.rule != _OWN
        ]
        causes = rank_causes(self.context, [f for f in findings if f.first_step is not None])
        cause: CauseName = causes[0].name if causes else "unknown"
        why = (
            findings[0].message
            if findings
            else f"the guard left out {self._in_a_row} steps in a row"
        )
        return self._next(cause, why, findings)

    def _next(self, cause: CauseName, why: str, findings: Sequence[Finding]) -> Action | Ending:
        """Return the next remedy, or the end."""
        if self._mode == "auto" and cause not in PLANS:
            return Ending(cause=cause, why=why, advice=_ADVICE[cause])
        tries = len([name for name in self._done if name != "quarantine" or self._mode != "auto"])
        remedy = None if tries >= self._limit else self._choose(cause)
        if remedy is None:
            vain = self._done[self._helped :]
            tried = f"{', '.join(vain)} did not help; " if vain else ""
            instead = next(
                (f.remedy for f in findings if f.remedy), "begin again with a lower learning rate"
            )
            return Ending(cause=cause, why=why, advice=f"{tried}{_ADVICE.get(cause, instead)}")
        if self._mixed and remedy != "quarantine" and "quarantine" in PLANS.get(cause, ()):
            why = f"{why.rstrip('.')}; no image is left out, for each was mixed from several files (mosaic, mixup)"
        value = self._value(remedy)
        images = tuple(sorted(set(self._blamed) - self._left_out)) if remedy == "quarantine" else ()
        dated = [
            f.first_step for f in findings if f.first_step is not None and f.rule not in _SINCE_EVER
        ]
        onset = min(dated, default=None)
        if self._present_rate() > self._family[1]:
            onset = None  # too high from the start: the older the state, the better
        return Action(remedy=remedy, cause=cause, why=why, value=value, images=images, onset=onset)

    def _choose(self, cause: CauseName) -> str | None:
        """Return the remedy that comes next; None if none is left."""
        if self._mode == "random":
            names = [
                name
                for name in ("lower_rate", "tighten_clip", "rewarm", "lower_scale")
                if self._possible(name)
            ]
            run = f"{self._header.config_digest}/{self._header.seed}" if self._header else ""
            # a run again is the same again
            return random.Random(f"{run}/{len(self._done)}").choice(names)
        if self._mode != "auto":
            return self._mode if self._possible(self._mode) else None
        bearable = (
            not is_adaptive(self._optimizer) and self._family[1] < self._present_rate() <= _BEARABLE
        )
        left = list(SGD_PLAN if cause == "learning_rate" and bearable else PLANS[cause])
        for name in self._done:
            if name in left:
                left.remove(name)
        return next((name for name in left if self._possible(name)), None)

    def _possible(self, remedy: str) -> bool:
        """Return whether a remedy can do anything in this run."""
        if remedy == "quarantine":
            alone = self._effective.get("batch") == 1  # nothing would be left of such a batch
            return bool(set(self._blamed) - self._left_out) and not alone
        if remedy == "lower_scale":
            return bool(self._effective.get("amp"))
        if remedy == "restart":
            init = str((self._header.requested if self._header else {}).get("init") or "default")
            model = str(self._effective.get("model") or "")
            pretrained = isinstance(
                (self._header.requested if self._header else {}).get("pretrained"), str
            )
            # loaded weights would be lost
            fresh = model.endswith((".yaml", ".yml")) and not pretrained
            return "restart" not in self._done and init != "default" and fresh
        return True

    def _suspects(self) -> tuple[str, ...]:
        """Return the images that were blamed often enough, and are not left out yet."""
        return tuple(
            sorted(n for n, k in self._blamed.items() if k >= _BLAMED and n not in self._left_out)
        )

    def _value(self, remedy: str) -> str | None:
        """Return how strong a remedy shall be."""
        assert self.context is not None
        if remedy == "lower_rate":
            return f"{lower_rate_by(self.context, self._present_rate(), self._family):.3g}"
        if remedy == "tighten_clip":
            now = self._clip or str(self._effective.get("clip") or "none")
            return tighter_clip(self.context, now, adaptive=is_adaptive(self._optimizer))
        return {"rewarm": "64", "lower_scale": "0.0625"}.get(remedy)

    def _present_rate(self) -> float:
        """Return the learning rate of the slowest group, before the schedule, as it is now; MuSGD boosts its head."""
        rates = [
            float(group.get("lr", 0.0)) for group in (self._effective.get("groups") or {}).values()
        ]
        return self._rate * min(rates, default=0.0)

    @property
    def _optimizer(self) -> str:
        return str(self._effective.get("optimizer") or "")

    @property
    def _family(self) -> tuple[float, float]:
        """The rate at which such an optimizer is used, and above which it is hardly ever."""
        return _ADAM if "adam" in self._optimizer.lower() else _SGD

    @property
    def _effective(self) -> Mapping[str, Any]:
        return self._header.effective if self._header else {}


def is_adaptive(optimizer: str) -> bool:
    """Return whether an optimizer divides each gradient by its own size: clipping then hardly reaches the weights."""
    return any(part in optimizer.lower() for part in ("adam", "rmsprop", "musgd"))


def lower_rate_by(context: DiagnosisContext, rate: float, family: tuple[float, float]) -> float:
    """Return the factor for the learning rate: back to where it was, to what its family is used at, or a tenth.

    Args:
        context: The run, whose own column tells whether the rate has leapt.
        rate: The learning rate that is in force, before the schedule.
        family: The rate at which the optimizer is used, and above which it is hardly ever.
    """
    lr = context.run.lr[np.isfinite(context.run.lr)]
    if lr.size > 2 * _EVERY or (lr.size > 1 and not context.begins):  # a warm-up leaps, too
        recent = lr[-2 * _EVERY :]
        leap = float(np.nanmax(ratio_of(recent[1:], recent[:-1])))
        if leap > _LEAP:
            return 1 / leap
    if rate > family[1]:
        return min(_TENTH, family[0] / rate)
    return _TENTH


def tighter_clip(context: DiagnosisContext, now: str, *, adaptive: bool) -> str:
    """Return a clip that is tighter than the one in force, and measured by the run's own healthy norms.

    Under SGD that is adaptive gradient clipping, which holds each unit's gradient against its own weights; under
    Adam's kin a bound on the total norm, for only what is out of line with the steps before reaches the weights. A
    clip of the same kind becomes tighter by a factor of 3.

    Args:
        context: The run.
        now: The clip in force, such as `norm:10`.
        adaptive: The optimizer is of Adam's kin.
    """
    kind, _, text = now.partition(":")
    bound = float(text) if text else float("inf")
    if kind == "agc":
        return f"agc:{min(0.01, bound / 3):.3g}"
    if not adaptive and not (kind == "norm" and bound < 1):
        return "agc:0.01"
    norm, usual = context.run.norm, context.usual_norm
    with np.errstate(invalid="ignore"):
        healthy = norm[np.isfinite(norm) & ~(norm > 5 * usual)]
    own = min(float(median_of(healthy)) if healthy.size else 10.0, 10.0) / 10
    return f"norm:{max(min(own, bound / 3 if kind == 'norm' else own), 1e-4):.3g}"
