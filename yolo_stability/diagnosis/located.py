"""Findings with what the training itself found out: module, images, and advice about both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from yolo_stability.core.findings import Finding
from yolo_stability.diagnosis.cause_evidence.incidents import blamed_twice, module_incidents
from yolo_stability.diagnosis.cause_evidence.validation import evaluation_event
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.incidents import IncidentFacts, named_images

__all__ = ["located", "module_advice"]

_SKIPS = "guard=skip"


def located(context: DiagnosisContext, finding: Finding) -> Finding:
    """Return a finding with block, images and advice, if an incident or evaluation knows them.

    Args:
        context: The run.
        finding: A finding of any rule.
    """
    if finding.rule == "non_finite" and finding.first_step is not None:
        return _with_incident(context, finding, finding.first_step)
    if (finding.column or "").startswith("val/") and finding.block is None:
        return _with_evaluation(context, finding)
    return finding


def module_advice(block: str | None, phase: str | None, *, half: bool = False) -> str:
    """Return what to do about a module that computes NaN or Inf from numbers in range.

    Args:
        block: The block; None if unknown.
        phase: Phase in which it fails.
        half: Whether it fails in half precision only.
    """
    name = block or "the module"
    if half:
        return (
            f"correct the code of {name}: compute it in float32 "
            "(torch.autocast(enabled=False)), or train with amp=False"
        )
    what = "derivative" if phase == "backward" else "result"
    return (
        f"correct the code of {name}: its {what} is not finite for numbers in range; add a small "
        "epsilon where it divides, or takes a root or a logarithm"
    )


def _with_incident(context: DiagnosisContext, finding: Finding, first: int) -> Finding:
    last = first if finding.last_step is None else finding.last_step
    during = [i for i in context.incidents if first <= i.step <= last and i.reproduced]
    if not during:
        return finding
    main = during[0]
    modules = [i for i in module_incidents(context.incidents) if i.block == main.block]
    same = [i for i in during if i.block == main.block]
    images = tuple(dict.fromkeys(name for i in same for name in i.images))
    text = _sentence(main, images, modules, named=str(main.block) in finding.message)
    advice = _advice(context, main, modules)
    skips = f"; {finding.remedy}" if finding.remedy.startswith(_SKIPS) else ""
    return replace(
        finding,
        block=main.block if main.located else finding.block,
        images=images,
        message=f"{finding.message}{text}",
        remedy=f"{advice}{skips}" if advice else finding.remedy,
    )


def _sentence(
    main: IncidentFacts,
    images: Sequence[str],
    modules: Sequence[IncidentFacts],
    *,
    named: bool,
) -> str:
    """Return module and images as the end of a sentence; the module only if it is not `named`."""
    parts = []
    if main.layer is not None and not named:
        parts.append(f"the first bad module was {main.block} ({main.phase})")
    if images:
        verb = "with" if main in modules else "without"
        alone = "" if main in modules else " the step is finite"
        names = named_images(images)
        parts.append(f"{verb} {names}{alone}")
    return f"; {', '.join(parts)}" if parts else ""


def _advice(
    context: DiagnosisContext, main: IncidentFacts, modules: Sequence[IncidentFacts]
) -> str:
    if main in modules:
        return module_advice(main.block, main.phase, half=all(i.only_in_half for i in modules))
    sure = main.images_bad or bool(set(blamed_twice(context.incidents)) & set(main.images))
    if main.images and sure:
        return f"repair {named_images(main.images)}, or exclude it from the dataset"
    return ""


def _with_evaluation(context: DiagnosisContext, finding: Finding) -> Finding:
    """Return a finding about validation with the first module that fails in evaluation mode."""
    found = evaluation_event(context)
    block = found.get("block")
    if not found.get("reproduced") or block is None:
        return finding
    half = bool(found.get("only_in_half"))
    where = "half precision" if half else "evaluation mode"
    return replace(
        finding,
        block=str(block),
        message=f"{finding.message}; the first module that is not finite in {where} is {block}",
        remedy=evaluation_advice(str(block), half=half, weights=bool(found.get("weights_finite"))),
    )


def evaluation_advice(block: str, *, half: bool, weights: bool) -> str:
    """Return what to do about a module that fails in validation only.

    Args:
        block: The block.
        half: Whether it fails in half precision only.
        weights: Whether the weights and statistics that are validated are finite.
    """
    if not weights:
        return f"the weights or statistics of {block} are not finite: restart from an earlier state"
    if half:
        return module_advice(block, "forward", half=True)
    return (
        f"correct what {block} does in evaluation mode (model.eval()): a statistic or buffer that "
        "training never updates, or a division by it"
    )
