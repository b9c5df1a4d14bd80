"""Every switch acts on a real training, as seen in the model, optimizer or gradients."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from shorter import DETECT_SHORT, short
from torch import Tensor, nn
from training import NANO, one_thread, overrides
from ultralytics import YOLO
from ultralytics.utils.torch_utils import unwrap_model

from yolo_stability import RunResult, StabilityError, train

pytestmark = pytest.mark.trains


@dataclass
class Seen:
    """What hooks of torch and callbacks of Ultralytics saw of a run.

    Attributes:
        result: What `train` returned.
        model: The model as it was trained.
        lrs: Per optimizer step the learning rate of each group.
        grads: Per optimizer step the gradients right before the update, by parameter name.
        kept: Per optimizer step the weights right before the update, by parameter name.
        log: What the console said.
    """

    result: RunResult
    model: nn.Module
    lrs: list[list[float]] = field(default_factory=list)
    grads: list[dict[str, Tensor]] = field(default_factory=list)
    kept: list[dict[str, Tensor]] = field(default_factory=list)
    log: str = ""


def run(
    task: str,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    models: Mapping[str, str] = NANO,
    **changed: Any,
) -> Seen:
    """Train four steps of one epoch (without warm-up) and look at every update from outside."""
    yolo = YOLO(models[task])
    one_thread(yolo)
    lrs, grads, kept = [], [], []

    def started(trainer: Any) -> None:
        named = dict(unwrap_model(trainer.model).named_parameters())

        def before_step(optimizer: Any, *_: Any) -> None:
            lrs.append([g["lr"] for g in optimizer.param_groups])
            grads.append(
                {n: p.grad.detach().clone() for n, p in named.items() if p.grad is not None}
            )
            kept.append({n: p.detach().clone() for n, p in named.items()})

        trainer.optimizer.register_step_pre_hook(before_step)

    yolo.add_callback("on_train_start", started)
    settings = overrides(
        task, folder, **{"epochs": 1, "warmup_epochs": 0, "verbose": True, **changed}
    )
    with caplog.at_level(logging.INFO, "ultralytics"):
        logging.getLogger("ultralytics").propagate = True
        try:
            result = train(model=yolo, **settings)
        finally:
            logging.getLogger("ultralytics").propagate = False
    model = unwrap_model(yolo.trainer.model)
    return Seen(result=result, model=model, lrs=lrs, grads=grads, kept=kept, log=caplog.text)


def total(grads: dict[str, Tensor]) -> float:
    """Return the L2 norm of all gradients, in float64."""
    return float(torch.stack([g.double().square().sum() for g in grads.values()]).sum().sqrt())


# Each switch: what must be true of the trained model, and nothing of it true of the stock one.
MODEL_SWITCHES: dict[str, tuple[dict[str, Any], Callable[[nn.Module], bool]]] = {
    "norm": ({"norm": "none"}, lambda m: not any("Norm" in type(x).__name__ for x in m.modules())),
    "group": (
        {"norm": "group"},
        lambda m: sum(isinstance(x, nn.GroupNorm) for x in m.modules()) > 50,
    ),
    "act": (
        {"act": "tanh"},
        lambda m: sum(isinstance(getattr(x, "act", None), nn.Tanh) for x in m.modules()) > 50,
    ),
    "residual": (
        {"residual": False},
        lambda m: not any(getattr(x, "add", False) for x in m.modules()),
    ),
    "depth": ({"depth_mult": 2.0}, lambda m: len(m.model[2].m) == 2),  # type: ignore[index,arg-type,union-attr]
}


@pytest.mark.parametrize("task", DETECT_SHORT)
@pytest.mark.parametrize("name", MODEL_SWITCHES)
def test_a_switch_of_the_model_acts_and_says_so(
    task: str, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    changed, holds = MODEL_SWITCHES[name]
    assert not holds(YOLO(NANO[task]).model)
    seen = run(task, tmp_path, caplog, NANO, **changed)
    assert holds(seen.model)
    assert len(seen.lrs) == 4
    for checkpoint in ("last.pt", "best.pt"):
        saved = torch.load(seen.result.save_dir / "weights" / checkpoint, weights_only=False)[
            "model"
        ]
        assert holds(saved)
    ((key, value),) = changed.items()
    assert seen.result.trace.header.requested[key] == value
    sentence = seen.result.trace.header.effective["switches"][key]
    assert f"stability: {key}={value}: {sentence}" in seen.log


@pytest.mark.parametrize("task", DETECT_SHORT)
def test_frozen_statistics_stay_through_a_training(
    task: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen = run(task, tmp_path, caplog, norm="frozen", epochs=2)
    statistics = [
        b
        for n, b in seen.model.named_buffers()
        if n.endswith(("running_mean", "num_batches_tracked"))
    ]
    assert len(statistics) > 50
    assert not any(b.any() for b in statistics)
    weights = [p for n, p in seen.model.named_parameters() if n.endswith("bn.weight")]
    assert any(bool((p != 1).any()) for p in weights)  # scale and shift do learn
    assert "keep their running statistics" in seen.log


@pytest.mark.parametrize(
    ("task", "optimizer"),
    short(
        [("detect", "SGD"), ("detect", "AdamW"), ("pose", "MuSGD")],
        ("detect", "AdamW"),
        ("pose", "MuSGD"),
    ),
)
def test_every_group_learns_at_a_multiple(
    task: str, optimizer: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Through warm-up and schedule, group by group, against the same run without the switch."""
    changed = {
        "optimizer": optimizer,
        "epochs": 2,
        "warmup_epochs": 1,
        "warmup_bias_lr": 0.0,
        "lr0": 0.001,
    }
    stock = run(task, tmp_path / "stock", caplog, **changed)
    seen = run(task, tmp_path / "seen", caplog, lr_mult=7.0, **changed)
    assert len(seen.lrs) == len(stock.lrs) == 8
    assert len(seen.lrs[0]) == (8 if optimizer == "MuSGD" else 3)
    for ours, theirs in zip(seen.lrs, stock.lrs, strict=True):
        assert ours == pytest.approx([7 * lr for lr in theirs])
    assert "lr_mult=7.0:" in seen.log


