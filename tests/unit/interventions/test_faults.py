"""Faults as people type them, and what each does to a batch, a loss or a gradient."""

from __future__ import annotations

import copy
import math
import os
import random
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from yolo_stability.core.errors import ConfigError
from yolo_stability.interventions.faults import FAULTS, parse_fault
from yolo_stability.interventions.faults._base import Fault, unit_hash

ON_IMAGES = ("nan_pixel", "inf_pixel", "hot_pixel", "black_images")
ON_DATA = (*ON_IMAGES, "label_noise")


def fault(text: str, *, seed: int = 0, classes: int = 3) -> Fault:
    """Return a fault that has seen a trainer."""
    made = parse_fault(text)
    assert made is not None
    made.before_forward(
        SimpleNamespace(args=SimpleNamespace(seed=seed), data={"nc": classes}, model=None), 0
    )
    return made


def make_batch(
    images: int = 4, labels: int = 3, *, first: int = 0, classes: int = 3
) -> dict[str, Any]:
    """Return a batch of Ultralytics' trainers, with boxes and three keypoints per object."""
    generator = torch.Generator().manual_seed(first)
    n = images * labels
    size = 0.1 + 0.3 * torch.rand(n, 2, generator=generator)
    centre = size / 2 + torch.rand(n, 2, generator=generator) * (1 - size)
    keypoints = torch.cat(
        [centre[:, None] + size[:, None] * torch.tensor([[-0.4, 0], [0, 0.3], [0.5, 0.5]])], dim=1
    )
    return {
        "img": 0.1 + 0.8 * torch.rand(images, 3, 8, 8, generator=generator),
        "im_file": [f"some/folder/{first + i:06d}.jpg" for i in range(images)],
        "batch_idx": torch.arange(images).repeat_interleave(labels).float(),
        "cls": torch.randint(0, classes, (n, 1), generator=generator).float(),
        "bboxes": torch.cat([centre, size], dim=1),
        "keypoints": torch.cat([keypoints, torch.ones(n, 3, 1)], dim=2),
    }


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """Return the keys whose values differ; NaN differs from everything but NaN."""

    def equal(a: Any, b: Any) -> bool:
        return (
            a == b
            if isinstance(a, list)
            else torch.equal(torch.nan_to_num(a, 7.5), torch.nan_to_num(b, 7.5))
        )

    return {key for key in before if not equal(before[key], after[key])}


def struck(text: str, batches: int = 50, *, seed: int = 0, folder: str = "some/folder") -> set[str]:
    """Return the names of the images that a fault damages in an epoch."""
    names = set()
    for i in range(batches):
        before = make_batch(first=4 * i)
        after = copy.deepcopy(before)
        after["im_file"] = [file.replace("some/folder", folder) for file in after["im_file"]]
        fault(text, seed=seed).on_batch(after, i)
        for file, a, b in zip(after["im_file"], before["img"], after["img"], strict=True):
            if not torch.equal(a, b):
                names.add(file.rpartition("/")[2])
    return names


# --- as people type them --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(FAULTS))
def test_moments_are_read(kind: str) -> None:
    for text, at in ((f"{kind}@3", {3}), (f"{kind}@7,3", {3, 7}), (f" {kind}@0 ", {0})):
        made = parse_fault(text)
        assert made is not None
        assert (made.name(), made.at) == (kind, at)
    assert str(parse_fault(f"{kind}@7,3")) == f"{kind}@3,7"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("nan_pixel", "nan_pixel:0.05"),
        ("black_images", "black_images:0.05"),
        ("label_noise", "label_noise:0.3"),
        ("hot_pixel:1", "hot_pixel:1"),
    ],
)
def test_shares_have_defaults(text: str, written: str) -> None:
    assert str(parse_fault(text)) == written


