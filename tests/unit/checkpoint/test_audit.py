"""The rules of the audit: each fires on its own damage and on nothing healthy."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from yolo_stability.checkpoint.archive import Storage
from yolo_stability.checkpoint.audit import AuditResult, audit_checkpoint
from yolo_stability.checkpoint.audit_text import WIDTH, audit_lines
from yolo_stability.checkpoint.reader import NamedTensor, StoredTensor
from yolo_stability.checkpoint.stats import TensorStats, tensor_stats


def network() -> nn.Module:
    """Return a network of the shape of YOLO's: convolutions with BatchNorm, a linear head."""
    torch.manual_seed(0)
    layer = [nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.SiLU()]
    layers = [
        nn.Sequential(*layer),
        nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8)),
        nn.Linear(8, 4),
    ]
    net = nn.Module()
    net.model = nn.Sequential(*layers)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.num_batches_tracked.fill_(100)
    return net


def audit(
    folder: Path, change: Callable[[nn.Module], Any] = lambda net: None, **content: Any
) -> AuditResult:
    """Audit a network after a change, as its EMA is saved."""
    net = network()
    with torch.no_grad():
        change(net)
    path = folder / "last.pt"
    torch.save({"ema": net, "epoch": 1, **content}, path)
    return audit_checkpoint(path)


def rules(result: AuditResult) -> dict[str, str]:
    """Return severity by rule."""
    return {finding.rule: finding.severity for finding in result.findings}


def fill(name: str, value: float) -> Callable[[nn.Module], Any]:
    """Return a change that fills one tensor."""
    return lambda net: net.state_dict()[name].fill_(value)


def scale(name: str, factor: float) -> Callable[[nn.Module], Any]:
    """Return a change that multiplies one tensor."""
    return lambda net: net.state_dict()[name].mul_(factor)


def every(change: Callable[[torch.Tensor], Any]) -> Callable[[nn.Module], Any]:
    """Return a change of every floating-point tensor."""
    return lambda net: [
        change(tensor) for tensor in net.state_dict().values() if tensor.is_floating_point()
    ]


def first(name: str, value: float) -> Callable[[nn.Module], Any]:
    """Return a change of one element."""
    return lambda net: net.state_dict()[name].view(-1)[:1].fill_(value)


def untrained(net: nn.Module) -> None:
    """Let a network have seen no more batches than an untrained one."""
    for name, tensor in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensor.fill_(2)


def half(net: nn.Module) -> None:
    """Bring a network to half precision as Ultralytics saves it."""
    net.half()
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            torch.nan_to_num_(tensor)


def saturate(net: nn.Module) -> None:
    """Blow one BatchNorm statistic up, then save in half precision."""
    net.state_dict()["model.0.1.running_var"][0] = 1e9
    half(net)


DAMAGE: list[tuple[str, Callable[[nn.Module], Any], dict[str, str], str | None]] = [
    ("nothing", lambda net: None, {}, None),
    ("half precision", half, {}, None),
    ("a zero bias", fill("model.1.0.bias", 0), {}, None),
    ("zero shifts", fill("model.0.1.bias", 0), {}, None),
    (
        "a linear layer that begins at zero",
        lambda net: (fill("model.2.weight", 0)(net), untrained(net)),
        {},
        None,
    ),
    (
        "an output layer of zeros after training",
        fill("model.2.weight", 0),
        {"zeroed_weights": "critical"},
        "model.2 Linear",
    ),
    ("all zero", every(torch.Tensor.zero_), {"zeroed_network": "critical"}, None),
    (
        "all NaN",
        every(lambda t: t.fill_(math.nan)),
        {"nonfinite_weights": "critical"},
        "model.0 Sequential",
    ),
    (
        "all NaN, saved",
        lambda net: (every(lambda t: t.fill_(math.nan))(net), half(net)),
        {"zeroed_network": "critical"},
        None,
    ),
    (
        "one zero kernel",
        fill("model.0.0.weight", 0),
        {"zeroed_weights": "critical"},
        "model.0 Sequential",
    ),
    (
        "one NaN",
        first("model.1.0.weight", math.nan),
        {"nonfinite_weights": "critical"},
        "model.1 Sequential",
    ),
    (
        "one Inf",
        first("model.1.1.running_mean", math.inf),
        {"nonfinite_weights": "critical"},
        "model.1 Sequential",
    ),
    (
        "a large kernel",
        scale("model.1.0.weight", 1e3),
        {"exploded_weights": "critical"},
        "model.1 Sequential",
    ),
    ("a larger kernel", scale("model.1.0.weight", 10), {}, None),
    (
        "a huge kernel",
        scale("model.1.0.weight", 1e30),
        {"exploded_weights": "critical"},
        "model.1 Sequential",
    ),
    (
        "large gains",
        fill("model.0.1.weight", 60),
        {"exploded_weights": "critical"},
        "model.0 Sequential",
    ),
    ("large statistics", fill("model.0.1.running_var", 1e5), {}, None),
    ("statistics beyond half", saturate, {"saturated_statistics": "warning"}, "model.0 Sequential"),
    (
        "a weight beyond half",
        lambda net: (first("model.0.0.weight", 1e9)(net), half(net)),
        {"exploded_weights": "critical", "saturated_weights": "critical"},
        "model.0 Sequential",
    ),
    (
        "no variance",
        fill("model.1.1.running_var", 0),
        {"dead_batchnorm": "critical"},
        "model.1 Sequential",
    ),
    ("one channel without", first("model.1.1.running_var", 0), {}, None),
    ("no gain", fill("model.1.1.weight", 0), {"dead_batchnorm": "critical"}, "model.1 Sequential"),
    (
        "no gain before the first step",
        lambda net: (fill("model.1.1.weight", 0)(net), untrained(net)),
        {},
        None,
    ),
    (
        "equal weights",
        fill("model.0.0.weight", 0.1),
        {"equal_weights": "warning"},
        "model.0 Sequential",
    ),
]


