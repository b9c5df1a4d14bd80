"""Audit of a checkpoint's tensors: zeroed, non-finite, exploded or dead weights, optimizer state.

A checkpoint that Ultralytics saved always looks finite: weights pass through `nan_to_num`, which
turns NaN into 0 and Inf into the largest half-precision number. Zeros and that largest number are
therefore the traces of NaN and Inf.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolo_stability.checkpoint.reader import Checkpoint, open_checkpoint
from yolo_stability.checkpoint.stats import TensorStats, tensor_stats
from yolo_stability.checkpoint.zeros import (
    is_dead_norm,
    is_kernel,
    is_trained,
    kernels_of,
    zeroed_layers,
)
from yolo_stability.core.findings import Diagnosis, Finding
from yolo_stability.core.types import Severity, VerdictWord

__all__ = ["AuditResult", "audit_checkpoint", "diagnosis_of_audit"]

# Operator size of a weight, rms x sqrt(fan-in): healthy weights of all YOLO families are below 2,
# embeddings at 16; runs at 1000 times the learning rate had 51 to 1.5 million. The rms must be
# large too: an embedding of 4096 columns has 64 at rms 1.
MAX_GAIN, MIN_EXPLODED_RMS = 30.0, 2.0
MAX_VECTOR_RMS = 50.0  # gains and biases: healthy up to 4, exploded 30 to 300
MIN_AMP_SCALE = 2.0**-10
ZERO_SHARE = 0.5
_MANY = 8  # minimum elements for equal values to be no coincidence and for a vector to have an rms
_NAMED = 3
_NETWORK = frozenset(("model", "ema", "state_dict"))
_OPTIMIZER, _SCALER = "optimizer", "scaler"
_OTHER_FILE = "Use a checkpoint that passes this audit, perhaps stability/healthy.pt"
_LOWER = "train again with a tenth of lr0=, or with clip=agc:0.01"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditResult:
    """Result of a checkpoint audit.

    Attributes:
        path: The file.
        verdict: failed with a critical finding, unstable with any other, inconclusive without
            weights or with tensors that could not be read, else stable.
        findings: Findings, most severe first.
        facts: Scalar values stored in the checkpoint, and `tensors`, `elements` and `unread`:
            number of tensors, of their elements, and of tensors of unsupported kinds.
    """

    path: Path
    verdict: VerdictWord
    findings: tuple[Finding, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def audit_checkpoint(path: str | Path) -> AuditResult:
    """Assess the tensors of a checkpoint without executing anything in it.

    Args:
        path: A file written by `torch.save`: by Ultralytics, by this package, or a state dict.

    Returns:
        Verdict, findings and facts.

    Raises:
        CheckpointError: Not a file, not a checkpoint, or a damaged one.

    Example:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save(torch.nn.Linear(4, 4).state_dict(), f"{folder}/model.pt")
        ...     audit_checkpoint(f"{folder}/model.pt").verdict
        'stable'
    """
    with open_checkpoint(path) as checkpoint:
        stats = [
            tensor_stats(named, checkpoint.values(named.tensor)) for named in checkpoint.tensors
        ]
        return _result(checkpoint, stats)


def _result(checkpoint: Checkpoint, stats: Sequence[TensorStats]) -> AuditResult:
    """Return the result with findings, facts and verdict."""
    findings = findings_of(stats, checkpoint.facts)
    counts = {
        "tensors": len(stats),
        "elements": sum(s.numel for s in stats),
        "unread": checkpoint.unread,
    }
    severities = {finding.severity for finding in findings}
    verdict: VerdictWord = "stable"
    if "critical" in severities:
        verdict = "failed"
    elif "warning" in severities:
        verdict = "unstable"
    elif checkpoint.unread or not any(s.floating and s.numel for s in _weights(stats)):
        verdict = "inconclusive"
    return AuditResult(
        path=checkpoint.path,
        verdict=verdict,
        findings=findings,
        facts={**checkpoint.facts, **counts},
    )


def findings_of(stats: Sequence[TensorStats], facts: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Apply the audit rules.

    Args:
        stats: Statistics of every tensor of a checkpoint.
        facts: Its scalar values.

    Returns:
        At most one finding per rule and part, most severe first.
    """
    network = _weights(stats)
    weights = [s for s in network if s.floating and s.numel]
    state = [s for s in stats if s.part == _OPTIMIZER]
    trained = is_trained(network, facts, resumes=bool(state))
    zeroed = list(_zeroed(weights, trained=trained))
    found = [
        *zeroed,
        *_nonfinite(weights),
        *_exploded(weights),
        *_saturated(weights),
        *(
            _dead_normalization(network, trained=trained) if not zeroed else ()
        ),  # zero like the rest
        *_equal(weights),
        *_optimizer(state),
        *_scaler(facts.get(_SCALER)),
    ]
    return tuple(sorted(found, key=lambda finding: finding.severity != "critical"))


