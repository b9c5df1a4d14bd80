"""Data types of a diagnosis: findings, cause and verdict."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Literal

from yolo_stability.core import views
from yolo_stability.core.errors import printable
from yolo_stability.core.types import (
    AS_READ,
    CauseName,
    EndReason,
    EndState,
    Learning,
    Severity,
    VerdictWord,
)

__all__ = ["Best", "Cause", "Diagnosis", "End", "Finding", "Rescued", "RunException"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One observation of a rule.

    Attributes:
        rule: Name of the rule.
        severity: info: no action needed; warning: may lead to failure; critical: the run is failing
            or has failed.
        block: Block concerned, if one stands out.
        first_step: First optimizer step concerned; None where no step is, as in a checkpoint.
        last_step: Last optimizer step concerned.
        observed: Measured value, in the unit that the message names; None without one.
        threshold: Limit that the value was compared with; None without one.
        message: The observation, in one sentence.
        remedy: What to try, with the exact option; empty where there is nothing to do.
        column: Column of `results.csv` concerned, such as `val/box_loss`; None without one.
        first_epoch: First epoch concerned, counted from 1 as Ultralytics prints it; None where no
            epoch is.
        last_epoch: Last epoch concerned, counted from 1.
        images: File names of images concerned.
        resolved_by: What ended the trouble: the guard or a rescue; None if nothing did.
    """

    __pydantic_config__ = AS_READ
    rule: str
    severity: Severity
    message: str
    block: str | None = None
    first_step: int | None = None
    last_step: int | None = None
    observed: float | None = None
    threshold: float | None = None
    remedy: str = ""
    column: str | None = None
    first_epoch: int | None = None
    last_epoch: int | None = None
    images: tuple[str, ...] = ()
    resolved_by: Literal["guard", "rescue"] | None = None

    def when(self) -> str:
        """Return the epochs, else the steps concerned, such as `steps 3-64`; empty without any."""
        if self.first_epoch is not None:
            return _span("epoch", self.first_epoch, self.last_epoch)
        return "" if self.first_step is None else _span("step", self.first_step, self.last_step)

    def where(self) -> str:
        """Return the block and the column concerned; empty without any."""
        return ", ".join(part for part in (self.block, self.column) if part)

    def lines(self, width: int = 80) -> list[str]:
        """Return the finding as lines of text for a terminal.

        Args:
            width: Maximum number of columns.
        """
        resolved = f"resolved by the {self.resolved_by}" if self.resolved_by else ""
        parts = (f"{self.severity} {self.rule}", self.when(), self.where(), resolved)
        head = ", ".join(part for part in parts if part)
        body = textwrap.wrap(
            printable(self.message), width - 2, initial_indent="  ", subsequent_indent="  "
        )
        remedy = f"try: {printable(self.remedy)}" if self.remedy else ""
        advice = textwrap.wrap(remedy, width - 2, initial_indent="  ", subsequent_indent="    ")
        return [" ".join(printable(head).split()), *body, *advice]


