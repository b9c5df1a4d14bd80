"""What a rescue decides: which remedy, how strong, in which order, and when it gives up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import pytest
from bad_steps import RANGES
from traces import NAMES, header, record

from yolo_stability.core.actions import LIVE_REMEDIES, Action, Ending
from yolo_stability.core.types import CauseName, Event, RunHeader, StepRecord
from yolo_stability.diagnosis.rescue_plans import NO_REMEDY
from yolo_stability.diagnosis.rescue_policy import PLANS, Rescuer
from yolo_stability.interventions.clips import make_clip


def header_of(optimizer: str = "AdamW", lr: float = 0.005, **requested: Any) -> RunHeader:
    """The header of a run with an optimizer and a learning rate."""
    groups = {"weight": {"lr": lr}}
    effective = {
        "optimizer": optimizer,
        "groups": groups,
        "amp": False,
        "model": "yolo26n.yaml",
        "clip": "norm:10",
    }
    return replace(header(NAMES), requested=requested, effective=effective)


def healthy(steps: int, first: int = 0, **changed: Any) -> list[StepRecord]:
    """Steps that waver a little."""
    return [
        record(
            s,
            [n * (1 + 0.1 * math.sin(s)) for n in (3.0, 4.0, 2.0, 12.0)],
            loss=8 - 0.01 * s,
            **changed,
        )
        for s in range(first, first + steps)
    ]


def blown_up(steps: int, first: int) -> list[StepRecord]:
    """Steps too long, and soon far above all before."""
    records = []
    for k in range(steps):
        grown = min(3.0**k, 1e5)
        step = record(first + k, [n * grown for n in (3.0, 4.0, 2.0, 12.0)], loss=8 * grown)
        records.append(
            replace(step, blocks=tuple(replace(b, update_ratio=0.4 * grown) for b in step.blocks))
        )
    return records


def skipped(steps: int, first: int) -> list[StepRecord]:
    """Steps that the guard skipped."""
    return [
        replace(record(s, [math.nan] * 4, loss=math.nan), skipped="guard", clip_coef=None)
        for s in range(first, first + steps)
    ]


def decided(rescuer: Rescuer, records: Sequence[StepRecord]) -> Action | Ending | None:
    """The first decision while the steps are seen."""
    for each in records:
        rescuer.observe(each)
        decision = rescuer.decide()
        if decision is not None:
            return decision
    return None


def carried_out(rescuer: Rescuer, action: Action, step: int, restored: int = 8) -> None:
    """Return the events of the trainer after an action."""
    rescuer.undone(restored)
    data = {"remedy": action.remedy, "value": action.value, "images": list(action.images)}
    rescuer.event(Event(attempt=0, step=step, kind="rescue", data=data))


def opened(run: RunHeader, mode: str = "auto", limit: int = 3) -> Rescuer:
    """A rescuer at the start of a run."""
    rescuer = Rescuer(mode, limit)
    rescuer.open(run.blocks, run)
    return rescuer


def test_a_healthy_run_is_left_alone() -> None:
    assert decided(opened(header_of()), healthy(200)) is None


def test_a_blow_up_lowers_the_rate_by_a_tenth_where_it_was_usual() -> None:
    action = decided(opened(header_of(lr=0.005)), healthy(40) + blown_up(20, 40))
    assert isinstance(action, Action)
    assert (action.remedy, action.value, action.roll_back) == ("lower_rate", "0.1", True)
    assert "step 41" in action.why


@pytest.mark.parametrize(
    ("optimizer", "lr", "factor"),
    [("AdamW", 5.0, "0.001"), ("SGD", 10.0, "0.001"), ("MuSGD", 0.5, "0.02")],
)
def test_an_unusual_rate_returns_to_the_usual_one_of_its_optimizer(
    optimizer: str, lr: float, factor: str
) -> None:
    action = decided(opened(header_of(optimizer, lr)), healthy(40) + blown_up(20, 40))
    assert isinstance(action, Action)
    assert (action.remedy, action.value) == ("lower_rate", factor)


@pytest.mark.parametrize(("lr", "acts"), [(0.5, True), (0.005, False)])
def test_large_updates_are_acted_upon_at_an_unusual_rate(lr: float, acts: bool) -> None:
    """A warning alone is none: a long warm-up of the biases gives it, too."""
    long = [replace(b, update_ratio=0.09) for b in record(20).blocks]
    steps = healthy(20) + [replace(r, blocks=tuple(long)) for r in healthy(8, 20)] + healthy(40, 28)
    action = decided(opened(header_of(lr=lr)), steps)
    assert (action is not None) is acts
    if acts:
        assert isinstance(action, Action)
        assert (action.remedy, action.value, action.onset) == ("lower_rate", "0.01", None)


@pytest.mark.parametrize(
    ("known", "first", "factor"), [(40, 0, "0.01"), (12, 0, "0.1"), (12, 100, "0.01")], ids=str
)
def test_a_rate_that_jumped_returns_to_its_earlier_value(
    known: int, first: int, factor: str
) -> None:
    """A warm-up jumps, too, but only in the first session of a run."""

    def at(rate: float, records: Sequence[StepRecord]) -> list[StepRecord]:
        return [replace(r, lr_by_group={"weight": rate}) for r in records]

    steps = at(0.005, healthy(known, first)) + at(0.5, blown_up(3, first + known))
    action = decided(opened(header_of()), steps)
    assert isinstance(action, Action)
    assert (action.remedy, action.value) == ("lower_rate", factor)


def rated(records: Sequence[StepRecord], **rates: float) -> list[StepRecord]:
    """Return the steps with the rate of each group."""
    return [replace(r, lr_by_group=rates) for r in records]


USUAL = {"weight": 0.005, "bias": 0.005}


@pytest.mark.parametrize("optimizer", ["AdamW", "SGD"])
@pytest.mark.parametrize(
    ("leapt", "groups"),
    [({"weight": 2.5, "bias": 2.5}, ("weight", "bias")), ({"bias": 2.5}, ("bias",))],
    ids=str,
)
def test_a_leap_is_undone_where_it_happened(
    leapt: dict[str, float], groups: tuple[str, ...], optimizer: str
) -> None:
    """At its step, in the groups concerned; under SGD, too, which bears much under another clip."""
    steps = rated(healthy(40), **USUAL) + rated(healthy(5, 40), **{**USUAL, **leapt})
    rescuer = opened(header_of(optimizer))
    action = decided(rescuer, steps)
    assert isinstance(action, Action)
    assert (action.remedy, action.cause, action.onset) == ("lower_rate", "learning_rate", 40)
    assert (action.value, action.groups) == ("0.002", groups)
    assert rescuer.context is not None
    assert rescuer.context.run.step[-1] == 40


def after_leap(rescuer: Rescuer, step: int) -> None:
    """Return the events of the trainer after a leap at a step was undone."""
    rescuer.undone(8)
    data = {"remedy": "lower_rate", "value": "0.002", "groups": ["weight", "bias"]}
    rescuer.event(Event(attempt=0, step=step, kind="rescue", data=data))


def test_a_rate_that_is_set_again_ends_the_run_with_its_reason() -> None:
    rescuer = opened(header_of())
    high = dict.fromkeys(USUAL, 2.5)
    assert decided(rescuer, rated(healthy(40), **USUAL) + rated(healthy(1, 40), **high))
    after_leap(rescuer, 41)
    end = decided(rescuer, rated(healthy(9, 41), **high))
    assert isinstance(end, Ending)
    assert end.cause == "learning_rate"
    assert "leapt again at step 41, after the rescue had restored it at step 41" in end.advice
    assert "a callback or scheduler sets the learning rate of weight and bias" in end.advice


def test_a_later_leap_is_undone_again_within_the_limit() -> None:
    rescuer, seen, step = opened(header_of(), limit=2), [], 40
    high = dict.fromkeys(USUAL, 2.5)
    assert decided(rescuer, rated(healthy(40), **USUAL)) is None
    for _ in range(3):
        decision = decided(rescuer, rated(healthy(1, step), **high))
        assert decision is not None
        seen.append(decision)
        after_leap(rescuer, step + 1)
        assert decided(rescuer, rated(healthy(20, step + 1), **USUAL)) is None
        step += 21
    assert [type(decision) for decision in seen] == [Action, Action, Ending]


def test_an_undone_leap_does_not_lower_the_rate_that_the_settings_name() -> None:
    """The usual rate is in force again: other trouble lowers it by a tenth."""
    rescuer = opened(header_of("AdamW", 5.0))
    after_leap(rescuer, 3)
    action = decided(rescuer, rated(healthy(40), weight=5.0) + rated(blown_up(20, 40), weight=5.0))
    assert isinstance(action, Action)
    assert (action.value, action.groups) == ("0.001", ())


def test_trouble_that_comes_back_gets_the_next_remedy_and_then_an_end() -> None:
    rescuer, seen, step = opened(header_of("SGD", 0.01)), [], 40
    records = healthy(40)
    for _ in range(4):
        decision = decided(rescuer, [*records, *blown_up(20, step)])
        assert decision is not None
        seen.append(decision)
        if isinstance(decision, Action):
            carried_out(rescuer, decision, step + 20)
        records, step = [], step + 20
    assert [a.remedy for a in seen if isinstance(a, Action)] == list(PLANS["learning_rate"])
    end = seen[-1]
    assert isinstance(end, Ending)
    assert "lower_rate, tighten_clip, lower_rate did not help" in end.advice


def test_under_sgd_a_rate_that_adaptive_clipping_bears_is_left_as_it_is() -> None:
    """As measured: 100 times the rate under `agc:0.01` learns as much as the control."""
    action = decided(opened(header_of("SGD", 1.0)), healthy(40) + blown_up(20, 40))
    assert isinstance(action, Action)
    assert (action.remedy, action.value) == ("tighten_clip", "agc:0.01")


def test_the_rate_in_force_counts_what_was_lowered_already() -> None:
    rescuer = opened(header_of("AdamW", 5.0))
    rescuer.event(
        Event(attempt=0, step=3, kind="rescue", data={"remedy": "lower_rate", "value": "0.001"})
    )
    rescuer.event(
        Event(attempt=0, step=5, kind="rescue", data={"remedy": "tighten_clip", "value": "norm:1"})
    )
    action = decided(rescuer, healthy(40) + blown_up(20, 40))
    assert isinstance(action, Action)
    assert (action.remedy, action.value) == ("lower_rate", "0.1")


def test_the_current_rate_is_the_product_of_all_lowered_rates() -> None:
    """5.0 times 0.01 times 0.1 is within the usual range of AdamW, 5.0 times 0.1 is not."""
    rescuer = opened(header_of("AdamW", 5.0), mode="lower_rate")
    for step, value in ((3, "0.01"), (5, "0.1")):
        data = {"remedy": "lower_rate", "value": value}
        rescuer.event(Event(attempt=0, step=step, kind="rescue", data=data))
    action = decided(rescuer, healthy(40) + blown_up(20, 40))
    assert isinstance(action, Action)
    assert (action.remedy, action.value) == ("lower_rate", "0.1")
    assert action.onset is not None


@pytest.mark.parametrize(("limit", "expected"), [(1, 1), (2, 2)])
def test_the_limit_holds(limit: int, expected: int) -> None:
    rescuer, count, step = opened(header_of(), limit=limit), 0, 40
    records = healthy(40)
    while True:
        decision = decided(rescuer, [*records, *blown_up(20, step)])
        if not isinstance(decision, Action):
            break
        carried_out(rescuer, decision, step + 20)
        count, records, step = count + 1, [], step + 20
    assert count == expected
    assert isinstance(decision, Ending)


def test_three_skips_in_a_row_are_trouble_two_are_not() -> None:
    assert decided(opened(header_of()), healthy(40) + skipped(2, 40) + healthy(20, 42)) is None
    decision = decided(opened(header_of()), healthy(40) + skipped(3, 40))
    assert isinstance(decision, Action)


@pytest.mark.parametrize(
    ("requested", "cause", "advice"),
    [
        ({"norm": "none"}, "normalization", "norm=batch"),
        ({"act": "sigmoid"}, "activation", "act=silu"),
        ({"depth_mult": 4.0, "residual": False}, "depth", "residual=true"),
    ],
)
def test_what_is_built_in_ends_the_run_with_advice(
    requested: dict[str, Any], cause: str, advice: str
) -> None:
    ratios = (1e-5, 1e-2, 1.0, 10.0) if cause != "activation" else (1e-9, 1e-4, 1.0, 10.0)
    steps = [record(s, [r * (1 + 0.1 * math.sin(s)) for r in ratios], loss=8.0) for s in range(48)]
    decision = decided(opened(header_of(**requested)), steps)
    assert isinstance(decision, Ending)
    assert decision.cause == cause
    assert advice in decision.advice


def test_a_bad_initialization_restarts_once() -> None:
    rescuer = opened(header_of(init="gain:30"))
    explosion = [record(s, [3e9, 4e9, 2e9, 1e10], loss=1e9) for s in range(4)]
    first = decided(rescuer, explosion)
    assert isinstance(first, Action)
    assert (first.remedy, first.cause) == ("restart", "initialization")
    carried_out(rescuer, first, 4, restored=0)
    second = decided(rescuer, healthy(30, 4) + blown_up(20, 34))
    assert isinstance(second, Action)
    assert second.remedy != "restart"


def incident(
    step: int, *images: str, reproduced: bool = True, mixed: bool = False, **more: Any
) -> Event:
    data = {"reproduced": reproduced, "images": list(images), "mixed": mixed, **more}
    return Event(attempt=0, step=step, kind="incident", block=more.get("culprit_module"), data=data)


def module_incident(step: int, *images: str, **ranges: Any) -> Event:
    """A module that fails with all in range, or with other ranges."""
    block = "model.16 C3k2"
    more = {"culprit_module": block, "layer": block, "phase": "forward"}
    return incident(step, *images, **more, ranges={**RANGES, **ranges})


def test_an_image_that_is_blamed_twice_is_excluded_without_a_rollback() -> None:
    rescuer = opened(header_of())
    decided(rescuer, healthy(10))
    rescuer.event(incident(10, "a.png"))
    assert decided(rescuer, healthy(5, 10)) is None
    rescuer.event(incident(15, "a.png", "b.png"))
    action = decided(rescuer, healthy(1, 15))
    assert isinstance(action, Action)
    assert (action.remedy, action.images, action.roll_back) == ("quarantine", ("a.png",), False)
    rescuer.event(
        Event(attempt=0, step=16, kind="rescue", data={"remedy": "quarantine", "images": ["a.png"]})
    )
    assert decided(rescuer, healthy(20, 16)) is None


def test_the_only_image_of_a_batch_is_not_excluded() -> None:
    run = header_of()
    rescuer = opened(replace(run, effective={**run.effective, "batch": 1}))
    for step in (3, 6):
        rescuer.event(incident(step, "a.png"))
    assert decided(rescuer, healthy(20)) is None


def test_earlier_repairs_are_no_trouble_now() -> None:
    rescuer = opened(header_of())
    assert decided(rescuer, healthy(20)) is None
    for step in (20, 21, 22):
        rescuer.event(Event(attempt=0, step=step, kind="rollback", data={"restored_step": 16}))
    assert decided(rescuer, healthy(20, 20)) is None
    assert any((f.rule, f.severity) == ("recoveries", "critical") for f in rescuer.found)


def test_an_image_that_could_not_be_proven_guilty_is_not_blamed() -> None:
    rescuer = opened(header_of())
    for step in (3, 6, 9):
        rescuer.event(incident(step, "a.png", reproduced=False))
    assert decided(rescuer, healthy(20)) is None


def test_a_file_named_for_a_mosaic_is_not_excluded_and_the_next_remedy_explains_why() -> None:
    """Of the files that a mosaic is made of, the batch names but one."""

    def after(mixed: bool) -> Action:
        rescuer = opened(header_of())
        decided(rescuer, healthy(40))
        for step in (40, 41):
            rescuer.event(incident(step, "a.png", mixed=mixed))
        for each in skipped(3, 40):
            rescuer.observe(each)
        decision = rescuer.decide()
        assert isinstance(decision, Action)
        assert decision.cause == "data"
        return decision

    alone, mixed = after(mixed=False), after(mixed=True)
    assert (alone.remedy, alone.images) == ("quarantine", ("a.png",))
    assert (mixed.remedy, mixed.images) == ("tighten_clip", ())
    assert "no image is excluded" in mixed.why
    assert "no image is excluded" not in alone.why


@pytest.mark.parametrize("mode", ["auto", "quarantine"])
def test_no_image_is_excluded_on_one_incident(mode: str) -> None:
    """Skipping is enough until it is blamed again, and no other remedy acts on an image."""
    rescuer = opened(header_of(), mode=mode)
    decided(rescuer, healthy(40))
    rescuer.event(incident(40, "a.png"))
    assert decided(rescuer, skipped(3, 40)) is None
    rescuer.event(incident(43, "b.png"))
    assert decided(rescuer, [*healthy(8, 43), *skipped(3, 51)]) is None
    rescuer.event(incident(54, "a.png"))
    action = decided(rescuer, skipped(1, 54))
    assert isinstance(action, Action)
    assert (action.remedy, action.images) == ("quarantine", ("a.png",))


def test_a_module_that_computes_nan_ends_the_run_and_no_image_is_excluded() -> None:
    rescuer = opened(header_of())
    decided(rescuer, healthy(40))
    for step in (40, 41):  # the same image twice
        rescuer.event(module_incident(step, "a.png"))
    ending = decided(rescuer, skipped(3, 40))
    assert isinstance(ending, Ending)
    assert ending.cause == "module"
    assert "model.16 C3k2" in ending.why
    assert "correct the code of model.16 C3k2" in ending.advice
    quiet = opened(header_of())
    for step in (3, 6, 9):
        quiet.event(module_incident(step, "a.png"))
    assert decided(quiet, healthy(20)) is None


def test_an_image_that_is_bad_itself_is_excluded_though_a_module_failed() -> None:
    rescuer = opened(header_of())
    for step in (3, 6):
        rescuer.event(module_incident(step, "a.png", images_finite=False))
    action = decided(rescuer, healthy(20))
    assert isinstance(action, Action)
    assert (action.remedy, action.images) == ("quarantine", ("a.png",))


def test_no_image_is_excluded_for_weights_that_had_grown() -> None:
    rescuer = opened(header_of())
    for step in (3, 6):
        rescuer.event(module_incident(step, "a.png", weight_growth=80.0))
    assert decided(rescuer, healthy(20)) is None


def test_an_image_that_is_blamed_often_in_mosaics_is_not_excluded() -> None:
    rescuer = opened(header_of())
    for step in (3, 6, 9):
        rescuer.event(incident(step, "a.png", mixed=True))
    assert decided(rescuer, healthy(20)) is None


def test_quarantine_by_name_waits_for_its_culprit() -> None:
    rescuer = opened(header_of(), mode="quarantine")
    assert decided(rescuer, healthy(40) + blown_up(20, 40) + skipped(3, 60)) is None
    rescuer.event(incident(63, "a.png"))
    assert decided(rescuer, healthy(8, 63)) is None
    rescuer.event(incident(71, "a.png"))
    action = decided(rescuer, healthy(1, 71))
    assert isinstance(action, Action)
    assert (action.remedy, action.images, action.roll_back) == ("quarantine", ("a.png",), False)


@pytest.mark.parametrize("name", ["lower_rate", "tighten_clip", "rewarm"])
def test_a_named_remedy_is_always_taken(name: str) -> None:
    rescuer = opened(header_of(norm="none"), mode=name)
    action = decided(rescuer, healthy(40) + blown_up(20, 40))
    assert isinstance(action, Action)
    assert action.remedy == name


def test_random_choice_follows_from_the_seed_and_knows_no_cause() -> None:
    def first(seed: int) -> str:
        action = decided(
            opened(replace(header_of(), seed=seed), mode="random"), healthy(40) + blown_up(20, 40)
        )
        assert isinstance(action, Action)
        return action.remedy

    chosen = [first(seed) for seed in range(24)]
    assert chosen == [first(seed) for seed in range(24)]
    assert set(chosen) == {"lower_rate", "tighten_clip", "rewarm"}  # no AMP here


def test_every_cause_has_a_plan_or_advice_and_every_plan_known_remedies() -> None:
    assert {name for plan in PLANS.values() for name in plan} | {"rewarm"} == set(LIVE_REMEDIES)
    structural = {"normalization", "activation", "depth"}
    assert set(get_args(CauseName)) - set(PLANS) == structural | {
        "module",
        "evaluation",
        "settings",
    }
    assert set(NO_REMEDY) | set(PLANS) == set(get_args(CauseName))


def test_what_was_undone_is_forgotten() -> None:
    rescuer = opened(header_of())
    assert isinstance(decided(rescuer, healthy(40) + blown_up(20, 40)), Action)
    rescuer.undone(32)
    assert rescuer.context is not None
    assert rescuer.context.run.step.tolist() == list(range(32))
    assert decided(rescuer, healthy(60, 60)) is None


def test_what_was_done_before_is_no_sign_of_what_is_wrong_now() -> None:
    def decision(earlier: bool) -> Action:
        rescuer = opened(header_of())
        if earlier:
            rescuer.event(
                Event(
                    attempt=0,
                    step=10,
                    kind="rescue",
                    data={"remedy": "quarantine", "images": ["a.png"]},
                )
            )
        found = decided(rescuer, healthy(40) + blown_up(20, 40))
        assert isinstance(found, Action)
        return found

    assert decision(earlier=True) == decision(earlier=False)


@pytest.mark.parametrize(
    ("optimizer", "now", "then"),
    [
        ("SGD", "norm:10", "agc:0.01"),
        ("SGD", "none", "agc:0.01"),
        ("SGD", "agc:0.001", "agc:0.000333"),
        ("SGD", "norm:0.03", "norm:0.01"),
        ("AdamW", "norm:10", "norm:1"),
        ("AdamW", "norm:0.03", "norm:0.01"),
        ("AdamW", "agc:0.03", "agc:0.01"),
        ("AdamW", "none", "norm:1"),
    ],
)
def test_a_tighter_clip_is_tighter(optimizer: str, now: str, then: str) -> None:
    run = header_of(optimizer)
    rescuer = opened(replace(run, effective={**run.effective, "clip": now}), mode="tighten_clip")
    action = decided(rescuer, healthy(40) + blown_up(20, 40))
    assert isinstance(action, Action)
    assert action.value == then
    assert make_clip(then).name() == then.partition(":")[0]


def test_no_restart_where_loaded_weights_would_be_lost() -> None:
    run = header_of(init="gain:30")
    explosion = [record(s, [3e9, 4e9, 2e9, 1e10], loss=1e9) for s in range(4)]
    for lost in (
        replace(run, effective={**run.effective, "model": "yolo26n.pt"}),
        replace(run, requested={**run.requested, "pretrained": "mine.pt"}),
    ):
        action = decided(opened(lost), explosion)
        assert isinstance(action, Action)
        assert action.remedy == "lower_rate"


def test_images_without_a_file_name_cannot_be_excluded() -> None:
    """Classification batches do not name their files."""
    rescuer = opened(header_of())
    for step in (3, 6, 9):
        rescuer.event(incident(step, "image 0"))
    assert decided(rescuer, healthy(20)) is None


def test_remedies_that_helped_are_not_reported_as_failed() -> None:
    rescuer = opened(header_of(), limit=1)
    rescuer.event(
        Event(attempt=0, step=10, kind="rescue", data={"remedy": "lower_rate", "value": "0.5"})
    )
    rescuer.event(
        Event(attempt=0, step=42, kind="rescued", data={"remedy": "lower_rate", "since": 10})
    )
    ending = decided(rescuer, healthy(40) + blown_up(20, 40))
    assert isinstance(ending, Ending)
    assert "did not help" not in ending.advice


def test_trouble_of_the_last_steps_is_asked_for_before_they_are_saved() -> None:
    rescuer = opened(header_of())
    for each in [*healthy(100), *blown_up(3, 100)]:
        rescuer.observe(each)
    before = rescuer.decide()
    rescuer.ask()
    assert before is not None or rescuer.decide() is not None


def test_musgd_boosts_a_group_at_its_usual_rate() -> None:
    run = header_of("MuSGD", 0.01)
    groups = {"muon": {"lr": 0.01}, "head": {"lr": 0.03}}
    long = [replace(b, update_ratio=0.09) for b in record(20).blocks]
    steps = healthy(20) + [replace(r, blocks=tuple(long)) for r in healthy(8, 20)] + healthy(40, 28)
    assert (
        decided(opened(replace(run, effective={**run.effective, "groups": groups})), steps) is None
    )


def test_norms_that_wavered_before_do_not_date_the_trouble() -> None:
    """A state from between the two is as good as before."""
    wavering = [replace(r, grad_norm=13.0 * (3.0 if r.step % 2 else 1.0)) for r in healthy(100)]
    rescuer = opened(header_of("SGD", 0.01))
    action = decided(rescuer, wavering + blown_up(20, 100))
    assert "noise" in {f.rule for f in rescuer.found}
    assert isinstance(action, Action)
    assert action.onset is not None
    assert action.onset >= 100
