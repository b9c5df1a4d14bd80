"""Advice that can act: nothing that is in force already, nothing that this trainer cannot do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from traces import NAMES, header

from yolo_stability.core.findings import Finding
from yolo_stability.core.types import RunHeader
from yolo_stability.diagnosis.acting_advice import acting, acting_findings, can_act, has_own_step
from yolo_stability.diagnosis.base import USUAL_RATE
from yolo_stability.diagnosis.usual_rates import usual_rate_text, usual_rates


def run(requested: Any = None, **effective: Any) -> RunHeader:
    """A header of a run; what is not given is as usual."""
    asked = {"guard": "skip", "lr_mult": 1.0, "norm": "batch", "act": None, **(requested or {})}
    usual = {"guard": "skip", "clip": "norm:10", "amp": False, "optimizer": "SGD"}
    return replace(header(NAMES), requested=asked, effective={**usual, **effective})


def rate(value: float, optimizer: str = "AdamW", **more: Any) -> RunHeader:
    """A header of a run with a learning rate."""
    return run(optimizer=optimizer, groups={"weight": {"lr": value}}, **more)


@pytest.mark.parametrize(
    ("remedy", "effective", "expected"),
    [
        ("a smaller batch=", {}, "a smaller batch="),
        ("guard=skip skips a bad step instead", {}, ""),
        (
            "guard=skip skips a bad step instead",
            {"guard": "stop"},
            "guard=skip skips a bad step instead",
        ),
        ("a longer warm-up, or clip=norm:10", {}, "a longer warm-up"),
        (
            "a longer warm-up, or clip=norm:10",
            {"clip": "norm:1"},
            "a longer warm-up, or clip=norm:10",
        ),
        ("this, or clip=norm:10", {"clip": "norm:10.0"}, "this"),
        ("this, or clip=agc:0.01 under SGD", {"clip": "agc:0.01"}, "this"),
        ("amp=False, or lower lr_mult= so", {}, "lower lr_mult= so"),
        ("amp=False, or lower lr_mult= so", {"amp": True}, "amp=False, or lower lr_mult= so"),
        ("act=silu or act=leaky_relu keeps units active", {}, "act=leaky_relu keeps units active"),
        ("repair a.png; guard=skip skips it", {}, "repair a.png"),
    ],
)
def test_what_is_in_force_is_not_advised(
    remedy: str, effective: dict[str, Any], expected: str
) -> None:
    assert acting(remedy, run(**effective)) == expected


@pytest.mark.parametrize("remedy", ["guard=skip skips such a step", "check it, or clip=agc:0.01"])
def test_a_step_of_the_trainers_own_has_to_go_first(remedy: str) -> None:
    own = run(guard="off")
    assert has_own_step(own)
    text = acting(remedy, own)
    assert "optimizer_step override" in text
    assert "clip=norm:" in text
    assert "agc" not in text
    assert not has_own_step(run({"guard": "off"}, guard="off"))  # the user turned it off
    assert acting(remedy, run({"guard": "off"}, guard="off")) == remedy


def test_without_settings_nothing_is_left_out() -> None:
    assert acting("guard=skip", None) == "guard=skip"
    assert can_act("guard=skip", None)


def test_findings_keep_all_but_their_advice() -> None:
    found = Finding(rule="recoveries", severity="warning", message="m", remedy="guard=skip helps")
    assert acting_findings([found], run()) == (replace(found, remedy=""),)


def test_measured_settings_that_are_in_force_or_cannot_act_are_left_out() -> None:
    assert can_act("clip=agc:0.01", run())
    assert not can_act("clip=agc:0.01", run(clip="agc:0.01"))
    assert not can_act("clip=agc:0.01", run(guard="off"))
    assert can_act("lr_mult=0.1", run(guard="off"))


def test_a_usual_rate_is_that_of_optimizer_and_family() -> None:
    assert usual_rates(rate(0.1)) == (0.005, 0.02)
    assert usual_rates(rate(0.1, "SGD")) == (0.01, 0.1)
    detr = rate(0.002, model="rtdetr-l.pt")
    assert usual_rates(detr) == (1e-4, 1e-3)
    block = replace(header(NAMES).blocks[0], module_type="RTDETRDecoder")
    assert usual_rates(replace(rate(0.002), blocks=(block,))) == (1e-4, 1e-3)


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (None, "lr_mult=1; optimizer=AdamW lr0=0.002 or SGD lr0=0.01"),
        (rate(0.1), "(optimizer=AdamW lr0=0.002 or SGD lr0=0.01)"),
        (rate(0.002, model="rtdetr-l.pt"), "RT-DETR (optimizer=AdamW lr0=0.0001)"),
        (rate(0.0001, model="rtdetr-l.pt"), "a lower learning rate"),
        (rate(0.01, "SGD"), "a lower learning rate"),
        (run({"lr_mult": 100.0}), "lr_mult=1; "),
    ],
)
def test_advice_about_the_rate_is_never_the_rate_in_force(of: RunHeader | None, words: str) -> None:
    assert words in usual_rate_text(of)
    if of is not None:
        assert words in acting(f"{USUAL_RATE}, or a longer warm-up (warmup_epochs=3)", of)


def test_the_general_text_is_the_one_of_an_unknown_run() -> None:
    assert usual_rate_text(None) == USUAL_RATE
