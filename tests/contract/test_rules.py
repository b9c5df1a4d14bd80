"""What every rule must keep; a new file in `rules/` is picked up by itself."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from odd_runs import cut, disturbed_runs, frozen, golden_folders

from yolo_stability.core.findings import Finding
from yolo_stability.core.types import CauseName, Trace
from yolo_stability.diagnosis.base import Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.diagnose import diagnose_trace, find_all
from yolo_stability.diagnosis.examples import example_header, healthy_run
from yolo_stability.diagnosis.rules import RULES
from yolo_stability.report.phrases import SIGNS
from yolo_stability.trace import load_trace
from yolo_stability.trace.arrays import RunSeries, as_series

NAMES = list(RULES)
SEVERE = {"info": 0, "warning": 1, "critical": 2}
GOLDEN = golden_folders()
rules = pytest.mark.parametrize("name", NAMES)


@cache
def golden(folder: Path) -> Trace:
    return load_trace(folder)


def looked(rule: Rule, context: DiagnosisContext) -> list[Finding]:
    return list(rule.look(context))


def example_context(name: str) -> DiagnosisContext:
    return DiagnosisContext(RULES[name].example(), header=example_header())


# --- what a rule is -------------------------------------------------------------------------------


@rules
def test_a_rule_is_a_frozen_dataclass_of_documented_numbers(name: str) -> None:
    cls = RULES[name]
    assert cls.name() == name
    assert inspect.getmodule(cls).__all__ == [cls.__name__]
    assert dataclasses.is_dataclass(cls)
    assert cls.__dataclass_params__.frozen
    documented = str(cls.__doc__).partition("Attributes:")[2]
    for field in dataclasses.fields(cls):
        assert field.default is not dataclasses.MISSING
        assert isinstance(field.default, int | float)
        assert re.search(rf"^\s+{field.name}: \S", documented, re.MULTILINE), (
            f"{name}.{field.name} is not documented"
        )
    for text in (RULES.summaries[name], str(cls.__doc__).splitlines()[0], str(cls.example.__doc__)):
        assert text.endswith(".")
    with pytest.raises(dataclasses.FrozenInstanceError):
        cls().anything = 1  # type: ignore[attr-defined]


@rules
def test_a_rule_has_a_phrase_and_names_causes_that_exist(name: str) -> None:
    cls = RULES[name]
    assert cls.sign, f"{name} has no sign: ClassVar[str], its phrase in reports"
    assert len(cls.sign) < 60
    assert not cls.sign.endswith(".")
    assert set(cls.supports) <= set(get_args(CauseName))
    assert SIGNS[name] == cls.sign
    assert len(cls.prose()[0]) > 20


@rules
def test_a_rule_fires_on_its_own_example(name: str) -> None:
    found = looked(RULES[name](), example_context(name))
    assert found
    assert {f.rule for f in found} == {name}


@rules
def test_findings_are_sane(name: str) -> None:
    context = example_context(name)
    for finding in looked(RULES[name](), context):
        assert finding.severity in SEVERE
        assert 10 < len(finding.message) < 300
        assert "\n" not in finding.message + finding.remedy
        assert not finding.message.endswith(".")
        assert not re.search(r"\bnan\b|\binf\b|[.\d]{9}", finding.message)
        assert finding.remedy or finding.severity != "critical"
        assert finding.block is None or finding.block in context.run.names
        assert finding.first_step is not None
        assert finding.last_step is not None
        assert 0 <= finding.first_step <= finding.last_step <= context.step_at(-1)


# --- silence --------------------------------------------------------------------------------------


@rules
@pytest.mark.parametrize("steps", [1, 2, 5, 8, 9, 16, 17, 40, 96, 500, 3000])
def test_a_rule_is_silent_on_a_healthy_run(name: str, steps: int) -> None:
    assert looked(RULES[name](), DiagnosisContext(healthy_run(steps))) == []
    assert (
        looked(RULES[name](), DiagnosisContext(healthy_run(steps), controls=[healthy_run(60)]))
        == []
    )


@rules
@pytest.mark.parametrize("folder", GOLDEN, ids=[f.name for f in GOLDEN])
def test_a_rule_is_silent_on_golden_runs_at_every_moment(name: str, folder: Path) -> None:
    """During the runs and at their end, with settings none of which was ignored."""
    trace = golden(folder)
    run = as_series(trace)
    for rows in [*range(1, 40), *range(40, run.step.size, 5), run.step.size]:
        assert (
            looked(
                RULES[name](),
                DiagnosisContext(cut(run, rows), header=trace.header, live=rows < run.step.size),
            )
            == []
        )


def test_golden_runs_are_called_stable() -> None:
    assert len(GOLDEN) >= 3
    for folder in GOLDEN:
        for masked in (False, True):
            found = diagnose_trace(golden(folder), masked=masked)
            assert (found.verdict, found.findings, found.causes, found.cause) == (
                "stable",
                (),
                (),
                None,
            )


def test_golden_runs_hold_each_others_place_as_controls() -> None:
    """A run of another seed or recipe, but the same task and model, is a control."""
    for folder in GOLDEN:
        alike = [golden(f) for f in GOLDEN if f.name.split("-")[0] == folder.name.split("-")[0]]
        alike = [
            t
            for t in alike
            if t.header.requested["model"] == golden(folder).header.requested["model"]
        ]
        found = diagnose_trace(golden(folder), controls=[as_series(t) for t in alike])
        assert (found.verdict, found.findings) == ("stable", ())


# --- purity and time ------------------------------------------------------------------------------


@rules
def test_a_rule_changes_nothing_and_is_deterministic(name: str) -> None:
    run, rule = frozen(RULES[name].example()), RULES[name]()
    context = DiagnosisContext(run, header=example_header(), controls=[frozen(healthy_run(60))])
    first = looked(rule, context)
    assert (
        first
        == looked(rule, context)
        == looked(
            RULES[name](), DiagnosisContext(run, header=context.header, controls=context.controls)
        )
    )


def complaints(name: str, run: RunSeries) -> Iterator[str]:
    """Yield findings that a rule retracted, or moved in time, as a run continued.

    A finding may give way to a severer one, which may become known later. Advice (info) describes
    the current run and may therefore change.
    """
    before: list[Finding] = []
    for rows in range(1, run.step.size + 1):
        now = looked(
            RULES[name](), DiagnosisContext(cut(run, rows), header=example_header(), live=True)
        )
        for old in before:
            same = [
                f
                for f in now
                if f.first_step == old.first_step and SEVERE[f.severity] >= SEVERE[old.severity]
            ]
            severer = [f for f in now if SEVERE[f.severity] > SEVERE[old.severity]]
            if not same and not severer:
                yield f"after {rows} steps: {old} became {now}"
        for finding in now:
            if not (finding.first_step or 0) <= (finding.last_step or 0) <= int(run.step[rows - 1]):
                yield f"after {rows} steps: {finding} is of the future"
        before = [f for f in now if f.severity != "info"]


@rules
def test_a_rule_does_not_retract_findings_of_any_example(name: str) -> None:
    for other in NAMES:
        assert list(complaints(name, RULES[other].example())) == []


@rules
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(run=disturbed_runs(most=60))
def test_a_rule_does_not_retract_findings_of_any_run(name: str, run: RunSeries) -> None:
    assert list(complaints(name, run)) == []


def test_findings_come_most_severe_first_and_then_in_time() -> None:
    run = RULES["collapse"].example()
    found = find_all(DiagnosisContext(run, header=example_header()))
    ranks = [(-SEVERE[f.severity], f.first_step) for f in found]
    assert len(found) >= 3
    assert ranks == sorted(ranks)  # type: ignore[type-var]
    assert find_all(DiagnosisContext(run), [RULES["spike"]()]) == ()
    assert find_all(DiagnosisContext(healthy_run(0), header=example_header())) == ()