def test_no_fault() -> None:
    assert parse_fault(None) is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("nan_grd@3", "fault=nan_grd@3: there is no fault 'nan_grd'. Did you mean 'nan_grad'"),
        ("", "there is no fault ''. Choose from black_images"),
        (
            "nan_grad",
            "the optimizer step is missing; write nan_grad@N to strike at optimizer step N "
            "(counted from 0",
        ),
        (
            "nan_loss",
            "the iteration is missing; write nan_loss@N to strike at iteration N (counted from 0",
        ),
        ("nan_grad:3", "nan_grad takes no number; write nan_grad@N"),
        ("nan_grad:3@4", "nan_grad takes no number; write nan_grad@N"),
        ("nan_grad@", "fault=nan_grad@: '' is not a valid moment: expected nan_grad@N"),
        (
            "nan_grad@x",
            "'x' is not a valid moment: expected nan_grad@N or nan_grad@N,N with whole numbers, "
            "optimizer steps",
        ),
        ("nan_grad@-1", "'-1' is not a valid moment: expected"),
        (
            "nan_loss@1.5",
            "'1.5' is not a valid moment: expected nan_loss@N or nan_loss@N,N with whole "
            "numbers, iterations",
        ),
        ("nan_loss@" + "9" * 5000, "is not a valid moment"),
        ("nan_loss@\u0663", "is not a valid moment"),
        (
            "nan_pixel:0.1@3",
            "nan_pixel takes a share or moments, not both; write nan_pixel:0.05 to damage that "
            "share",
        ),
        (
            "nan_pixel:0",
            "the share of damaged images must be a finite number above 0 and at most 1",
        ),
        (
            "label_noise:1.5",
            "the share of wrong labels must be a finite number above 0 and at most 1",
        ),
        ("label_noise:many", "'many' is not a number after the colon; write label_noise:NUMBER"),
    ],
)
def test_mistakes_get_one_sentence(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_fault(text)
    assert complaint in str(caught.value)


# --- who is struck --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ON_IMAGES)
def test_a_share_of_the_images_is_struck_the_same_ones_each_epoch_wherever_they_lie(
    kind: str,
) -> None:
    names = struck(f"{kind}:0.25")
    assert 30 <= len(names) <= 70  # 200 images: 50, give or take three standard deviations
    assert struck(f"{kind}:0.25") == names
    assert struck(f"{kind}:0.25", folder="else/where") == names
    assert struck(f"{kind}:0.25", seed=1) != names
    assert struck(f"{kind}:0.5") > names
    assert len(struck(f"{kind}:1")) == 200


def test_all_kinds_strike_the_same_images() -> None:
    """So that runs with different faults can be compared."""
    names = {frozenset(struck(f"{kind}:0.25")) for kind in ON_IMAGES}
    assert len(names) == 1


@pytest.mark.parametrize("kind", ON_IMAGES)
def test_a_moment_strikes_the_first_image_of_its_batch(kind: str) -> None:
    for iteration in range(6):
        before = make_batch()
        after = copy.deepcopy(before)
        fault(f"{kind}@2,4").on_batch(after, iteration)
        assert changed(before, after) == ({"img"} if iteration in {2, 4} else set())
        assert torch.equal(after["img"][1:], before["img"][1:])


@pytest.mark.parametrize("kind", ON_DATA)
def test_no_generator_of_the_training_is_used(kind: str) -> None:
    states = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state())  # noqa: NPY002
    fault(f"{kind}:0.9").on_batch(make_batch(), 0)
    fault(f"{kind}@0").on_batch(make_batch(), 0)
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])


@pytest.mark.parametrize("kind", ON_DATA)
def test_without_file_names_only_a_moment_is_possible(kind: str) -> None:
    batch = make_batch()
    del batch["im_file"]
    with pytest.raises(
        ConfigError, match=rf"fault={kind}:0.5: .*do not name their image files.*use {kind}@N"
    ):
        fault(f"{kind}:0.5").on_batch(batch, 0)
    before = copy.deepcopy(batch)
    fault(f"{kind}@0").on_batch(batch, 0)
    assert changed(before, batch)


def test_a_trainer_without_seed_or_data_counts_as_seed_0() -> None:
    bare, seeded = parse_fault("nan_pixel:0.5"), fault("nan_pixel:0.5", seed=0)
    assert bare is not None
    bare.before_forward(SimpleNamespace(), 0)
    ours, reference = make_batch(images=40), make_batch(images=40)
    bare.on_batch(ours, 0)
    seeded.on_batch(reference, 0)
    assert changed(ours, reference) == set()


