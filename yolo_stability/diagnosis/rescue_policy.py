"""Rescue policy: live rules detect trouble, and the diagnosed cause selects the remedies.

A remedy is tried on the last healthy state. If trouble recurs the next one is tried, and after
`limit` remedies the run ends. Structural causes (no normalization, a saturating activation, too
much depth), a module that computes NaN, a failing validation and wrong settings cannot be fixed
during training: such a run ends at once, with advice. A bad initialization may be replaced once. An
image is excluded only after two incidents that blame it, and never for the fault of a module.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from yolo_stability.core.actions import Action, Ending
from yolo_stability.core.findings import Finding
from yolo_stability.core.types import BlockSpec, CauseName, Event, RunHeader, StepRecord
from yolo_stability.diagnosis.acting_advice import acting
from yolo_stability.diagnosis.causes import rank_causes
from yolo_stability.diagnosis.incidents import IncidentFacts, incident_of_event
from yolo_stability.diagnosis.live import LiveRules
from yolo_stability.diagnosis.rate_leaps import Leap, find_leaps
from yolo_stability.diagnosis.remedy_strength import is_adaptive, lower_rate_by, tighter_clip
from yolo_stability.diagnosis.rescue_plans import BEARABLE, NO_REMEDY, PLANS, SGD_PLAN, SPECIFIC
from yolo_stability.diagnosis.rules import RULES
from yolo_stability.diagnosis.usual_rates import usual_rates

__all__ = ["PLANS", "Rescuer"]

_EVERY = 8
_SKIPS = 3  # consecutive steps skipped by the guard after which the batch alone is no longer blamed
_OWN = "recoveries"  # earlier remedies are no sign of current trouble
_SINCE_EVER = {"noise"}  # a noisy norm over 48 steps does not date the onset of trouble
_BLAMED = 2  # incidents that blame the same image before it is excluded
_LEAPT = "rate_leap"


class Rescuer(LiveRules):
    """Live rules that also choose a remedy for their findings.

    Args:
        mode: `auto` chooses by cause; `random` chooses randomly among the same remedies, for
            comparison; the name of a remedy always uses that one.
        limit: Remedies to try before the run ends.
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
        self._excluded: set[str] = set()
        self._trouble = False
        self._restored_at: int | None = None
        self._restored = 0  # leaps that were undone, which no plan counts

    def open(
        self, blocks: Sequence[BlockSpec], header: RunHeader | None = None, *, summed: bool = False
    ) -> None:
        """Start a run, or a further session of one; earlier remedies follow as events."""
        super().open(blocks, header, summed=summed)
        self._in_a_row, self._trouble = 0, False

    def event(self, event: Event) -> None:
        """Process an event: images blamed by an incident, and the results of a rescue."""
        super().event(event)
        if event.kind == "incident":
            self._blame(incident_of_event(event))
        elif event.kind == "rescued":
            self._helped = len(self._done)
        elif event.kind == "rescue":
            self._take_note(event.data, event.step)

    def _blame(self, incident: IncidentFacts) -> None:
        """Count the images that an incident blames."""
        self._mixed |= incident.mixed
        if incident.blames_images and not incident.mixed:  # only one file of a mosaic is named
            # some tasks do not name their files
            self._blamed.update(name for name in incident.images if PurePath(name).suffix)

    def _take_note(self, data: Mapping[str, Any], step: int) -> None:
        """Store the changes of a remedy."""
        remedy = str(data["remedy"])
        self._done.append(remedy)
        self._excluded |= set(data.get("images") or ())
        if remedy == "lower_rate" and data.get("groups"):
            self._restored_at, self._restored = step, self._restored + 1
        elif remedy == "lower_rate":
            self._rate *= float(data["value"])
        elif remedy == "tighten_clip":
            self._clip = str(data["value"])
        elif remedy == "restart" and self._header:  # the requested init no longer applies
            self._header = replace(
                self._header, requested={**self._header.requested, "init": "default"}
            )

    def observe(self, record: StepRecord) -> tuple[Finding, ...]:
        """Process a step; return new findings."""
        self._in_a_row = self._in_a_row + 1 if record.skipped == "guard" else 0
        new = super().observe(record)
        self._trouble |= self._in_a_row >= _SKIPS
        return new

    def ask(self) -> tuple[Finding, ...]:
        """Evaluate the rules now; return new findings."""
        new = super().ask()
        self._trouble |= any(self._is_trouble(f) for f in new)
        return new

    def _is_trouble(self, finding: Finding) -> bool:
        return (finding.severity == "critical" and finding.rule != _OWN) or self._confirmed(finding)

    def _confirmed(self, finding: Finding) -> bool:
        """Return whether the settings confirm a warning: large updates and an unusually high rate.

        Under AdamW a rate thirty times too high never diverges; the run merely learns half as much.
        """
        return finding.rule == "update_ratio" and self._present_rate() > self._usual_rates[1]

    def undone(self, restored: int) -> None:
        """Discard the steps after a restored state, and the findings in them."""
        super().undone(restored)
        self._in_a_row, self._trouble = 0, False

    def decide(self) -> Action | Ending | None:
        """Return the action to take now, or None; call it after each step."""
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
            return None  # the culprit image may still be found, or blamed again
        findings = [
            f
            for f in self.found
            if f.severity != "info" and RULES[f.rule].unsettles and f.rule != _OWN
        ]
        causes = rank_causes(self.context, [f for f in findings if f.first_step is not None])
        cause: CauseName = causes[0].name if causes else "unknown"
        if cause == "data" and self._awaits_image(findings):
            return None
        why = (
            findings[0].message
            if findings
            else f"the guard skipped {self._in_a_row} consecutive steps"
        )
        return self._next(cause, why, findings)

    def _awaits_image(self, findings: Sequence[Finding]) -> bool:
        """Return whether skipping is enough until an image is blamed again.

        An image is to blame, but one incident proves nothing, and no other remedy acts on it.
        """
        once = set(self._blamed) - self._excluded - set(self._suspects())
        return (
            self._mode == "auto"
            and bool(once)
            and not self._possible("quarantine")
            and self._effective.get("batch") != 1
            and all(f.rule == "non_finite" for f in findings)
        )

    def _next(self, cause: CauseName, why: str, findings: Sequence[Finding]) -> Action | Ending:
        """Return the next remedy, or the ending."""
        if self._mode == "auto" and cause not in PLANS:
            return Ending(cause=cause, why=why, advice=self._no_remedy(cause, findings))
        tries = len([name for name in self._done if name != "quarantine" or self._mode != "auto"])
        leap = self._leap(findings)
        if leap is not None:
            return self._after_leap(leap, why, tries < self._limit)
        remedy = None if tries >= self._limit else self._choose(cause)
        if remedy is None:
            vain = self._done[self._helped :]
            tried = f"{', '.join(vain)} did not help; " if vain else ""
            advised = (acting(f.remedy, self._header) for f in findings)
            instead = next(filter(None, advised), "restart with a lower learning rate")
            return Ending(cause=cause, why=why, advice=f"{tried}{NO_REMEDY.get(cause, instead)}")
        if self._mixed and remedy != "quarantine" and "quarantine" in PLANS.get(cause, ()):
            why = (
                f"{why.rstrip('.')}; no image is excluded, since each was mixed from several "
                "files (mosaic, mixup)"
            )
        value = self._value(remedy)
        images = self._suspects() if remedy == "quarantine" else ()
        dated = [
            f.first_step for f in findings if f.first_step is not None and f.rule not in _SINCE_EVER
        ]
        onset = min(dated, default=None)
        if self._present_rate() > self._usual_rates[1]:
            onset = None  # too high from the start: the oldest state is best
        return Action(remedy=remedy, cause=cause, why=why, value=value, images=images, onset=onset)

    def _leap(self, findings: Sequence[Finding]) -> Leap | None:
        """Return the critical leap of a rate if its remedy may be used; the latest of several."""
        found = next((f for f in findings if f.rule == _LEAPT and f.severity == "critical"), None)
        if found is None or self.context is None or self._mode not in {"auto", "lower_rate"}:
            return None
        leaps = find_leaps(self.context, found.threshold or 0.0)
        return leaps[-1] if leaps else None

    def _after_leap(self, leap: Leap, why: str, allowed: bool) -> Action | Ending:
        """Restore the rates that leapt; end if something outside the schedule sets them again."""
        assert self.context is not None
        step, names = self.context.step_at(leap.row), tuple(leap.factors)
        restored = self._restored_at
        again = restored is not None and step - restored <= _EVERY
        if again or not allowed:
            since = (
                f"the rate leapt again at step {step}, after the rescue had restored it at step "
                f"{restored}: "
                if restored is not None
                else ""
            )
            advice = (
                f"{since}a callback or scheduler sets the learning rate of {' and '.join(names)}; "
                "remove it or correct its value, then restart"
            )
            return Ending(cause="learning_rate", why=why, advice=advice)
        return Action(
            remedy="lower_rate",
            cause="learning_rate",
            why=why,
            value=f"{1 / leap.factor:.3g}",
            onset=step,
            groups=names,
        )

    def _no_remedy(self, cause: CauseName, findings: Sequence[Finding]) -> str:
        """Return the advice for a cause that no remedy acts on, with what the findings add."""
        shown = [f.remedy for f in findings if f.remedy and (f.block or cause == "settings")]
        specific = acting(shown[0], self._header) if cause in SPECIFIC and shown else ""
        return f"{NO_REMEDY[cause]}: {specific}" if specific else NO_REMEDY[cause]

    def _choose(self, cause: CauseName) -> str | None:
        """Return the next remedy; None if none is left."""
        if self._mode == "random":
            names = [
                name
                for name in ("lower_rate", "tighten_clip", "rewarm", "lower_scale")
                if self._possible(name)
            ]
            run = f"{self._header.config_digest}/{self._header.seed}" if self._header else ""
            # seeded by the run, so that a repetition makes the same choices
            return random.Random(f"{run}/{len(self._done)}").choice(names)
        if self._mode != "auto":
            return self._mode if self._possible(self._mode) else None
        bearable = (
            not is_adaptive(self._optimizer)
            and self._usual_rates[1] < self._present_rate() <= BEARABLE
        )
        left = list(SGD_PLAN if cause == "learning_rate" and bearable else PLANS[cause])
        used = Counter(self._done)
        used["lower_rate"] -= self._restored
        for name in used.elements():
            if name in left:
                left.remove(name)
        return next((name for name in left if self._possible(name)), None)

    def _possible(self, remedy: str) -> bool:
        """Return whether a remedy can have any effect in this run."""
        if remedy == "quarantine":
            alone = self._effective.get("batch") == 1  # excluding it would leave an empty batch
            return bool(self._suspects()) and not alone
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
        """Return the images that were blamed often enough and are not yet excluded."""
        return tuple(
            sorted(n for n, k in self._blamed.items() if k >= _BLAMED and n not in self._excluded)
        )

    def _value(self, remedy: str) -> str | None:
        """Return the strength of a remedy."""
        assert self.context is not None
        if remedy == "lower_rate":
            return f"{lower_rate_by(self.context, self._present_rate(), self._usual_rates):.3g}"
        if remedy == "tighten_clip":
            now = self._clip or str(self._effective.get("clip") or "none")
            return tighter_clip(self.context, now, adaptive=is_adaptive(self._optimizer))
        return {"rewarm": "64", "lower_scale": "0.0625"}.get(remedy)

    def _present_rate(self) -> float:
        """Return the current base learning rate of the slowest group; MuSGD boosts its head."""
        rates = [
            float(group.get("lr", 0.0)) for group in (self._effective.get("groups") or {}).values()
        ]
        return self._rate * min(rates, default=0.0)

    @property
    def _optimizer(self) -> str:
        return str(self._effective.get("optimizer") or "")

    @property
    def _usual_rates(self) -> tuple[float, float]:
        """Usual rate of this optimizer type, and the rate above which it is hardly ever used."""
        return usual_rates(self._header)

    @property
    def _effective(self) -> Mapping[str, Any]:
        return self._header.effective if self._header else {}