def _weights(stats: Iterable[TensorStats]) -> list[TensorStats]:
    """Return the network's tensors; without a network part, all but the optimizer's."""
    network = [s for s in stats if s.part in _NETWORK]
    return network or [s for s in stats if s.part not in {_OPTIMIZER, _SCALER}]


def _nonfinite(weights: Sequence[TensorStats]) -> Iterable[Finding]:
    """Find NaN and Inf among weights and statistics, and NaN in other buffers.

    Those may contain -inf permanently, as attention masks do.
    """
    bad = [s for s in weights if s.nan or (s.inf and not _is_constant(s))]
    if bad:
        elements = sum(s.nan + s.inf for s in bad)
        where = f"{_share(bad, weights)} of the network, {_names(bad)}"
        text = f"{elements:,} NaN or Inf in {where}"
        yield _finding("nonfinite_weights", bad, elements, 0, text, f"{_OTHER_FILE}, and {_LOWER}.")


def _is_constant(s: TensorStats) -> bool:
    """Return whether a tensor is a buffer that is no statistic: training never changes it."""
    return s.buffer and not s.leaf.startswith("running_")


def _zeroed(weights: Sequence[TensorStats], *, trained: bool) -> Iterable[Finding]:
    """Find weights that were NaN when saved; gates, buffers and branches may begin at zero."""
    kernels = kernels_of(weights)
    zero = [s for s in kernels if s.zero]
    remedy = f"{_OTHER_FILE}, and use yolo-stability train, whose guard skips steps with NaN."
    if len(zero) > ZERO_SHARE * len(kernels):
        text = (
            f"{_share(zero, kernels, 'weight tensors')} are all zero: Ultralytics replaces NaN by "
            "0 when it saves, so the run had gone NaN"
        )
        yield _finding(
            "zeroed_network", zero, len(zero) / len(kernels), ZERO_SHARE, text, remedy, place=False
        )
        return
    lost = zeroed_layers(weights, trained=trained)
    if lost:
        text = f"only zeros in {_share(lost, kernels, 'weight tensors')}, {_names(lost)}"
        yield _finding("zeroed_weights", lost, len(lost), 0, text, remedy)


def _exploded(weights: Sequence[TensorStats]) -> Iterable[Finding]:
    """Find weights far larger than in any healthy training: matrices by gain, vectors by rms."""
    large = [s for s in weights if _size(s) > 1]
    if large:
        worst = max(large, key=_size)
        if worst.axes >= 2:
            size, limit, word = worst.rms * worst.fan_in**0.5, MAX_GAIN, "rms times root of fan-in"
        else:
            size, limit, word = worst.rms, MAX_VECTOR_RMS, "rms"
        text = (
            f"exploded weights in {_share(large, weights)} of the network, the largest in "
            f"{worst.name} ({word} {size:.3g}, limit {limit:g})"
        )
        yield _finding(
            "exploded_weights", [worst], size, limit, text, f"{_OTHER_FILE}, and {_LOWER}."
        )


def _size(s: TensorStats) -> float:
    """Return the size of a parameter relative to its limit; 0 for buffers and constants."""
    # running_*: statistics of the data; dfl: the constants 0, 1, 2, ...
    if s.buffer or s.leaf.startswith("running_") or ".dfl." in f".{s.name}":
        return 0.0
    if s.axes >= 2:
        return s.rms * s.fan_in**0.5 / MAX_GAIN if s.rms > MIN_EXPLODED_RMS else 0.0
    return s.rms / MAX_VECTOR_RMS if s.axes == 1 and s.numel >= _MANY else 0.0


def _saturated(weights: Sequence[TensorStats]) -> Iterable[Finding]:
    """Find values beyond half precision, in which Ultralytics saves."""
    buffers = [s for s in weights if s.saturated and s.leaf.startswith("running_")]
    params = [s for s in weights if s.saturated and s not in buffers and not s.buffer]
    groups: tuple[tuple[str, Severity, list[TensorStats]], ...] = (
        ("saturated_weights", "critical", params),
        ("saturated_statistics", "warning", buffers),
    )
    for rule, severity, bad in groups:
        if bad:
            elements = sum(s.saturated for s in bad)
            kind = "weights" if bad is params else "BatchNorm statistics"
            place = f"{_share(bad, weights)} of the network, {_names(bad)}"
            text = f"{elements:,} {kind} at the limit of half precision in {place}"
            remedy = f"{_OTHER_FILE}, and {_LOWER}."
            yield _finding(rule, bad, elements, 0, text, remedy, severity=severity)