CLIPS = ["norm:1", "value:0.5", "agc:0.01", "auto:10", "zclip:2.5", "none"]


@pytest.mark.smoke
@pytest.mark.parametrize("task", DETECT_SHORT)
@pytest.mark.parametrize("clip", short(CLIPS, "norm:1", "agc:0.01", "none"))
def test_what_reaches_the_optimizer_is_clipped_as_recorded(
    task: str, clip: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The gradient seen by the optimizer divided by the recorded norm is the clip coefficient."""
    seen = run(task, tmp_path, caplog, clip=clip, lr0=1e-5)  # at 0.01 pose without a clip blows up
    assert seen.result.trace.header.effective["clip"] == clip
    for row, grads in zip(seen.result.trace.steps.iter_rows(named=True), seen.grads, strict=True):
        ratio = total(grads) / row["grad_norm"]
        assert ratio == pytest.approx(
            1.0 if row["clip_coef"] is None else row["clip_coef"], rel=1e-3
        )
        largest = max(float(g.abs().max()) for g in grads.values())
        if clip == "norm:1":
            assert total(grads) <= 1.0 + 1e-5
            assert ratio < 0.5
        if clip == "value:0.5":
            assert largest <= 0.5
            assert ratio < 0.9
        if clip == "agc:0.01":
            assert ratio < 0.5
    assert (seen.result.trace.steps["clip_coef"].null_count() == 4) == (clip == "none")
    assert f"clip={clip}:" in seen.log


@pytest.mark.parametrize("task", DETECT_SHORT)
def test_l1_adds_the_sign_of_every_weight(
    task: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At the first step, where weights and batch are those of a run without the penalty."""
    stock = run(task, tmp_path / "stock", caplog, clip="none", lr0=1e-5)
    seen = run(task, tmp_path / "seen", caplog, clip="none", lr0=1e-5, l1=5.0)
    for name, grad in seen.grads[0].items():
        weight = seen.kept[0][name]
        penalty = 5.0 * weight.sign() if weight.ndim > 1 else torch.zeros_like(weight)
        torch.testing.assert_close(grad, stock.grads[0][name] + penalty, rtol=1e-5, atol=1e-5)
    first = seen.result.trace.steps["grad_norm"][0]
    assert first == pytest.approx(
        stock.result.trace.steps["grad_norm"][0]
    )  # the loss's own gradient is recorded
    assert "l1=5.0:" in seen.log


def test_the_clip_sees_the_penalty(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    seen = run("detect", tmp_path, caplog, clip="norm:1", l1=100.0)
    for grads in seen.grads:
        assert total(grads) == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("task", DETECT_SHORT)
@pytest.mark.parametrize("kind", ["kaiming", "gain:3", "lsuv"])
def test_a_run_starts_from_the_weights_asked_for(
    task: str, kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stock = run(task, tmp_path / "stock", caplog)
    seen = run(task, tmp_path / "seen", caplog, init=kind)
    name = "model.4.cv1.conv.weight"
    ours, theirs = seen.kept[0][name], stock.kept[0][name]
    if kind == "gain:3":
        torch.testing.assert_close(ours, 3 * theirs)
    elif kind == "kaiming":
        assert float(ours.std()) == pytest.approx((2 / ours[0].numel()) ** 0.5, rel=0.05)
    else:
        gram = ours.flatten(1) @ ours.flatten(1).T  # orthogonal rows, all scaled alike
        torch.testing.assert_close(
            gram,
            torch.eye(len(gram), device=gram.device) * gram[0, 0],
            atol=1e-4 * float(gram[0, 0]),
            rtol=0,
        )
        assert "scaled to unit variance on the first batch" in seen.log
    ema = torch.load(seen.result.save_dir / "weights" / "last.pt", weights_only=False)[
        "model"
    ].state_dict()
    assert not torch.equal(ema[name].float().to(theirs.device), theirs)
    assert (f"init={kind} has hardly any effect" in seen.log) == (
        kind != "kaiming"
    )  # under BatchNorm


@pytest.mark.parametrize("task", DETECT_SHORT)
def test_a_batch_of_one_steps_after_every_image(
    task: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen = run(task, tmp_path, caplog, batch=1, nbs=1, fraction=[6, 4])
    steps = seen.result.trace.steps
    assert steps.height == len(seen.lrs) == 6
    assert steps["accumulate"].unique().to_list() == [1]
    assert seen.result.trace.header.effective["batch"] == 1
    assert seen.result.trace.header.effective["accumulate"] == 1


@pytest.mark.parametrize("task", DETECT_SHORT)
def test_switches_are_kept_when_a_run_is_resumed(task: str, tmp_path: Path) -> None:
    class Interrupted(Exception):
        """The run was cut off."""

    def interrupt(trainer: Any) -> None:
        if trainer.epoch == 1:
            raise Interrupted

    chosen = {
        "norm": "group",
        "act": "relu",
        "residual": False,
        "depth_mult": 2.0,
        "init": "kaiming",
    }
    # Unclipped gradients exceed the half precision of a checkpoint: momentum would be Inf.
    chosen["clip"] = "agc:0.01"
    yolo = YOLO(NANO[task])
    yolo.add_callback("on_train_epoch_end", interrupt)
    with pytest.raises(Interrupted):
        train(
            model=yolo,
            lr_mult=2.0,
            **chosen,
            **overrides(task, tmp_path, epochs=3, lr0=1e-6, warmup_epochs=0),
        )
    save_dir = yolo.trainer.save_dir
    last = save_dir / "weights" / "last.pt"
    saved = torch.load(last, weights_only=False)["ema"].float().state_dict()

    resumed = YOLO(str(last))
    starts: list[dict[str, Tensor]] = []
    rates: list[list[float]] = []

    def started(trainer: Any) -> None:
        starts.append({n: t.clone() for n, t in unwrap_model(trainer.model).state_dict().items()})
        rates.append([g["initial_lr"] for g in trainer.optimizer.param_groups])

    resumed.add_callback("on_train_start", started)
    result = train(model=resumed, resume=True)
    assert starts[0].keys() == saved.keys()
    assert all(torch.equal(starts[0][n], t) for n, t in saved.items())
    assert rates[0] == pytest.approx([2e-6] * 3)
    effective = result.trace.header.effective
    assert set(effective["switches"]) == {*chosen, "lr_mult"}
    assert effective["clip"] == "agc:0.01"
    steps = result.trace.steps.filter(pl.col("attempt") == 1)
    assert steps.height == 8
    assert (
        steps["clip_coef"] < 0.5 * 10 / steps["grad_norm"]
    ).all()  # it is not the stock clip that acts


@pytest.mark.parametrize(
    ("changed", "warning"),
    [
        (
            {"init": "gain:3"},
            "init=gain:3 has hardly any effect: 114 normalization layers undo a change of scale",
        ),
        (
            {"clip": "norm:1", "optimizer": "AdamW", "lr0": 0.001},
            "clip=norm:1 has hardly any effect: AdamW divides",
        ),
        (
            {"lr_mult": 2.0, "optimizer": "auto"},
            "lr_mult=2 multiplies lr 0.001429, which optimizer=auto chose",
        ),
        ({"depth_mult": 1.1}, "depth_mult=1.1 changes nothing"),
    ],
)
def test_a_switch_that_hardly_acts_says_so_before_the_first_step(
    changed: dict[str, Any], warning: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen = run("detect", tmp_path, caplog, **changed)
    assert warning in seen.log
    events = seen.result.trace.events.filter(pl.col("kind") == "notice")
    assert any(warning in data for data in events.filter(pl.col("step") == 0)["data"])


@pytest.mark.parametrize(
    ("model", "changed", "complaint"),
    [
        (
            "yolov3-tiny.yaml",
            {"residual": False},
            "residual=false: this model has no skip connection",
        ),
        (
            "yolo26n.yaml",
            {"act": "rellu"},
            "Invalid value act=rellu: unknown activation. Did you mean 'relu'",
        ),
        (
            "yolo26n.yaml",
            {"depth_mult": 0},
            "Invalid value depth_mult=0: expected a number above 0",
        ),
        ("yolo26n.yaml", {"clip": "agc:-1"}, "Invalid value agc:-1: the largest ratio"),
    ],
)
def test_a_switch_that_cannot_act_ends_before_training(
    model: str, changed: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(StabilityError, match=complaint):
        train(model=model, **changed, **overrides("detect", tmp_path))
    assert not list(tmp_path.rglob("*.pt"))


def test_pretrained_weights_win_over_an_initialization(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = run("detect", tmp_path / "first", caplog)
    last = first.result.save_dir / "weights" / "last.pt"
    again = train(model=last, init="kaiming", **overrides("detect", tmp_path / "again", epochs=1))
    assert any("pretrained weights" in text for text in again.trace.header.effective["warnings"])