def test_draws_are_uniform_and_the_same_on_every_machine() -> None:
    draws = [unit_hash(0, f"{i}.jpg") for i in range(4000)]
    assert all(0 <= d < 1 for d in draws)
    counts = np.histogram(draws, bins=10, range=(0, 1))[0]
    assert ((counts - 400) ** 2 / 400).sum() < 27.9  # chi-squared, 9 degrees of freedom, p = 0.001
    home = "yolo_stability.interventions.faults._base"
    code = f"from {home} import unit_hash; print(repr(unit_hash(0, '7.jpg')), repr(unit_hash(3, 'a', 1)))"
    for hashing in ("1", "2"):  # Python's own hash differs from process to process
        out = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hashing},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert out.split() == [repr(draws[7]), repr(unit_hash(3, "a", 1))]


# --- what is done to them -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "found"),
    [("nan_pixel", torch.isnan), ("inf_pixel", torch.isinf), ("hot_pixel", lambda x: x > 1)],
)
def test_a_pixel_fault_spoils_one_pixel(kind: str, found: Any) -> None:
    before, after = make_batch(), make_batch()
    fault(f"{kind}@0").on_batch(after, 0)
    assert int(found(after["img"]).any(dim=1).sum()) == 1
    assert int((~torch.isclose(before["img"], after["img"])).any(dim=1).sum()) == 1


def test_a_hot_pixel_is_finite_in_half_precision_too() -> None:
    batch = make_batch()
    fault("hot_pixel:1").on_batch(batch, 0)
    assert torch.isfinite(batch["img"].half()).all()
    assert (batch["img"].amax(dim=(1, 2, 3)) > 1e4).all()


def test_black_images_keep_their_labels() -> None:
    before, after = make_batch(), make_batch()
    fault("black_images:1").on_batch(after, 0)
    assert not after["img"].any()
    assert changed(before, after) == {"img"}


@pytest.mark.parametrize("classes", [2, 3, 80])
def test_label_noise_gives_a_share_of_the_labels_another_class(classes: int) -> None:
    wrong, total, shifts = 0, 0, Counter[int]()
    for i in range(40):
        before, after = (
            make_batch(first=10 * i, classes=classes),
            make_batch(first=10 * i, classes=classes),
        )
        again = copy.deepcopy(before)
        fault("label_noise:0.3", classes=classes).on_batch(after, i)
        fault("label_noise:0.3", classes=classes).on_batch(again, i + 100)
        assert changed(before, after) <= {"cls"}
        assert changed(after, again) == set()
        assert torch.equal(after["cls"], after["cls"].round().clamp(0, classes - 1))
        shifts.update(int(s) for s in ((after["cls"] - before["cls"]) % classes).flatten())
        wrong, total = (
            wrong + int((before["cls"] != after["cls"]).sum()),
            total + len(before["cls"]),
        )
    assert wrong / total == pytest.approx(0.3, abs=0.07)  # 480 labels: three standard deviations
    if classes == 3:
        assert shifts[1] / shifts[2] == pytest.approx(1, abs=0.6)


def test_label_noise_in_a_single_class_moves_boxes_and_their_keypoints() -> None:
    before, after, again = (make_batch(images=30, classes=1) for _ in range(3))
    for batch in (after, again):
        fault("label_noise:0.3", classes=1).on_batch(batch, 0)
    assert changed(before, after) == {"bboxes", "keypoints"}
    assert changed(after, again) == set()
    moved = (before["bboxes"] != after["bboxes"]).any(dim=1)
    assert 10 <= int(moved.sum()) <= 45  # 90 labels: 27, give or take four standard deviations
    assert torch.equal(before["bboxes"][:, 2:], after["bboxes"][:, 2:])
    centre, size = after["bboxes"].split(2, dim=1)
    assert ((centre - size / 2 > -1e-6) & (centre + size / 2 < 1 + 1e-6)).all()
    shift = after["bboxes"][:, None, :2] - before["bboxes"][:, None, :2]
    torch.testing.assert_close(after["keypoints"][..., :2], before["keypoints"][..., :2] + shift)
    assert torch.equal(before["keypoints"][..., 2], after["keypoints"][..., 2])
    distance = shift.norm(dim=2)[moved]
    assert float(distance.mean()) > 0.2


