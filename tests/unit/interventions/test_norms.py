"""Replaced normalization: remaining layers, `fuse()`, and loading in stock Ultralytics."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn
from ultralytics.nn.modules.conv import Conv2, RepConv
from ultralytics.nn.tasks import DetectionModel, PoseModel, RTDETRDetectionModel

from yolo_stability.core.errors import ConfigError
from yolo_stability.interventions.norms import NORMS, make_norm
from yolo_stability.interventions.norms._replace import apply_norm, freeze_statistics

MODELS = {
    "yolov8n.yaml": DetectionModel,
    "yolo11n.yaml": DetectionModel,
    "yolo26n.yaml": DetectionModel,
    "yolo26n-pose.yaml": PoseModel,
    "yolov10n.yaml": DetectionModel,  # RepVGGDW
    "yolov9t.yaml": DetectionModel,  # RepConv
    "rtdetr-resnet50.yaml": RTDETRDetectionModel,  # BatchNorm of a backbone without Conv
}
REPLACING = [name for name in NORMS if make_norm(name).replaces]


@pytest.fixture(scope="module", params=MODELS)
def stock(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return MODELS[request.param](request.param, verbose=False)


def random_statistics(model: nn.Module) -> None:
    """Give every norm layer weights and statistics that are not those of a new one."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if "Norm" in type(module).__name__:
            for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                if tensor.is_floating_point():
                    tensor.data.uniform_(0.5, 1.5, generator=generator)


def first(output: object) -> torch.Tensor:
    """Return the predictions of a model in evaluation mode."""
    while isinstance(output, tuple | list):
        output = output[0]
    assert isinstance(output, torch.Tensor)
    return output


@pytest.mark.parametrize("name", REPLACING)
def test_every_batchnorm_goes_and_fuse_changes_nothing(stock: nn.Module, name: str) -> None:
    model = copy.deepcopy(stock)
    expected = sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    done = apply_norm(model, make_norm(name))
    assert done.removed == expected > 50
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    random_statistics(model)
    model.eval()
    images = torch.rand(
        1, 3, 128, 128, generator=torch.Generator().manual_seed(2)
    )  # RT-DETR needs 300 places
    with torch.no_grad():
        before = first(model(images))
        after = first(copy.deepcopy(model).fuse(verbose=False)(images))
    assert torch.isfinite(before).all()
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", list(NORMS))
def test_only_classes_of_torch_and_ultralytics_are_in_the_model(
    stock: nn.Module, name: str
) -> None:
    model = copy.deepcopy(stock)
    apply_norm(model, make_norm(name))
    homes = {type(m).__module__.split(".")[0] for m in model.modules()}
    assert homes <= {"torch", "ultralytics", "torchvision"}
    file = io.BytesIO()
    torch.save(copy.deepcopy(model), file)
    assert b"yolo_stability" not in file.getvalue()


@pytest.mark.parametrize("name", REPLACING)
def test_every_convolution_has_a_bias_and_takes_part(name: str) -> None:
    """A convolution without BatchNorm needs a bias, and gradients must reach all of it."""
    model = DetectionModel("yolo26n.yaml", verbose=False)
    apply_norm(model, make_norm(name))
    convs = [m for n, m in model.named_modules() if isinstance(m, nn.Conv2d) and ".dfl" not in n]
    assert all(conv.bias is not None for conv in convs)
    model.train()
    outputs = model(torch.rand(2, 3, 64, 64))
    total = sum(t.float().square().mean() for t in tensors(outputs))
    assert isinstance(total, torch.Tensor)
    total.backward()
    # the head's one2one twins are fed detached features, but have weights of their own
    assert [n for n, p in model.named_parameters() if p.grad is None and ".dfl" not in n] == []


def tensors(value: object) -> list[torch.Tensor]:
    """Return all floating tensors of nested outputs."""
    if isinstance(value, torch.Tensor):
        return [value] if value.is_floating_point() and value.requires_grad else []
    items = (
        value.values()
        if isinstance(value, dict)
        else value
        if isinstance(value, list | tuple)
        else ()
    )
    return [t for item in items for t in tensors(item)]


def test_no_norm_is_the_convolution_alone() -> None:
    """Compared with the same model with identity BatchNorm: mean 0, variance 1."""
    torch.manual_seed(0)
    stock = DetectionModel("yolo26n.yaml", verbose=False).eval()
    for module in stock.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    model = copy.deepcopy(stock)
    apply_norm(model, make_norm("none"))
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(first(model(images)), first(stock(images)))


@pytest.mark.parametrize("name", ["none", "group"])
def test_rep_convolutions_become_one_with_the_same_kernel(name: str) -> None:
    torch.manual_seed(0)
    stock = RepConv(8, 8, bn=True)
    holder = nn.Sequential(stock)
    first_kernel, second = stock.conv1.conv.weight.clone(), stock.conv2.conv.weight.clone()
    done = apply_norm(holder, make_norm(name))
    assert (done.removed, done.merged) == (3, 1)
    expected = first_kernel.clone()
    expected[:, :, 1, 1] += second[:, :, 0, 0]
    torch.testing.assert_close(stock.conv.weight, expected)
    stock.fuse_convs()  # as `fuse()` calls it: nothing is left to do
    assert holder(torch.rand(1, 8, 5, 5)).shape == (1, 8, 5, 5)


def test_conv2_keeps_both_its_branches() -> None:
    torch.manual_seed(0)
    module = Conv2(4, 6)
    holder = nn.Sequential(module)
    images = torch.rand(1, 4, 5, 5)
    expected = module.act(module.conv(images) + module.cv2(images))
    apply_norm(holder, make_norm("none"))
    torch.testing.assert_close(holder(images), expected)


def test_group_and_layer_norm_differ_in_groups() -> None:
    group, layer = make_norm("group").layer(80), make_norm("layer").layer(80)
    assert isinstance(group, nn.GroupNorm)
    assert isinstance(layer, nn.GroupNorm)
    assert (group.num_groups, layer.num_groups) == (
        16,
        1,
    )  # 16 is the largest power of two <= 32 that divides 80
    images = torch.rand(2, 80, 4, 4)
    torch.testing.assert_close(layer(images), nn.functional.layer_norm(images, images.shape[1:]))


def test_frozen_statistics_stay_while_scale_and_shift_learn() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    model.train()
    freeze_statistics(model)
    before = {n: b.clone() for n, b in model.named_buffers()}
    model(torch.rand(2, 3, 4, 4)).sum().backward()
    assert all(torch.equal(b, before[n]) for n, b in model.named_buffers())
    assert model[1].weight.grad is not None
    assert make_norm("frozen").freezes


def test_a_wrong_name_names_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"norm=grup: there is no normalization 'grup'. Did you mean 'group'"
    ):
        make_norm("grup")
