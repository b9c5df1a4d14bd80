"""Models with blocks of people's own: NaN in validation only, and NaN that comes and goes."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

from answers import (
    Values,
    field,
    finding,
    no_finding,
    no_image_excluded,
    starting,
)
from case_types import Case, Input
from in_process import Ran, run_script
from makers import RUN, draw_set, read_column, script_text, write_blocks, write_model

from yolo_stability import load_trace

TRAIN = """
    import blocks
    import yolo_stability as ys
    from ultralytics import YOLO

    ys.train(model=YOLO(str(HERE / "small.yaml")), **SETTINGS | dict({settings}))
"""
LEVELED = """
    class Leveled(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.register_buffer("level", torch.zeros(1, channels, 1, 1))

        def forward(self, x):
            level = x.abs().mean((0, 2, 3), keepdim=True) + 1e-3 if self.training else self.level
            return x / level
"""
HEADROOM = """
    class Headroom(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.register_buffer("room", torch.full((1,), 19.0))

        def forward(self, x):
            if self.training:
                self.room -= 1
                return x
            left = (self.room - 8).clamp(min=0).sign()
            return x * left / left
"""
CHAIN = """
    class DepthMish(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.conv = nn.Conv2d(channels, channels, 5, padding=2, groups=channels, bias=False)
            self.norm = nn.BatchNorm2d(channels)

        def forward(self, x):
            return nn.functional.mish(self.norm(self.conv(x)))


    class Foremost(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.mix = nn.Conv2d(channels, channels, 1)

        def forward(self, x):
            x = self.mix(x)
            return x * (x > 2.9 * x.detach().std((1, 2, 3), keepdim=True))


    class {name}(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(channels, 1, 1))

        def forward(self, x):
            return self.gain * x {operator} x.square().mean((1, 2, 3), keepdim=True).sqrt()
"""


def own_blocks(
    name: str,
    classes: str,
    proof: Callable[[Path], None],
    *,
    blocks: tuple[str, ...],
    settings: str,
    after: int = 6,
    channels: int = 64,
) -> Input:
    """Return a run of a small model with blocks of one's own after a layer of its backbone."""

    def make(folder: Path) -> Ran:
        draw_set(folder / "set")
        write_model(folder, *blocks, after=after, channels=channels)
        write_blocks(folder, classes)
        (folder / "train.py").write_text(script_text(TRAIN.format(settings=settings)))
        return run_script(folder)

    def prove(folder: Path, made: Ran | None) -> None:
        assert made is not None
        assert made.raised is None, made.printed
        proof(folder)

    return Input(name=name, make=make, proof=prove, trains=True)


def chain(
    name: str, last: str, operator: str, proof: Callable[[Path], None], rescue: str = ""
) -> Input:
    """Return a run of the three blocks of `CHAIN`, the last of which has a name and an operator."""
    return own_blocks(
        name,
        CHAIN.format(name=last, operator=operator),
        proof,
        blocks=("DepthMish", "Foremost", last),
        settings=f"epochs=5, val=False, seed=1{rescue}",
    )


def validation_is_nan_from(epoch: int) -> Callable[[Path], None]:
    """Return a proof that training losses are finite and validation losses are not from an epoch on."""

    def proof(folder: Path) -> None:
        run = folder / RUN
        assert all(map(math.isfinite, read_column(run, "train/box_loss")))
        finite = list(map(math.isfinite, read_column(run, "val/box_loss")))
        assert finite == [n < epoch for n in range(1, len(finite) + 1)]
        assert len(finite) >= epoch + 2

    return proof


def nan_comes_and_goes(folder: Path) -> None:
    """Assert that steps are lost, none of them the first, and none in an epoch that all images were part of."""
    steps = load_trace(folder / RUN).steps.select("epoch", "nonfinite")
    lost = [(epoch, count > 0) for epoch, count in steps.rows()]
    assert not lost[0][1]
    by_epoch = [sum(bad for e, bad in lost if e == epoch) for epoch in range(5)]
    assert sum(by_epoch) >= 2
    assert 0 in by_epoch


def nan_comes(folder: Path) -> None:
    """Assert that a step is lost, and not the first."""
    lost = [count > 0 for count in load_trace(folder / RUN).steps["nonfinite"]]
    assert any(lost)
    assert not lost[0]


case = partial(Case, ask=("diagnose", str(RUN)), waits_for=None)
ELSEWHERE = Values(
    "another than model.9",
    lambda block: block is not None and not str(block).startswith("model.9"),
)
MODULE = (
    field("cause", "module"),
    finding(block=starting("model.9")),
    no_finding(rule="non_finite", block=ELSEWHERE),
)
EVALUATION = (
    field("verdict", "failed"),
    field("learning", "not_learned"),
    field("cause", "evaluation", "module"),
)

CASES = (
    case(
        given=own_blocks(
            *("eval-only-nan", LEVELED, validation_is_nan_from(1)),
            blocks=("Leveled",),
            settings="epochs=4",
            after=4,
            channels=32,
        ),
        saw="validation NaN in every epoch, training looks well; a layer of one's own",
        after="ultralytics #8422, #21765",
        right=(
            *EVALUATION,
            finding(column=starting("val/"), first_epoch=1),
            finding(block=starting("model.5")),
        ),
    ),
    case(
        given=own_blocks(
            *("eval-only-nan-late", HEADROOM, validation_is_nan_from(3)),
            blocks=("Headroom",),
            settings="epochs=5",
        ),
        saw="the same from epoch 3 on",
        after="ultralytics #8289",
        right=(
            *EVALUATION,
            finding(column=starting("val/"), first_epoch=3),
            finding(block=starting("model.7")),
        ),
    ),
    case(
        given=chain("own-blocks", "UnitImage", "/", nan_comes_and_goes),
        saw="three blocks of one's own that work alone give NaN together, now and then",
        after="ultralytics #21020",
        right=MODULE,
    ),
    case(
        given=chain("own-blocks-rescue", "UnitImage", "/", nan_comes, ', rescue="auto"'),
        saw="the same with rescue=auto",
        after="ultralytics #21020",
        right=(*MODULE, no_image_excluded()),
    ),
    case(
        given=chain("own-blocks-backward", "Loudness", "*", nan_comes_and_goes),
        saw="the same, but the loss is finite, and gradients are NaN",
        after="ultralytics #21020",
        right=MODULE,
    ),
)
