"""Faults in real trainings: what the model is given, against what it is given without any."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from shorter import DETECT_SHORT
from torch import Tensor
from training import MODELS, bad_tensors, one_thread, overrides
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel

from yolo_stability import StabilityMonitor, Trace

pytestmark = pytest.mark.trains

ON_IMAGES = ("nan_pixel", "inf_pixel", "hot_pixel", "black_images")
LABELS = ("cls", "bboxes", "keypoints")


@dataclass
class Run:
    """A run and copies of the batches that its model was trained on.

    Attributes:
        trainer: The trainer afterwards.
        trace: The trace on disk.
        batches: One dictionary an iteration.
    """

    trainer: Any
    trace: Trace
    batches: list[dict[str, Any]] = field(default_factory=list)

    def differences(self, other: Run) -> list[dict[str, list[str]]]:
        """Return, per epoch of 4 batches, the files whose images or labels (by key) differ."""
        epochs: list[dict[str, list[str]]] = [{} for _ in range(len(self.batches) // 4)]
        for i, (ours, theirs) in enumerate(zip(self.batches, other.batches, strict=True)):
            assert ours["im_file"] == theirs["im_file"]
            found = epochs[i // 4]
            names = [Path(file).name for file in ours["im_file"]]
            rows = unequal(ours["img"], theirs["img"])
            found.setdefault("img", []).extend(names[row] for row in rows)
            owners = [names[int(image)] for image in ours["batch_idx"]]
            for key in (key for key in LABELS if key in ours):
                found.setdefault(key, []).extend(
                    owners[row] for row in unequal(ours[key], theirs[key])
                )
        return [{key: sorted(files) for key, files in epoch.items()} for epoch in epochs]


def unequal(ours: Tensor, theirs: Tensor) -> list[int]:
    """Return the rows that are not equal bit for bit."""
    return [i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if not torch.equal(a, b)]


def train(task: str, folder: Path, fault: str | None = None, **changed: Any) -> Run:
    """Train with a fault and keep the inputs of the model, captured at Ultralytics' loss."""
    batches: list[dict[str, Any]] = []
    loss: Callable[..., Any] = DetectionModel.loss

    def spy(model: Any, batch: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        if model.training:
            kept = ("img", "batch_idx", "im_file", *LABELS)
            batches.append(
                {
                    k: v.clone() if isinstance(v, Tensor) else v
                    for k, v in batch.items()
                    if k in kept
                }
            )
        return loss(model, batch, *args, **kwargs)

    model = YOLO(MODELS[task])
    one_thread(model)
    monitor = StabilityMonitor(fault=fault, guard_limit=100, incidents=0).attach(
        model
    )  # a search would pass batches again
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DetectionModel, "loss", spy)
        model.train(**overrides(task, folder, **changed))
    return Run(model.trainer, monitor.trace, batches)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Runs without a fault, by task."""
    return {task: train(task, tmp_path_factory.mktemp(task)) for task in MODELS}


@pytest.mark.parametrize("task", DETECT_SHORT)
@pytest.mark.parametrize("kind", ON_IMAGES)
def test_the_same_share_of_the_images_is_damaged_in_each_epoch(
    task: str, kind: str, tmp_path: Path, undisturbed: dict[str, Run]
) -> None:
    """Bitwise equality of the rest also shows that no random number of the training was used."""
    run = train(task, tmp_path, f"{kind}:0.25")
    first, second = run.differences(undisturbed[task])
    assert first == second
    assert {key for key, files in first.items() if files} == {"img"}
    assert 2 <= len(first["img"]) <= 15  # of 32: 8, give or take three standard deviations
    struck = [
        image
        for batch in run.batches
        for image, file in zip(batch["img"], batch["im_file"], strict=True)
        if Path(file).name in first["img"]
    ]
    assert all(damaged(kind, image) for image in struck)
    assert bad_tensors(run.trainer) == []


def damaged(kind: str, image: Tensor) -> bool:
    """Tell whether an image is as its fault should leave it."""
    if kind == "black_images":
        return not image.any()
    value = image[0, 0, 0]
    return bool(
        {"nan_pixel": value.isnan(), "inf_pixel": value.isinf(), "hot_pixel": value == 60000}[kind]
    )


@pytest.mark.parametrize("task", DETECT_SHORT)
def test_the_same_share_of_the_labels_is_wrong_in_each_epoch(
    task: str, tmp_path: Path, undisturbed: dict[str, Run]
) -> None:
    run = train(task, tmp_path, "label_noise:0.3")
    first, second = run.differences(undisturbed[task])
    assert first == second
    wrong = {"detect": {"cls"}, "pose": {"bboxes", "keypoints"}}[
        task
    ]  # figures are of a single class
    assert {key for key, files in first.items() if files} == wrong
    total = sum(len(batch["cls"]) for batch in run.batches[:4])
    count = len(first[next(iter(wrong))])
    deviation = (total * 0.3 * 0.7) ** 0.5
    assert abs(count - 0.3 * total) <= 3 * deviation
    assert run.trace.steps["skipped"].null_count() == 8  # finite: nothing for the guard


def test_another_seed_damages_other_images_and_the_same_seed_the_same(
    tmp_path: Path, undisturbed: dict[str, Run]
) -> None:
    runs = [
        train("detect", tmp_path / str(i), "nan_pixel:0.25", seed=seed)
        for i, seed in enumerate((0, 0, 1))
    ]
    struck = [
        {
            Path(file).name
            for batch in run.batches
            for image, file in zip(batch["img"], batch["im_file"], strict=True)
            if image.isnan().any()
        }
        for run in runs
    ]
    assert struck[0] == struck[1] != struck[2]
    assert sorted(struck[0]) == runs[0].differences(undisturbed["detect"])[0]["img"]


@pytest.mark.parametrize("task", DETECT_SHORT)
def test_a_nan_pixel_costs_one_step_under_the_guard(
    task: str, tmp_path: Path, undisturbed: dict[str, Run]
) -> None:
    run = train(task, tmp_path, "nan_pixel@2")
    epochs = run.differences(undisturbed[task])
    assert [len(epoch["img"]) for epoch in epochs] == [1, 0]
    assert run.batches[2]["img"][0].isnan().sum() == 1
    steps = run.trace.steps
    assert steps.filter(pl.col("skipped") == "guard")["step"].to_list() == [2]
    assert steps.height == 8
    assert bad_tensors(run.trainer) == []


def test_a_hot_pixel_passes_the_guard_and_ruins_the_running_statistics(
    tmp_path: Path, undisturbed: dict[str, Run]
) -> None:
    run = train("detect", tmp_path, "hot_pixel@2")
    assert run.trace.steps["skipped"].null_count() == 8
    variances = [
        max(
            float(v.max())
            for k, v in r.trainer.ema.ema.state_dict().items()
            if k.endswith("running_var")
        )
        for r in (undisturbed["detect"], run)
    ]
    assert variances[1] > 100 * variances[0]
