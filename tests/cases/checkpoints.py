"""Checkpoints with a tensor of zeros that is meant to be zero, and checkpoints whose weights are gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from answers import exit_code, field, finding, no_finding
from case_types import Case, Input
from in_process import Ran, run_script
from makers import script_text, write_blocks, write_model

BLOCKS = """
    class GatedBranch(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.branch = nn.Conv2d(channels, channels, 3, padding=1)
            self.alpha = nn.Parameter(torch.zeros(channels, 1, 1))

        def forward(self, x):
            return x + self.alpha * self.branch(x)


    class Shift(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.register_buffer("shift", torch.zeros(channels, 1, 1))

        def forward(self, x):
            return x + self.shift


    class ZeroConvolution(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.side = nn.Conv2d(channels, channels, 1)
            nn.init.zeros_(self.side.weight)
            nn.init.zeros_(self.side.bias)

        def forward(self, x):
            return x + self.side(x)
"""
BUILD = """
    import blocks
    from torch import nn
    from ultralytics import YOLO

    def keep(model, name):
        tensors = {n: t for n, t in model.model.state_dict().items() if t.ndim > 2}
        zero = [n for n, t in tensors.items() if not t.any()]
        print(name, len(tensors), *zero)
        model.save(str(HERE / name))

    for kind in ("GatedBranch", "Shift", "ZeroConvolution"):
        model = YOLO(str(HERE / f"{kind}.yaml"))
        keep(model, f"{kind}.pt")
        for layer in model.model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.num_batches_tracked += 700
        keep(model, f"{kind}-trained.pt")
    model = YOLO(str(HERE / "small.yaml"))
    for name, value in model.model.state_dict().items():
        if int(name.split(".")[1]) < 10:
            value.zero_()
    keep(model, "backbone-dead.pt")
    for value in model.model.state_dict().values():
        value.zero_()
    keep(model, "dead.pt")
"""
ZEROS = {
    "GatedBranch": ["model.7.alpha"],
    "Shift": ["model.7.shift"],
    "ZeroConvolution": ["model.7.side.weight"],
}
"""Tensors of zeros by class of the block that has them."""


def make(folder: Path) -> Ran:
    """Save all checkpoints, with a block of one's own as layer 7 of the sound ones."""
    write_model(folder)
    write_blocks(folder, BLOCKS)
    for block in ZEROS:
        write_model(folder, block, after=6, channels=64, name=f"{block}.yaml")
    (folder / "build.py").write_text(script_text(BUILD))
    return run_script(folder, "build.py")


def prove(folder: Path, made: Ran | None) -> None:
    """Assert that sound ones hold the zeros of their block only, and dead ones nothing else where they are dead."""
    assert made is not None
    assert made.raised is None, made.printed
    lines = [line.split() for line in made.out.splitlines() if line.split()[0].endswith(".pt")]
    found = {name: (int(count), zero) for name, count, *zero in lines}
    for block, zeros in ZEROS.items():
        assert found[f"{block}.pt"][1] == found[f"{block}-trained.pt"][1] == zeros
    count, zero = found["dead.pt"]
    assert len(zero) == count
    count, zero = found["backbone-dead.pt"]
    assert count / 4 < len(zero) < count / 2
    assert all((folder / name).is_file() for name in found)


GIVEN = Input(name="checkpoint", make=make, proof=prove)


SOUND = (field("verdict", "stable"), exit_code(0), no_finding("critical"))
DAMAGED = (field("verdict", "failed"), exit_code(3), finding("critical"))


def case(variant: str, file: str, saw: str, **known: Any) -> Case:
    """Return a case about one of the checkpoints, sound unless more is known about it."""
    asked = {"right": SOUND, "waits_for": None, **known}
    after = "ultralytics #25447, #14392"
    return Case(given=GIVEN, variant=variant, saw=saw, after=after, ask=("diagnose", file), **asked)


CASES = (
    case("gate", "GatedBranch.pt", "a sound model with a gate that starts at 0 is called damaged"),
    case("gate-trained", "GatedBranch-trained.pt", "the same after training, with the gate at 0"),
    case("buffer", "Shift.pt", "a sound model with a buffer that stays 0 is called damaged"),
    case("buffer-trained", "Shift-trained.pt", "the same after training"),
    case("convolution", "ZeroConvolution.pt", "a sound model with a convolution that starts at 0"),
    case("convolution-trained", "ZeroConvolution-trained.pt", "the same after training, if frozen"),
    case("dead", "dead.pt", "a model whose weights are all 0", right=DAMAGED),
    case("half", "backbone-dead.pt", "the same of its backbone", right=DAMAGED),
)