@pytest.mark.parametrize(
    ("change", "expected", "block"), [row[1:] for row in DAMAGE], ids=[row[0] for row in DAMAGE]
)
def test_each_damage_has_its_finding(
    change: Callable[[nn.Module], Any], expected: dict[str, str], block: str | None, tmp_path: Path
) -> None:
    result = audit(tmp_path, change)
    assert rules(result) == expected
    assert all(finding.block == block for finding in result.findings)
    severities = set(expected.values())
    assert result.verdict == (
        "failed" if "critical" in severities else "unstable" if severities else "stable"
    )
    for finding in result.findings:
        assert finding.message[0].isupper() or finding.message[0].isdigit()
        assert finding.message.endswith(".")
        assert finding.remedy.endswith(".")
        assert finding.observed is not None
        assert finding.threshold is not None
        assert finding.observed > finding.threshold
        assert (finding.first_step, finding.last_step) == (None, None)


def test_what_was_seen_is_counted(tmp_path: Path) -> None:
    finding = audit(
        tmp_path, lambda net: net.state_dict()["model.0.0.weight"].view(-1)[:5].fill_(math.nan)
    ).findings[0]
    assert finding.observed == 5
    assert "5 NaN or Inf in 1 of 13 tensors" in finding.message
    assert "model.0.0.weight" in finding.message


def test_the_gain_is_that_of_the_weight(tmp_path: Path) -> None:
    finding = audit(tmp_path, fill("model.0.0.weight", 100.0)).findings[0]
    assert finding.rule == "exploded_weights"
    assert finding.observed == pytest.approx(100 * math.sqrt(3 * 3 * 3), rel=1e-6)


def test_a_constant_that_is_large_by_design_is_not_flagged(tmp_path: Path) -> None:
    """The distribution head multiplies by 0, 1, 2, ..."""

    def add(net: nn.Module) -> None:
        net.dfl = nn.Module()
        net.dfl.conv = nn.Conv2d(64, 1, 1, bias=False)
        net.dfl.conv.weight.copy_(torch.arange(64.0).view(1, 64, 1, 1))

    assert audit(tmp_path, add).verdict == "stable"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_bad_optimizer_state_is_found(value: float, tmp_path: Path) -> None:
    state = {
        "state": {0: {"exp_avg": torch.zeros(4)}, 1: {"exp_avg": torch.tensor([1.0, value])}},
        "param_groups": [],
    }
    result = audit(tmp_path, optimizer=state)
    assert rules(result) == {"nonfinite_optimizer": "critical"}
    assert "state.1.exp_avg" in result.findings[0].message
    state["state"][1]["exp_avg"].zero_()  # type: ignore[index]
    assert audit(tmp_path, optimizer=state).verdict == "stable"


@pytest.mark.parametrize(
    ("value", "flagged"),
    [(65536.0, False), (1.0, False), (1e-9, True), (math.nan, True), (0, True)],
)
def test_a_collapsed_loss_scale_is_found(value: float, flagged: bool, tmp_path: Path) -> None:
    assert rules(audit(tmp_path, scaler={"scale": value})) == (
        {"amp_scale": "warning"} if flagged else {}
    )


