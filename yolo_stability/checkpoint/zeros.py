"""Zero tensors of a checkpoint: traces of NaN, or zero by design.

Gates, offsets, buffers and zero-initialized layers of residual branches begin at zero, and one such
tensor among trained ones is no damage. A layer whose weights are zero passes nothing on: where
nothing bypasses it, the output is a constant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from yolo_stability.checkpoint.stats import TensorStats

__all__ = ["is_dead_norm", "is_kernel", "is_trained", "kernels_of", "zeroed_layers"]

# batches that an untrained model may have seen, for its strides or its initialization
_NEW = 16
# eps of Ultralytics' BatchNorm is 1e-3; healthy layers have 0.03 and 0.9
DEAD_VARIANCE, DEAD_GAIN = 1e-6, 1e-4
_LAYERS = ("Conv", "Linear")
_CONVOLUTION_AXES = 3


def is_kernel(s: TensorStats) -> bool:
    """Return whether a tensor is the weight of a convolution or of a linear layer.

    Gates, scales and offsets have at most one axis longer than one, or another name.
    """
    if s.buffer or s.axes < 2 or not s.leaf.endswith("weight"):
        return False
    if "Embedding" in s.module:
        return False
    return s.spread >= 2 or any(layer in s.module for layer in _LAYERS)


def kernels_of(weights: Sequence[TensorStats]) -> list[TensorStats]:
    """Return the weights of layers; in a file with other names, all matrices."""
    kernels = [s for s in weights if is_kernel(s)]
    return kernels or [s for s in weights if s.axes >= 2 and not s.buffer]


def is_trained(network: Sequence[TensorStats], facts: Mapping[str, Any], *, resumes: bool) -> bool:
    """Return whether a network has been trained.

    The counters of its BatchNorm layers show it; without any, or if these are frozen, what the file
    records besides the network.

    Args:
        network: Statistics of all tensors of the network.
        facts: Scalar values of the checkpoint.
        resumes: Whether the file has the state of an optimizer.
    """
    batches = max((s.largest for s in network if s.leaf == "num_batches_tracked"), default=0)
    if batches:
        return batches > _NEW
    return resumes or "train_metrics" in facts or isinstance(facts.get("epoch"), int)


def zeroed_layers(weights: Sequence[TensorStats], *, trained: bool) -> list[TensorStats]:
    """Return the layer weights that are zero and should not be.

    These are all layers of a block with at least two; and in a trained network a convolution, or
    the last layer: had it been zero by design, training would have changed it. A layer of a branch
    is an exception, since a branch may be frozen or unused.

    Args:
        weights: Statistics of the floating-point tensors of the network.
        trained: Whether the network has been trained.
    """
    kernels = kernels_of(weights)
    by_block: dict[tuple[str, str], list[TensorStats]] = {}
    for s in kernels:
        if s.block:
            by_block.setdefault((s.part, s.block), []).append(s)
    biases = {s.owner: s for s in weights if s.leaf == "bias"}
    normalized = {_parent(s) for s in weights if s.leaf == "running_var"}
    dead = set(_of_dead_blocks(by_block.values(), trained=trained, normalized=normalized))
    last = {s.part: s.name for s in kernels}

    def is_damage(s: TensorStats) -> bool:
        if (s.part, s.name) in dead:
            return True
        bias = biases.get(s.owner)
        designed = _may_be_designed(s, normalized) and (bias is None or bias.zero)
        required = s.axes >= _CONVOLUTION_AXES or last[s.part] == s.name
        return trained and required and not designed

    return [s for s in kernels if s.zero and is_damage(s)]


def _of_dead_blocks(
    blocks: Iterable[Sequence[TensorStats]], *, trained: bool, normalized: set[str]
) -> Iterator[tuple[str, str]]:
    """Yield part and name of the layers in blocks with nothing but zero layers, at least two."""
    for kernels in blocks:
        if len(kernels) < 2 or not all(s.zero for s in kernels):
            continue
        if trained or not all(_may_be_designed(s, normalized) for s in kernels):
            yield from ((s.part, s.name) for s in kernels)


def _may_be_designed(s: TensorStats, normalized: set[str]) -> bool:
    """Return whether a layer is in a branch, without a BatchNorm of its own.

    Behind a layer of zeros a BatchNorm would have lost its variance.
    """
    return s.branch and _parent(s) not in normalized


def is_dead_norm(members: Mapping[str, TensorStats], *, trained: bool) -> bool:
    """Return whether a BatchNorm layer blocks all signals: no variance or no gain in any channel.

    A gain of exactly zero is how a branch begins empty.

    Args:
        members: Statistics of its tensors by name, with `running_var`.
        trained: Whether the network has been trained.
    """
    gain, variance = members.get("weight"), members["running_var"]
    if variance.largest < DEAD_VARIANCE and not variance.nan and not variance.inf:
        return True
    if not trained or gain is None or gain.nan or gain.inf or (gain.zero and gain.branch):
        return False
    return gain.largest < DEAD_GAIN


def _parent(s: TensorStats) -> str:
    """Return part and name of the module that holds a tensor's owner."""
    return s.owner.rpartition(".")[0]