def _dead_normalization(network: Sequence[TensorStats], *, trained: bool) -> Iterable[Finding]:
    """Find BatchNorm layers that block all signals: no variance, or no gain, in any channel."""
    by_owner: dict[str, dict[str, TensorStats]] = {}
    for s in network:
        by_owner.setdefault(s.owner, {})[s.leaf] = s
    layers = [
        members
        for members in by_owner.values()
        if "running_var" in members and members["running_var"].numel
    ]
    dead = [members["running_var"] for members in layers if is_dead_norm(members, trained=trained)]
    if dead:
        text = (
            f"no variance or no gain in {_share(dead, layers, 'BatchNorm layers')}, {_names(dead)}"
        )
        remedy = (
            "Train again with a lower lr0=, or with norm=group; yolo-stability probe shows the "
            "signal behind the layer."
        )
        yield _finding("dead_batchnorm", dead, len(dead), 0, text, remedy)


def _equal(weights: Sequence[TensorStats]) -> Iterable[Finding]:
    """Find weight tensors whose elements are all equal: their units learn the same thing."""
    kernels = [s for s in weights if is_kernel(s) and s.spread >= 2 and s.numel >= _MANY]
    same = [s for s in kernels if s.equal and not s.zero]
    if same:
        where = f"{_share(same, kernels, 'weight tensors')}, {_names(same)}"
        text = f"all elements equal in {where}"
        remedy = "Train again from randomly initialized weights: init=default."
        yield _finding("equal_weights", same, len(same), 0, text, remedy, severity="warning")


def _optimizer(state: Sequence[TensorStats]) -> Iterable[Finding]:
    """Find NaN and Inf in the optimizer state."""
    bad = [s for s in state if s.nan or s.inf]
    if bad:
        elements = sum(s.nan + s.inf for s in bad)
        where = f"{_share(bad, state)} of the optimizer's state, {_names(bad)}"
        text = f"{elements:,} NaN or Inf in {where}"
        remedy = (
            "Do not resume from this file: start a new run from its weights with model=, "
            f"or {_LOWER}."
        )
        yield _finding("nonfinite_optimizer", bad, elements, 0, text, remedy)


def _scaler(scaler: Any) -> Iterable[Finding]:
    """Find a collapsed loss scale: every step overflowed."""
    scale = scaler.get("scale") if isinstance(scaler, Mapping) else None
    if isinstance(scale, int | float) and not scale >= MIN_AMP_SCALE:
        text = f"the AMP loss scale has fallen to {scale:.3g}, so step after step overflowed"
        yield Finding(
            rule="amp_scale",
            severity="warning",
            observed=float(scale),
            threshold=MIN_AMP_SCALE,
            message=_sentence(text),
            remedy="Train again with amp=False, or with a lower lr0=.",
        )


def _finding(
    rule: str,
    tensors: Sequence[TensorStats],
    observed: float,
    threshold: float,
    text: str,
    remedy: str,
    *,
    severity: Severity = "critical",
    place: bool = True,
) -> Finding:
    """Return a finding about tensors; `place` adds the first block among them."""
    block = next((s.block for s in tensors if s.block), None) if place else None
    return Finding(
        rule=rule,
        severity=severity,
        block=block,
        observed=float(observed),
        threshold=threshold,
        message=_sentence(text),
        remedy=remedy,
    )


def _share(some: Sequence[object], of: Sequence[object], kind: str = "tensors") -> str:
    return f"{len(some):,} of {len(of):,} {kind}"


def _names(tensors: Sequence[TensorStats]) -> str:
    """Return the first names: `such as model.0.conv.weight, ...`; a single one alone."""
    names = ", ".join(s.name for s in tensors[:_NAMED])
    return f"such as {names}" if len(tensors) > 1 else names


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def diagnosis_of_audit(audit: AuditResult) -> Diagnosis:
    """Return the diagnosis that corresponds to an audit."""
    why = {
        "stable": "every tensor is finite and none stands out",
        "inconclusive": "it has no weights that can be assessed, or tensors of unsupported kinds",
    }
    first = audit.findings[0].message if audit.findings else why.get(audit.verdict, "")
    return Diagnosis(
        run_id="", verdict=audit.verdict, why=why.get(audit.verdict, first), findings=audit.findings
    )