def _span(unit: str, first: int, last: int | None) -> str:
    return f"{unit} {first}" if last in {None, first} else f"{unit}s {first}-{last}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """A possible cause of an instability.

    Attributes:
        name: Name of the cause, as listed in the contract.
        score: Its share of the evidence, in [0, 1]; the scores of a diagnosis sum to 1.
        evidence: What supports it, in one sentence.
    """

    __pydantic_config__ = AS_READ
    name: CauseName
    score: float
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunException:
    """The exception that ended a run.

    Attributes:
        type: Class name of the exception.
        message: Its text.
        where: The user's own frame nearest to it, such as `train.py:31`; None where unknown.
    """

    __pydantic_config__ = AS_READ
    type: str
    message: str
    where: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a run ended.

    Attributes:
        state: finished, stopped (early, on purpose), interrupted, exception, killed or running.
        reason: Reason of a stop; None otherwise.
        epochs_done: Epochs completed.
        epochs_planned: Epochs planned; None where unknown.
        exception: The exception; None without one.
    """

    __pydantic_config__ = AS_READ
    state: EndState
    reason: EndReason | None = None
    epochs_done: int = 0
    epochs_planned: int | None = None
    exception: RunException | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The checkpoint `best.pt`, which people deploy.

    Attributes:
        epoch: Epoch it was saved in, counted from 1; None where unknown.
        fitness: Its fitness; None where unknown.
        file: Path relative to the run folder.
        audit: sound, damaged or unreadable; not examined where only a log is known.
    """

    __pydantic_config__ = AS_READ
    epoch: int | None
    fitness: float | None
    file: str
    audit: str

    def phrase(self) -> str:
        """Return the state of the checkpoint, such as `best.pt of epoch 3 is sound`."""
        epoch = "" if self.epoch is None else f" of epoch {self.epoch:,}"
        useless = ", with a fitness of 0" if self.fitness == 0 else ""
        return f"best.pt{epoch} is {self.audit}{useless}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescued:
    """Rescues of a run.

    Attributes:
        count: Number of remedies applied.
        remedies: Their names, in order.
        healthy_since: Step since which nothing critical was found.
    """

    __pydantic_config__ = AS_READ
    count: int
    remedies: tuple[str, ...]
    healthy_since: int | None

    def sentence(self) -> str:
        """Return what the rescues did, as a sentence."""
        times = "once" if self.count == 1 else f"{self.count} times"
        healthy = (
            "has not been healthy since"
            if self.healthy_since is None
            else f"has been healthy since step {self.healthy_since}"
        )
        return f"rescued {times} ({', '.join(self.remedies)}); the run {healthy}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Diagnosis of a run: what went wrong, where, since when and why.

    Attributes:
        run_id: Id of the run; empty where it has none.
        verdict: stable, unstable, failed, or inconclusive where the data are insufficient.
        why: Basis of the verdict, in one sentence.
        cause: Name of the first of `causes`; None where nothing went wrong.
        causes: Possible causes, most likely first.
        findings: Findings by severity, most severe first, then in chronological order.
        time_to_divergence: Steps from the first step to the first critical finding; None without
            one.
        learning: Whether the model that the run ended with learned: learned, declined, not_learned,
            too_early, or unknown without a validation.
        end: How the run ended; None for a checkpoint or an incident.
        best: The checkpoint to deploy; None without one.
        rescued: What rescues did; None without one.

    Example:
        >>> Diagnosis(run_id="demo", verdict="stable", why="no rule reported anything")
        <Diagnosis 'demo': stable, cause None, findings 0>
    """

    run_id: str
    verdict: VerdictWord
    why: str
    cause: CauseName | None = None
    causes: tuple[Cause, ...] = ()
    findings: tuple[Finding, ...] = ()
    time_to_divergence: int | None = None
    learning: Learning = "unknown"
    end: End | None = None
    best: Best | None = None
    rescued: Rescued | None = None

    def lines(self, width: int = 80) -> list[str]:
        """Return the diagnosis as lines of text for a terminal.

        Args:
            width: Maximum number of columns.
        """
        lines = self.headline(width)
        for name, text in self.facts():
            lines += textwrap.wrap(printable(f"{name}: {text}"), width, subsequent_indent="  ")
        second = [cause for cause in self.causes[1:2] if "unknown" not in {cause.name, self.cause}]
        for number, cause in enumerate([*self.causes[:1], *second]):
            label = "next " if number else "cause"
            text = f"{label}: {cause.name} ({100 * cause.score:.0f} %), {cause.evidence}"
            lines += textwrap.wrap(printable(text), width, subsequent_indent="  ")
        for finding in self.findings:
            lines += finding.lines(width)
        return lines

    def verdict_words(self) -> str:
        """Return the verdict; for a failed run with the state of the checkpoint to deploy."""
        if self.verdict != "failed" or self.end is None:
            return self.verdict
        if self.best is None:
            planned = self.end.epochs_planned is not None
            return "failed (no best.pt was saved)" if planned else "failed"
        return f"failed ({self.best.phrase()})"

    def headline(self, width: int = 80) -> list[str]:
        """Return the verdict and what it rests on as lines of text.

        Args:
            width: Maximum number of columns.
        """
        text = printable(f"{self.verdict_words()}: {self.why}")
        return textwrap.wrap(text, width, subsequent_indent="  ")

    def facts(self) -> list[tuple[str, str]]:
        """Return what is known besides verdict and findings, as (name, text) pairs."""
        facts = []
        if self.best is not None and self.verdict != "failed":
            fitness = f", fitness {self.best.fitness:.3g}" if self.best.fitness else ""
            facts.append(("best ", self.best.phrase() + fitness))
        if self.rescued is not None:
            facts.append(("rescue", self.rescued.sentence()))
        return facts

    def __repr__(self) -> str:
        return (
            f"<Diagnosis '{self.run_id}': {self.verdict}, cause {self.cause}, "
            f"findings {len(self.findings)}>"
        )

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        """Return the diagnosis as HTML for a notebook."""
        return views.html(self)
