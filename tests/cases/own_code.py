"""Trainings with code of people's own: a step, an optimizer, callbacks that raise, and callbacks that move the rate."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from answers import (
    Expectation,
    between,
    field,
    finding,
    matching,
    never_printed,
    rescue_between,
    silence,
    starting,
)
from case_types import Case, Input
from in_process import Ran, run_script
from makers import RUN, draw_set, read_column, script_text, write_model

from yolo_stability import load_trace

OWN_STEP = """
    import torch
    import yolo_stability as ys
    from ultralytics.models.yolo.detect import DetectionTrainer

    class Clipped(DetectionTrainer):
        batches = 0

        def preprocess_batch(self, batch):
            batch = super().preprocess_batch(batch)
            Clipped.batches += 1
            if Clipped.batches == 7:
                batch["img"][1, 2, 30, 17] = float("inf")
            return batch

        def optimizer_step(self):
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), max_norm=2.5)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad()
            if self.ema:
                self.ema.update(self.model)

    settings = SETTINGS | dict(epochs=3, val=False)
    ys.train(model=str(HERE / "small.yaml"), trainer=Clipped, **settings)
"""
OWN_OPTIMIZER = """
    import torch
    import yolo_stability as ys
    from ultralytics.models.yolo.detect import DetectionTrainer

    class Plain(DetectionTrainer):
        def build_optimizer(self, model, *args, **kwargs):
            trained = [p for p in model.parameters() if p.requires_grad]
            return torch.optim.SGD(trained, lr=self.args.lr0, momentum=self.args.momentum)

    del SETTINGS["optimizer"]
    settings = SETTINGS | dict(epochs=5, lr0=0.013, val=False)
    ys.train(model=str(HERE / "small.yaml"), trainer=Plain, **settings)
"""
RAISES = """
    import yolo_stability as ys
    from ultralytics import YOLO

    calls = 0

    def logger(trainer):
        global calls
        calls += 1
        if calls > {calls}:
            {statement}

    model = YOLO(str(HERE / "small.yaml"))
    model.add_callback("{event}", logger)
    ys.train(model=model, **SETTINGS | dict(epochs={epochs}))
"""
LEAP = """
    import yolo_stability as ys
    from ultralytics import YOLO

    batches = 0

    def leap(trainer):
        global batches
        if batches == {step}:
            for group in {groups}:
                group["lr"] *= {factor}
                group["initial_lr"] *= {factor}
            rates = [group["initial_lr"] for group in trainer.optimizer.param_groups]
            trainer.scheduler.base_lrs = rates
        batches += 1

    model = YOLO(str(HERE / "small.yaml"))
    model.add_callback("on_train_batch_start", leap)
    settings = SETTINGS | dict(epochs=13, warmup_epochs=1, val=False)
    ys.train(model=model, rescue="auto", **settings)