def test_label_noise_at_a_moment_falsifies_the_first_image_that_has_labels() -> None:
    before, after = make_batch(), make_batch()
    for batch in (before, after):
        batch["batch_idx"] += 1  # the first image has none
        batch["im_file"].insert(0, "000.jpg")
    fault("label_noise@5").on_batch(after, 4)
    assert changed(before, after) == set()
    fault("label_noise@5").on_batch(after, 5)
    assert (before["cls"] != after["cls"]).flatten().tolist() == [True] * 3 + [False] * 9


def test_label_noise_takes_a_batch_without_labels_and_refuses_a_task_without_boxes() -> None:
    empty = make_batch(labels=0)
    for text in ("label_noise:0.5", "label_noise@0"):
        fault(text).on_batch(empty, 0)
    with pytest.raises(ConfigError, match="label_noise supports detect, pose"):
        fault("label_noise:0.5").on_batch({"img": empty["img"], "cls": torch.zeros(4)}, 0)


@given(share=st.floats(0.01, 1.0), seed=st.integers(0, 50))
def test_a_label_is_wrong_in_the_same_way_whatever_batch_it_comes_in(
    share: float, seed: int
) -> None:
    together = make_batch(images=2)
    fault(f"label_noise:{share}", seed=seed).on_batch(together, 0)
    alone = make_batch(images=2)
    second = alone["batch_idx"] == 1
    alone = {
        "img": alone["img"][1:],
        "im_file": alone["im_file"][1:],
        "batch_idx": alone["batch_idx"][second] - 1,
        **{key: alone[key][second] for key in ("cls", "bboxes", "keypoints")},
    }
    fault(f"label_noise:{share}", seed=seed).on_batch(alone, 7)
    assert torch.equal(alone["cls"], together["cls"][second])


def test_nan_grad_spoils_one_element_at_its_step_only() -> None:
    model = nn.Linear(3, 2)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    made = parse_fault("nan_grad@3")
    assert made is not None
    made.on_gradients(SimpleNamespace(model=model), 2)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    made.on_gradients(SimpleNamespace(model=model), 3)
    assert (
        sum(int(torch.isnan(p.grad).sum()) for p in model.parameters() if p.grad is not None) == 1
    )


def test_nan_loss_strikes_once_and_leaves_no_hook() -> None:
    class Loss(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            return x.sum(), {"box_loss": x.sum().detach()}

    model, made = Loss(), parse_fault("nan_loss@1")
    assert made is not None
    made.before_forward(SimpleNamespace(model=model), 0)
    assert torch.isfinite(model(torch.ones(2))[0])
    made.before_forward(SimpleNamespace(model=model), 1)
    loss, items = model(torch.ones(2, requires_grad=True))
    assert math.isnan(loss.detach())
    assert math.isnan(items["box_loss"])
    assert not model._forward_hooks
    assert torch.isfinite(model(torch.ones(2))[0])


@pytest.mark.parametrize("kind", list(FAULTS))
def test_a_fault_does_nothing_outside_its_own_hook(kind: str) -> None:
    """Faults of losses and gradients do not change a batch, and vice versa."""
    model = nn.Linear(3, 2)
    model.weight.grad, model.bias.grad = torch.ones(2, 3), torch.ones(2)
    made, before, after = parse_fault(f"{kind}@0"), make_batch(), make_batch()
    assert made is not None
    made.on_batch(after, 0)
    assert bool(changed(before, after)) == (kind in ON_DATA)
    made.on_gradients(
        SimpleNamespace(model=model, optimizer=torch.optim.SGD(model.parameters())), 0
    )
    assert bool(torch.isnan(model.weight.grad).any() or torch.isnan(model.bias.grad).any()) == (
        kind == "nan_grad"
    )
