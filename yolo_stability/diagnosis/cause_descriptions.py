"""What each cause means, what points to it and what to try, for `explain` and for reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from yolo_stability.core.types import CauseName

__all__ = ["CAUSE_DESCRIPTIONS", "CauseDescription"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseDescription:
    """One cause of an instability, for people.

    Attributes:
        name: Name of the cause, as in a diagnosis.
        phrase: The cause as a phrase, such as `gradient noise from a small batch`.
        meaning: What it means, in one or two sentences.
        points_to: Evidence that points to it, one sentence each.
        remedies: What to try, the most promising first, with the exact option.
    """

    name: CauseName
    phrase: str
    meaning: str
    points_to: tuple[str, ...]
    remedies: tuple[str, ...]


_ALL = (
    CauseDescription(
        name="learning_rate",
        phrase="learning rate",
        meaning=(
            "The learning rate is too high for this model, optimizer or moment, so each step "
            "changes the weights by more than the gradient can predict."
        ),
        points_to=(
            "An update is as large as the weights it changes, often some steps before anything "
            "else is wrong.",
            "Loss and gradient norm then rise and stay high, alternate from step to step, or fall "
            "to exactly 0.",
            "The learning rate jumped during the run, or is above the usual one of the optimizer.",
        ),
        remedies=(
            "use a usual rate: optimizer=SGD lr0=0.01, or optimizer=AdamW lr0=0.002 (RT-DETR: "
            "lr0=0.0001); optimizer=auto ignores lr0",
            "lower it with lr_mult=0.1, or warm up for longer with warmup_epochs=",
            "train with rescue=auto, which rolls back and lowers the rate by itself",
            "'yolo-stability frontier axis=lr_mult' measures how far you can go",
        ),
    ),
    CauseDescription(
        name="batch_noise",
        phrase="gradient noise from a small batch",
        meaning=(
            "Each step sees too few images, so its gradient follows those images more than the "
            "task, and the next step undoes part of it."
        ),
        points_to=(
            "Loss and gradient norm change a lot from each step to the next, for a long time.",
            "Each step used one or two images, counting accumulated ones.",
        ),
        remedies=(
            "a larger batch=, or a larger nominal batch nbs=, which sums the gradients of several "
            "batches at no cost in memory",
            "a lower learning rate, lr_mult=0.3",
        ),
    ),
    CauseDescription(
        name="normalization",
        phrase="normalization",
        meaning=(
            "The layers that keep the size of signals in check (BatchNorm in YOLO) are missing or "
            "do not work, so signals and gradients grow or shrink from layer to layer."
        ),
        points_to=(
            "The gradient hardly reaches the first blocks, from the first steps on.",
            "The model was built with norm=none.",
        ),
        remedies=(
            "norm=batch, the default, or norm=group where batches are very small",
            "without normalization, init=lsuv",
            "'yolo-stability probe model=... data=... norm=batch,none' compares both before any "
            "training",
        ),
    ),
    CauseDescription(
        name="initialization",
        phrase="initialization",
        meaning=(
            "The weights that the run started from are too large or too small, or were damaged, so "
            "the first forward pass is already far off."
        ),
        points_to=(
            "The loss of the very first step is absurd, before any update.",
            "A gradient at the start is thousands of times as large as the weights.",
            "The model was built with init=gain:..., or its first step is not finite.",
        ),
        remedies=(
            "init=default, or pretrained weights (model=yolo26n.pt)",
            "'yolo-stability diagnose WEIGHTS.pt' audits the checkpoint that the run started from",
            "'yolo-stability probe model=... data=...' shows the block in which the signal grows",
        ),
    ),
    CauseDescription(
        name="activation",
        phrase="activation",
        meaning=(
            "The activation function passes too little gradient back: sigmoid and tanh saturate, "
            "and units of ReLU can die and then put out 0 for every image."
        ),
        points_to=(
            "The gradient does not reach the first blocks at all, from the first steps on.",
            "A block receives a gradient of exactly 0 while the rest learns.",
            "The model was built with act=sigmoid or act=tanh.",
        ),
        remedies=("act=silu, the default of YOLO, or act=leaky_relu",),
    ),
    CauseDescription(
        name="depth",
        phrase="depth",
        meaning=(
            "The model is too deep for gradients to reach its first blocks, because every layer "
            "changes them by a factor and no skip connection leads around it."
        ),
        points_to=(
            "The gradient of the first block is far below that of the head in the first steps.",
            "The model was built with depth_mult= above 1.5, or with residual=false.",
        ),
        remedies=(
            "depth_mult=1 and residual=true, the defaults",
            "norm=batch and act=silu, which keep the factor near 1",
        ),
    ),
    CauseDescription(
        name="data",
        phrase="data",
        meaning=(
            "Something in the images or labels is broken or unusual: a value that is not a number, "
            "pixels out of range, labels that cannot be meant."
        ),
        points_to=(
            "The loss of a single step is not finite, and the steps before and after are normal.",
            "Loss and gradients jump together at one step, or the first block jumps the most, "
            "which is the one that sees the pixels.",
            "The same image is blamed by two incidents.",
        ),
        remedies=(
            "'yolo-stability data check data.yaml' lists broken files and labels",
            "'yolo-stability diagnose RUN/stability/incidents/step-...' repeats the bad step and "
            "names the image: repair or remove it",
            "guard=skip, the default of 'train', skips such a step and continues",
        ),
    ),
    CauseDescription(
        name="numeric_range",
        phrase="numeric range",
        meaning=(
            "A number left the range of its type, as float16 does above 65,504 under AMP, although "
            "the training itself is in order."
        ),
        points_to=(
            "AMP's scaler continues to skip steps after its start, or its scale falls below 1.",
            "Gradients are not finite although the loss is.",
            "One block alone jumps and the loss does not follow.",
        ),
        remedies=(
            "amp=False trains in float32",
            "a lower rate, lr_mult=0.3, if the gradients themselves grow",
        ),
    ),
    CauseDescription(
        name="module",
        phrase="a module of the model",
        meaning=(
            "The code of one module computes NaN or Inf from input and weights that are in order, "
            "whatever the image: mostly a division by 0, a root or a logarithm."
        ),
        points_to=(
            "The same module is the first that is not finite, over different images.",
            "Weights and the input of that module are finite and as large as in the first steps.",
        ),
        remedies=(
            "repair that module: add a small constant to divisors, and to arguments of log and "
            "sqrt (the gradient of sqrt is infinite at 0)",
            "'yolo-stability diagnose RUN/stability/incidents/step-...' repeats the step and names "
            "the module",
        ),
    ),
    CauseDescription(
        name="evaluation",
        phrase="evaluation",
        meaning=(
            "Training is in order, and validation is not: the model in eval mode, the averaged "
            "weights (EMA) or half precision compute something else than in training."
        ),
        points_to=(
            "Validation losses are NaN or Inf, or the metrics are 0, while the training losses "
            "fall.",
        ),
        remedies=(
            "look for what a module of yours does differently in eval mode, such as a branch on "
            "self.training",
            "'yolo-stability diagnose weights/last.pt' audits the saved weights and buffers",
            "amp=False, if only half precision fails: on a GPU, validation during training uses it",
        ),
    ),
    CauseDescription(
        name="settings",
        phrase="settings",
        meaning=(
            "A setting keeps the run from learning what it should: almost everything is frozen, a "
            "term of the loss is switched off, or the task has nothing to separate."
        ),
        points_to=(
            "Next to nothing is trainable in a model that was not trained before.",
            "A part of the loss is 0 at every step, or a classifier has a single class.",
        ),
        remedies=(
            "compare args.yaml in the run folder with what you meant: freeze=, the gains box=, "
            "cls= and dfl=, the classes of the data set",
            "start from the defaults and change one key at a time",
        ),
    ),
    CauseDescription(
        name="unknown",
        phrase="unknown",
        meaning=(
            "The evidence is too weak for any cause. It always keeps a share of its own, so that "
            "weak evidence gives no other cause a high score."
        ),
        points_to=("Nothing: it is what the evidence leaves open.",),
        remedies=(
            "look at stability/gradient_norms.png and compare it with the gallery in the "
            "documentation",
            "repeat the run under 'yolo-stability train': a plain Ultralytics run holds only one "
            "row for each epoch",
        ),
    ),
)
CAUSE_DESCRIPTIONS: Mapping[str, CauseDescription] = {cause.name: cause for cause in _ALL}
"""Every cause that a diagnosis can name, by name."""