"""


def script(name: str, body: str, proof: Callable[[Path, Ran], None]) -> Input:
    """Return the run of a script on a small model and sixteen pictures."""

    def make(folder: Path) -> Ran:
        draw_set(folder / "set")
        write_model(folder)
        (folder / "train.py").write_text(script_text(body))
        return run_script(folder)

    def prove(folder: Path, made: Ran | None) -> None:
        assert made is not None
        proof(folder, made)

    return Input(name=name, make=make, proof=prove, trains=True)


# --- a step and an optimizer ------------------------------------------------------------------------------------------


def bad_at_the_seventh_step(folder: Path, made: Ran) -> None:
    """Assert that six steps were fine, and the loss of the seventh was not finite."""
    assert made.raised is None, made.printed
    finite = load_trace(folder / RUN).steps["loss"].is_finite().to_list()
    assert finite[:7] == [True] * 6 + [False]


def rate_is_lr0(folder: Path, made: Ran) -> None:
    """Assert that `optimizer` was left at auto, and the rate grew to lr0 and to nothing else."""
    assert made.raised is None, made.printed
    steps = load_trace(folder / RUN).steps
    (rates,) = (name for name in steps.columns if name.startswith("lr/"))
    assert 0.005 < max(steps[rates]) <= 0.013
    assert "optimizer: auto" in (folder / RUN / "args.yaml").read_text()


# --- callbacks that raise ---------------------------------------------------------------------------------------------

FINAL = RAISES.format(
    **{"calls": 3, "epochs": 3, "event": "on_fit_epoch_end"},
    statement='raise FileNotFoundError("report-4.json")',
)
MIDDLE = RAISES.format(
    **{"calls": 9, "epochs": 4, "event": "on_train_batch_end"},
    statement="trainer.total_loss",
)


def raising_line(body: str) -> int:
    """Return the number of the line of a script in which its logger raises."""
    lines = script_text(body).splitlines()
    return next(n for n, text in enumerate(lines, 2) if text.strip().startswith("if calls >"))


def raised_after(kind: type[Exception], body: str, epochs: int) -> Callable[[Path, Ran], None]:
    """Return a proof that a script ended with an exception of its logger, after some epochs."""

    def proof(folder: Path, made: Ran) -> None:
        assert type(made.raised) is kind
        assert f'train.py", line {raising_line(body)}, in logger' in made.printed
        assert len(read_column(folder / RUN, "epoch")) == epochs

    return proof


def ended_by(kind: str, body: str, epochs: int) -> tuple[Expectation, ...]:
    """Expect an end by an exception of the logger, with its place in the script, in a run that did not fail."""
    line = raising_line(body)
    return (
        field("end.state", "exception"),
        field("end.exception.type", kind),
        field("end.exception.where", matching(rf"train\.py\D+{line}\b", f"train.py:{line}")),
        field("end.epochs_done", epochs),
        field("verdict", "stable", "inconclusive", "unstable"),
    )


# --- leaps of the learning rate ---------------------------------------------------------------------------------------


def leap(name: str, step: int, factor: float, *, groups: str, grown: int) -> Input:
    """Return a run with a callback that multiplies rates at a step, with rescue=auto.

    Args:
        name: Name of the input.
        step: The step.
        factor: The factor.
        groups: Expression for the groups that it changes.
        grown: How many of the three groups these are.
    """

    def proof(folder: Path, made: Ran) -> None:
        assert made.raised is None, made.printed
        steps = load_trace(folder / RUN).steps
        groups = [steps[name].to_list() for name in steps.columns if name.startswith("lr/")]
        factors = [rates[step] / rates[step - 1] for rates in groups]
        assert sum(0.9 * factor < f < 1.1 * factor for f in factors) == grown
        assert sum(0.9 < f < 1.1 for f in factors) == 3 - grown

    return script(name, LEAP.format(step=step, factor=factor, groups=groups), proof)


def noticed(step: int, factor: float) -> tuple[Expectation, ...]:
    """Expect a leap to be critical within three steps, with its factor within a tenth, and a rescue."""
    near = between(step, step + 3)
    return (
        finding("critical", first_step=near),
        finding(first_step=near, observed=between(round(0.9 * factor), round(1.1 * factor))),
        rescue_between(step, step + 6),
        field("rescued.count", between(1, 10)),
    )


case = partial(Case, ask=("diagnose", str(RUN)), waits_for=None)

CASES = (
    case(
        given=script("own-step", OWN_STEP, bad_at_the_seventh_step),
        saw="a trainer clips in its own optimizer_step; an Inf pixel ends that epoch",
        after="ultralytics #24420, #24320",
        right=(
            field("verdict", "failed", "unstable"),
            field("cause", "data"),
            finding(block=starting("model.0"), first_step=6),
            finding(remedy=matching(r"optimizer_step|clip=norm", "optimizer_step or clip=norm")),
        ),
    ),
    case(
        given=script("own-optimizer", OWN_OPTIMIZER, rate_is_lr0),
        saw="a warning that lr0 is ignored, though the own build_optimizer used it",
        after="ultralytics #23303",
        right=(
            never_printed(r"ignor.*lr0|lr0.*ignor", "that lr0 is ignored"),
            *silence(),
        ),
    ),
    case(
        given=leap("rate-leap", 45, 320, groups="trainer.optimizer.param_groups", grown=3),
        saw="a callback multiplies all rates by 320 at step 45, long after the warm-up",
        after="ultralytics #22369",
        right=noticed(45, 320),
    ),
    case(
        given=leap(
            "rate-leap-one-group", 41, 90, groups="trainer.optimizer.param_groups[:1]", grown=1
        ),
        saw="a callback multiplies the rate of one group by 90 at step 41",
        after="ultralytics #22369",
        right=noticed(41, 90),
    ),
    case(
        given=script("callback-final", FINAL, raised_after(FileNotFoundError, FINAL, 3)),
        saw="a logger raises in the final validation",
        after="ultralytics #1534, #18735",
        right=ended_by("FileNotFoundError", FINAL, 3),
    ),
    case(
        given=script("callback-middle", MIDDLE, raised_after(AttributeError, MIDDLE, 2)),
        saw="a callback raises in the middle of epoch 3",
        after="ultralytics #1553",
        right=ended_by("AttributeError", MIDDLE, 2),
    ),
)