def test_other_tensors_of_a_checkpoint_are_not_judged_as_weights(tmp_path: Path) -> None:
    assert audit(tmp_path, history=torch.full((4, 4, 4), math.nan)).verdict == "stable"


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"epoch": 3},
        {"model": {"steps": torch.tensor([1, 2])}},
        {"model": {"empty": torch.empty(0)}},
        [1],
    ],
)
def test_without_weights_nothing_is_called_stable(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save(content, path)
    assert audit_checkpoint(path).verdict == "inconclusive"


def test_with_tensors_that_are_not_read_nothing_is_called_stable(tmp_path: Path) -> None:
    assert (
        audit(tmp_path, lambda net: net.register_buffer("sparse", torch.eye(3).to_sparse())).verdict
        == "inconclusive"
    )


def test_the_audit_writes_nothing_and_leaves_the_random_state_alone(tmp_path: Path) -> None:
    audit(tmp_path)
    before, state = (tmp_path / "last.pt").read_bytes(), torch.get_rng_state()
    audit_checkpoint(tmp_path / "last.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]
    assert (tmp_path / "last.pt").read_bytes() == before
    assert torch.equal(torch.get_rng_state(), state)


# --- one tensor in numbers ------------------------------------------------------------------------


def measured(tensor: torch.Tensor) -> TensorStats:
    """Measure a tensor."""
    stored = StoredTensor(
        storage=Storage(key="0", dtype=tensor.dtype, numel=tensor.numel()),
        dtype=tensor.dtype,
        offset=0,
        shape=tuple(tensor.shape),
        stride=tensor.stride(),
    )
    return tensor_stats(
        NamedTensor(part="model", name="a.weight", block=None, module="", tensor=stored), tensor
    )


ELEMENTS = st.floats(width=32) | st.sampled_from([0.0, math.nan, math.inf, -math.inf, 65504.0])


@given(st.lists(ELEMENTS, min_size=1, max_size=12))
def test_the_numbers_are_numpys(values: list[float]) -> None:
    array = np.array(values, dtype=np.float32)
    finite = array[np.isfinite(array)].astype(np.float64)
    seen = measured(torch.tensor(array).view(1, -1))
    assert seen.nan == np.isnan(array).sum()
    assert seen.inf == np.isinf(array).sum()
    assert seen.largest == (np.abs(finite).max() if finite.size else 0)
    assert seen.rms == pytest.approx(
        np.sqrt(np.mean(finite**2)) if finite.size else 0, rel=1e-5, abs=1e-44
    )
    assert seen.equal == bool((array == array[0]).all())
    assert seen.zero == (not array.any())
    assert seen.fan_in == len(values)


def test_only_half_precision_saturates() -> None:
    values = torch.tensor([65504.0, -65504.0, 65472.0])
    assert measured(values.half()).saturated == 2
    assert measured(values).saturated == 0


@pytest.mark.parametrize(
    "kind",
    [torch.complex64, torch.bfloat16, torch.float64, torch.int64, torch.bool, torch.float8_e5m2],
)
def test_every_element_type_is_measured(kind: torch.dtype) -> None:
    seen = measured(torch.tensor([0.0, 1.0]).to(kind))
    assert (seen.largest, seen.nan, seen.floating) == (
        1.0,
        0,
        kind not in {torch.int64, torch.bool},
    )


# --- what a person reads --------------------------------------------------------------------------


def test_the_lines_fit_a_console_and_say_it_all(tmp_path: Path) -> None:
    result = audit(
        tmp_path,
        scale("model.1.0.weight", 1e3),
        train_args={"task": "detect", "lr0": 0.01},
        version="8.4",
    )
    lines = audit_lines(result)
    text = " ".join(" ".join(lines).split())
    assert lines[0] == str(result.path)
    assert max(len(line) for line in lines[1:]) <= WIDTH
    assert "saved in epoch 2" in text
    assert "task=detect; lr0=0.01" in text
    assert "failed: the checkpoint is damaged." in text
    assert "critical: exploded_weights in model.1 Sequential" in text
    assert result.findings[0].message in text
    assert f"Try: {result.findings[0].remedy}" in text


def test_the_lines_of_a_foreign_file_hide_nothing(tmp_path: Path) -> None:
    """Control characters in a name would color, move or clear the text in a terminal."""
    path = tmp_path / "x.pt"
    torch.save(
        {"model": {"\x1b[2Jname": torch.full((3, 3, 3), math.nan)}, "version": "\x1b[31m8"}, path
    )
    text = "\n".join(audit_lines(audit_checkpoint(path)))
    assert "\x1b" not in text
    assert "[2Jname" in text
