"""Explanations of rules and causes: complete, true to the rules, and printable."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import pytest
from odd_runs import golden_folders

from yolo_stability.core.docstrings import attribute_texts
from yolo_stability.core.errors import ConfigError
from yolo_stability.core.findings import Finding
from yolo_stability.core.types import CauseName
from yolo_stability.diagnosis import example_series, explanations
from yolo_stability.diagnosis.advice import advice, measured_optimizers
from yolo_stability.diagnosis.base import Rule
from yolo_stability.diagnosis.cause_descriptions import CAUSE_DESCRIPTIONS
from yolo_stability.diagnosis.causes import rank_causes
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.example_series import example_curve
from yolo_stability.diagnosis.examples import healthy_run, with_rows
from yolo_stability.diagnosis.explanations import (
    CauseExplanation,
    RuleExplanation,
    explain,
    reported,
    rule_names_of,
)
from yolo_stability.diagnosis.rolling import ratio_of
from yolo_stability.diagnosis.rules import RULES
from yolo_stability.trace import load_trace
from yolo_stability.trace.arrays import EpochSeries, RunSeries, as_series

NAMES = [*RULES, *CAUSE_DESCRIPTIONS]


def explained(name: str) -> RuleExplanation:
    found = explain(name)
    assert isinstance(found, RuleExplanation)
    return found


def cause(name: str) -> CauseExplanation:
    found = explain(name)
    assert isinstance(found, CauseExplanation)
    return found


# --- every rule and every cause -------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [60, 80, 100])
def test_each_fits_its_width(name: str, width: int) -> None:
    lines = explain(name).lines(width)
    assert max(len(line) for line in lines) <= width
    assert all(line == line.rstrip() for line in lines)
    assert "What to try" in lines
    assert lines[0].startswith(f"{name}, a ")


@pytest.mark.parametrize("name", NAMES)
def test_each_is_strict_json(name: str) -> None:
    text = json.dumps(explain(name).to_json(), allow_nan=False)
    content = json.loads(text)
    assert content["name"] == name
    assert content["kind"] == ("rule" if name in RULES.names else "cause")
    assert content["remedies"]


@pytest.mark.parametrize("name", list(RULES))
def test_every_threshold_is_described_with_its_value(name: str) -> None:
    rule, found = RULES[name], explained(name)
    fields = dataclasses.fields(rule)  # type: ignore[arg-type]
    assert [(t.name, t.value) for t in found.thresholds] == [(f.name, f.default) for f in fields]
    assert set(attribute_texts(rule)) == {f.name for f in fields}
    for threshold in found.thresholds:
        assert len(threshold.meaning.split()) >= 6, threshold
        assert threshold.meaning.endswith("."), threshold
        assert not threshold.meaning.startswith(("See ", "...")), threshold


@pytest.mark.parametrize("name", list(RULES))
def test_the_marks_of_the_chart_are_the_steps_of_the_finding(name: str) -> None:
    found = explained(name)
    assert found.findings
    if found.curve is None:  # a rule that reads the settings
        assert not RULES[name].unsettles
        return
    curve, first = found.curve, found.findings[0]
    begin, end = (
        (first.first_step, first.last_step)
        if curve.axis == "step"
        else (first.first_epoch, first.last_epoch)
    )
    marked = set(curve.places[curve.fired].tolist())
    assert {begin, end} <= marked
    assert curve.values.shape == curve.places.shape == curve.fired.shape
    assert curve.healthy is None or curve.healthy.shape == curve.values.shape


@pytest.mark.parametrize("name", list(RULES))
def test_a_rule_supports_the_cause_that_its_example_is_ranked_under(name: str) -> None:
    rule = RULES[name]
    context = DiagnosisContext(rule.example())
    found = list(rule().look(context))
    if not found or not rule.unsettles:
        return
    first = rank_causes(context, found)[0].name
    assert first == "unknown" or first in rule.supports


# --- texts ----------------------------------------------------------------------------------------


def test_every_cause_is_described_and_its_rules_are_those_that_support_it() -> None:
    assert set(CAUSE_DESCRIPTIONS) == set(get_args(CauseName))
    for name, about in CAUSE_DESCRIPTIONS.items():
        assert about.name == name
        texts = [about.meaning, *about.points_to]
        assert all(text.endswith(".") for text in texts)
        assert about.remedies
        assert not any(text.endswith(".") for text in about.remedies if "..." not in text)
        assert cause(name).rules == tuple(r for r in RULES if name in RULES[r].supports)


def test_measured_advice_is_given_for_each_optimizer() -> None:
    assert measured_optimizers("learning_rate") == ("SGD", "AdamW")
    text = " ".join(" ".join(cause("learning_rate").lines()).split())
    for optimizer in ("SGD", "AdamW"):
        assert f"- {optimizer}: {advice('learning_rate', optimizer)}" in text
    assert "not measured" not in text
    assert "not measured" in str(cause("depth"))


def test_a_name_that_does_not_exist_gets_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'spikes'\. Did you mean 'spike'"):
        explain("spikes")
    with pytest.raises(ConfigError, match="Did you mean 'normalization'"):
        explain("normalisation")


def test_the_figures_of_five_recorded_healthy_runs_are_true() -> None:
    """Thresholds give them as reasons."""
    runs = [as_series(load_trace(folder)) for folder in golden_folders()]
    assert len(runs) == 5
    for run in runs:
        context = DiagnosisContext(run)
        assert np.nanmax(ratio_of(run.norm, context.usual_norm)) < 2.3
        assert np.nanmin(run.clip) >= 1.6e-4
        assert not (run.block_norm == 0).any()
        assert np.abs(run.loss).min() > context.first_loss / 15
        assert np.nanmin(run.norm) > context.first_norm / 30
        assert np.nanmin(context.depth) > 0.0067
        assert 0.4 <= np.median(context.depth[:16]) <= 1.1
        early = slice(1, 16)
        highest = np.fmax.accumulate(run.norm)[:15], np.fmax.accumulate(np.abs(run.loss))[:15]
        assert np.nanmax(run.norm[early] / highest[0]) <= 3.2
        assert np.nanmax(np.abs(run.loss[early]) / highest[1]) <= 1.1
        begin, later = np.median(run.loss[:16]), np.median(run.loss[48:64])
        assert (begin - later) / begin >= 0.46


# --- which series is drawn ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "quantity"),
    [
        ("exploding", "gradient norm"),
        ("collapse", "loss"),
        ("update_ratio", "update / weights of the block that changes most"),
        ("dead_block", "gradient norm of model.16 C3k2"),
        ("vanishing", "gradient norm of the first block / the head"),
        ("amp_overflow", "step skipped by AMP's scaler (1 = skipped)"),
        ("recoveries", "loss"),
    ],
)
def test_the_series_in_which_an_example_differs_is_drawn(name: str, quantity: str) -> None:
    curve = explained(name).curve
    assert curve is not None
    assert curve.quantity == quantity


def finding(**changes: Any) -> Finding:
    return Finding(rule="r", severity="warning", message="m", **changes)


def test_a_finding_about_a_column_draws_its_epochs() -> None:
    epochs = EpochSeries(
        epoch=np.arange(4),
        validated=np.ones(4, dtype=bool),
        fitness=np.zeros(4),
        values={"val/box_loss": np.array([2.0, 1.0, np.nan, np.nan]), "val/x": np.ones(4)},
        missing={},
        steps=np.full(4, 24),
    )
    run = replace(healthy_run(), epochs=epochs)
    curve = example_curve(run, [finding(column="val/box_loss", first_epoch=3, last_epoch=4)])
    assert curve is not None
    assert (curve.quantity, curve.axis) == ("val/box_loss", "epoch")
    assert curve.places.tolist() == [1, 2, 3, 4]
    assert curve.fired.tolist() == curve.bad.tolist() == [False, False, True, True]


def test_parts_of_the_loss_and_rates_are_drawn_by_name() -> None:
    parts = replace(healthy_run(), losses={"box_loss": np.zeros(96)})
    curve = example_curve(parts, [finding(first_step=8, last_step=95)])
    assert curve is not None
    assert curve.quantity == "box_loss"
    rates = replace(healthy_run(), rates={"bias": np.ones(96), "weight": np.ones(96)})
    curve = example_curve(rates, [], "rates/weight")
    assert curve is not None
    assert (curve.quantity, curve.fired.any()) == ("learning rate of weight", np.False_)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sampled(RunSeries):
    """A run whose weights were measured at some steps."""

    sampled: Any
    weight_norm: Any


def test_weights_that_were_measured_at_some_steps_are_drawn_with_gaps() -> None:
    healthy = healthy_run()
    given = {f.name: getattr(healthy, f.name) for f in dataclasses.fields(RunSeries)}
    given |= {"sampled": np.array([0, 40, 80]), "weight_norm": np.ones((5, 3))}
    jumped = np.ones((5, 3))
    jumped[2, 1:] = 7.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(example_series, "healthy_run", lambda steps: Sampled(**given))
        run = Sampled(**{**given, "weight_norm": jumped})
        curve = example_curve(run, [finding(first_step=40, last_step=40)])
    assert curve is not None
    assert curve.quantity == "norm of the weights of model.16 C3k2"
    assert curve.values[[0, 40, 80]].tolist() == [1.0, 7.0, 7.0]
    assert np.isfinite(curve.values).sum() == 3
    assert not curve.bad.any()


def test_epochs_are_reported_instead_of_steps() -> None:
    assert reported(finding(first_step=5, last_step=9)) == "warning at steps 5-9: m"
    assert reported(finding(first_step=5, first_epoch=2)) == "warning at epoch 2: m"
    assert reported(finding(first_epoch=2, last_epoch=4)) == "warning at epochs 2-4: m"
    assert reported(finding()) == "warning: m"


def test_a_run_that_is_healthy_in_everything_has_no_curve() -> None:
    assert example_curve(healthy_run(), [finding(first_step=0, last_step=95)]) is None
    assert example_curve(healthy_run(0), []) is None
    assert example_curve(healthy_run(), [], "rates/none") is None


# --- rules of other packages ----------------------------------------------------------------------


@dataclass(frozen=True)
class Bare(Rule):
    limit: float = 1e3
    word: str = "loud"

    def look(self, context):  # type: ignore[no-untyped-def]
        yield self.found("info", "seen", context=context, rows=(0, 1))

    @classmethod
    def example(cls):  # type: ignore[no-untyped-def]
        return with_rows(healthy_run(), slice(3, 4), loss=1e9)


class Broken(Bare):
    """Fails on everything."""

    def look(self, context):  # type: ignore[no-untyped-def]
        raise KeyError("column")


def test_a_rule_without_texts_is_explained_by_what_there_is() -> None:
    found = explanations._explained(Bare, "loud 1.0")
    assert found.prose == (str(__doc__).splitlines()[0],)
    assert (
        found.sign == "Explanations of rules and causes: complete, true to the rules, and printable"
    )
    text = str(found)
    assert text.startswith("test_explanations, a rule\n\nExplanations of rules")
    assert "limit = 1000: The package of the rule does not describe it." in text
    assert "word = loud: " in text
    assert "Package:   loud 1.0" in text
    assert "Points to: no cause by itself" in text
    assert json.dumps(found.to_json(), allow_nan=False)


def test_a_rule_that_fails_on_its_example_is_the_fault_of_its_package() -> None:
    with pytest.raises(
        ConfigError, match=r"of the package loud 1.0 fails on its own example: KeyE"
    ):
        explanations._explained(Broken, "loud 1.0")
    with pytest.raises(KeyError):
        explanations._explained(Broken, None)


def test_a_rule_that_cannot_be_imported_costs_no_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    class Registry(dict):  # type: ignore[type-arg]
        def __getitem__(self, name: str) -> type[Rule]:
            if name == "broken":
                raise ConfigError("cannot be imported")
            return RULES[name]

    monkeypatch.setattr(explanations, "RULES", Registry({"broken": 0, "spike": 0}))
    assert rule_names_of("data") == ("spike",)
