"""What a diagnosis holds: findings, cause and verdict."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from yolo_stability.core import views
from yolo_stability.core.errors import printable
from yolo_stability.core.types import AS_READ, CauseName, Severity, VerdictWord

__all__ = ["Cause", "Diagnosis", "Finding"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a rule saw.

    Attributes:
        rule: Name of the rule.
        severity: info: worth knowing; warning: may end badly; critical: the run is failing or has failed.
        block: Block concerned, if one stands out.
        first_step: First optimizer step concerned; None where it concerns no step, as in a checkpoint.
        last_step: Last one.
        observed: The number that was seen, in the unit that the message names; None without one.
        threshold: What it was held against; None without one.
        message: What was seen, in one sentence.
        remedy: What to try, with the exact switch; empty where there is nothing to do.
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

    def when(self) -> str:
        """Return the steps concerned, such as `step 3` or `steps 3-64`; empty where it concerns none."""
        if self.first_step is None:
            return ""
        last = self.first_step if self.last_step is None else self.last_step
        return (
            f"step {self.first_step}"
            if last == self.first_step
            else f"steps {self.first_step}-{last}"
        )

    def lines(self, width: int = 80) -> list[str]:
        """Return the finding as plain lines for a terminal.

        Args:
            width: Columns that a line may take.
        """
        head = ", ".join(
            part for part in (f"{self.severity} {self.rule}", self.when(), self.block) if part
        )
        body = textwrap.wrap(
            printable(self.message), width - 2, initial_indent="  ", subsequent_indent="  "
        )
        advice = f"try: {printable(self.remedy)}" if self.remedy else ""
        told = textwrap.wrap(advice, width - 2, initial_indent="  ", subsequent_indent="    ")
        return [" ".join(printable(head).split()), *body, *told]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What may have destabilised a run.

    Attributes:
        name: One of the names of the contract.
        score: Its share of the evidence, in [0, 1]; the scores of a diagnosis sum to 1.
        evidence: What speaks for it, in one sentence.
    """

    __pydantic_config__ = AS_READ
    name: CauseName
    score: float
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What went wrong in a run, where, since when and why.

    Attributes:
        run_id: The run; empty where it has no name.
        verdict: stable, unstable, failed, or inconclusive where the data do not suffice to say.
        why: What the verdict rests on, in one sentence.
        cause: Name of the first of `causes`; None where nothing went wrong.
        causes: Most likely first.
        findings: Most severe first, then in their order in time.
        time_to_divergence: Steps from the first one to the first critical finding; None without any.
    """

    run_id: str
    verdict: VerdictWord
    why: str
    cause: CauseName | None = None
    causes: tuple[Cause, ...] = ()
    findings: tuple[Finding, ...] = ()
    time_to_divergence: int | None = None

    def lines(self, width: int = 80) -> list[str]:
        """Return the diagnosis as plain lines for a terminal.

        Args:
            width: Columns that a line may take.
        """
        lines = textwrap.wrap(
            printable(f"{self.verdict}: {self.why}"), width, subsequent_indent="  "
        )
        second = [cause for cause in self.causes[1:2] if "unknown" not in {cause.name, self.cause}]
        for number, cause in enumerate([*self.causes[:1], *second]):
            text = f"{'next ' if number else 'cause'}: {cause.name} ({100 * cause.score:.0f} %), {cause.evidence}"
            lines += textwrap.wrap(printable(text), width, subsequent_indent="  ")
        for finding in self.findings:
            lines += finding.lines(width)
        return lines

    def __repr__(self) -> str:
        return f"<Diagnosis '{self.run_id}': {self.verdict}, cause {self.cause}, findings {len(self.findings)}>"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        """Show the diagnosis in a notebook."""
        return views.html(self)
