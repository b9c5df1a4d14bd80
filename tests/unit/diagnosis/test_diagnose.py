"""Verdicts and their reasons, from findings put together by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from traces import header, record, write

from yolo_stability.core.findings import Finding
from yolo_stability.diagnosis.base import Rule
from yolo_stability.diagnosis.context import DiagnosisContext
from yolo_stability.diagnosis.diagnose import (
    diagnose_context,
    diagnose_series,
    diagnose_trace,
    find_all,
)
from yolo_stability.diagnosis.examples import event, example_header, healthy_run, with_rows
from yolo_stability.diagnosis.rules import RULES
from yolo_stability.diagnosis.run_end import DIED
from yolo_stability.diagnosis.verdict import noticed
from yolo_stability.trace import load_trace
from yolo_stability.trace.arrays import RunSeries

RUN = healthy_run()


@dataclass(frozen=True, kw_only=True)
class Scripted(Rule):
    """A rule with preset findings."""

    findings: tuple[Finding, ...] = ()

    def look(self, context: DiagnosisContext) -> Iterator[Finding]:
        yield from self.findings

    @classmethod
    def example(cls) -> RunSeries:
        return RUN


def finding(severity: Any, first: int | None, last: int | None, rule: str = "spike") -> Finding:
    return Finding(
        rule=rule, severity=severity, message=f"{rule} {first}", first_step=first, last_step=last
    )


def verdict_of(
    monkeypatch: pytest.MonkeyPatch, *findings: Finding, run: RunSeries = RUN, **known: Any
) -> Any:
    """Diagnose a run in which the rules find exactly this."""
    ordered = find_all(DiagnosisContext(RUN), [Scripted(findings=findings)])
    monkeypatch.setattr("yolo_stability.diagnosis.diagnose.find_all", lambda context: ordered)
    return diagnose_context(DiagnosisContext(run, **known))


def test_findings_are_sorted_by_severity_and_then_time() -> None:
    given = (
        finding("info", 0, 1),
        finding("warning", 9, 9),
        finding("critical", 50, 60),
        finding("warning", 3, 99),
    )
    found = find_all(DiagnosisContext(RUN), [Scripted(findings=given)])
    assert [(f.severity, f.first_step) for f in found] == [
        ("critical", 50),
        ("warning", 3),
        ("warning", 9),
        ("info", 0),
    ]


def test_a_critical_finding_fails_a_run_if_it_reaches_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert verdict_of(monkeypatch, finding("critical", 40, 95)).verdict == "failed"
    assert verdict_of(monkeypatch, finding("critical", 40, 88)).verdict == "failed"
    assert verdict_of(monkeypatch, finding("critical", 40, 80)).verdict == "unstable"
    assert verdict_of(monkeypatch, finding("critical", 40, None)).verdict == "failed"
    both = verdict_of(
        monkeypatch, finding("critical", 20, 30), finding("critical", 70, 95, "collapse")
    )
    assert both.verdict == "failed"
    assert both.why == "collapse 70; first sign: spike 20"
    assert both.time_to_divergence == 20


def test_a_warning_is_heard_and_changes_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    warned = verdict_of(monkeypatch, finding("warning", 5, 95), finding("warning", 6, 7, "noise"))
    assert (warned.verdict, warned.time_to_divergence) == ("stable", None)
    assert warned.why.endswith("a warning that decides nothing: spike 5 and 1 other warning")
    assert noticed(warned)
    assert warned.causes
    advised = verdict_of(
        monkeypatch, finding("warning", 0, 95, "dropped_images"), finding("info", 3, 95)
    )
    assert (advised.verdict, advised.causes, advised.cause, len(advised.findings)) == (
        "stable",
        (),
        None,
        2,
    )
    assert not noticed(advised)


def test_the_first_sign_is_reported_only_if_it_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = verdict_of(monkeypatch, finding("critical", 40, 95), finding("warning", 60, 61))
    assert alone.why == "spike 40"
    later = verdict_of(monkeypatch, finding("critical", 40, 95), finding("warning", 7, 61, "noise"))
    assert later.why == "spike 40; first sign: noise 7"


@pytest.mark.parametrize("outcome", list(DIED))
def test_a_death_is_no_verdict_by_itself(monkeypatch: pytest.MonkeyPatch, outcome: str) -> None:
    found = verdict_of(monkeypatch, finding("warning", 5, 6), outcome=outcome)
    assert found.verdict == "inconclusive"
    assert found.why.startswith(f"{DIED[outcome]} after step 95; a warning")
    assert found.end is not None
    assert found.end.state == ("exception" if outcome == "crashed" else "killed")
    failed = verdict_of(monkeypatch, finding("critical", 40, 95), outcome=outcome)
    assert (failed.verdict, failed.why) == ("failed", f"spike 40; {DIED[outcome]} after step 95")


@pytest.mark.parametrize("outcome", list(DIED))
def test_a_death_without_any_finding_has_no_cause(outcome: str) -> None:
    quiet = diagnose_series(RUN, outcome=outcome)
    assert (quiet.verdict, quiet.cause) == ("inconclusive", None)
    assert quiet.why.startswith(f"{DIED[outcome]} after step 95; no sign of trouble in 96 steps")
    assert (
        diagnose_series(healthy_run(0), outcome=outcome).why
        == f"no step was recorded; {DIED[outcome]} at its start"
    )


def test_a_run_that_did_not_come_to_its_end_was_interrupted_unless_the_guard_ended_it() -> None:
    broken_off = diagnose_series(replace(RUN, completed=False))
    assert broken_off.verdict == "inconclusive"
    assert broken_off.why.startswith("interrupted after 5 epochs; no sign of trouble")
    stopped = diagnose_series(replace(RUN, completed=False), outcome="stopped")
    assert stopped.why.startswith("stopped by the user after 5 epochs; no sign of trouble")
    ended = diagnose_series(
        replace(RUN, completed=False, stop_step=95, events=(event("guard_stop", 95),))
    )
    assert (ended.verdict, ended.findings[0].rule) == ("failed", "non_finite")
    assert "the guard stopped the run at step 95" in ended.why


def test_time_to_divergence_counts_from_the_first_step_recorded() -> None:
    run = with_rows(RUN, slice(60, 96), loss=np.nan)
    found = diagnose_series(replace(run, step=run.step + 500))
    assert (found.findings[0].first_step, found.time_to_divergence) == (560, 60)


def test_settings_are_read_unless_they_are_masked(tmp_path: Any) -> None:
    records = [record(s, (3e-5, 4.0, 2.0, 12.0), loss=8.0 - 0.1 * s) for s in range(40)]
    settings = {"requested": {"init": "gain:9", "lr0": 3}, "run_id": "it"}
    trace = load_trace(write(tmp_path, records, **settings))
    informed, masked = diagnose_trace(trace), diagnose_trace(trace, masked=True)
    assert (informed.run_id, masked.run_id) == ("it", "it")
    assert informed.cause == "initialization"
    assert masked.cause == "normalization"
    assert "ignored_settings" in {f.rule for f in informed.findings}
    assert "ignored_settings" not in {f.rule for f in masked.findings}


def test_a_calm_run_is_reported_with_its_highest_norm() -> None:
    run = with_rows(RUN, slice(80, 81), norm=RUN.norm[80] * 10)
    usual = float(np.median(RUN.norm[:80]))
    times = 10 * RUN.norm[80] / usual
    assert diagnose_series(run).why.endswith(
        f"the gradient norm reached {times:.3g} times its running median"
    )
    assert diagnose_series(healthy_run(16)).why.startswith(
        "the model was never validated; no sign of trouble in 16 steps: the gradient norm reached "
    )


def test_each_rules_example_is_noticed_unless_it_is_advice() -> None:
    for name in RULES:
        found = diagnose_series(RULES[name].example(), header=example_header())
        own = [f for f in found.findings if f.rule == name]
        assert own, name
        serious = any(f.severity != "info" and f.resolved_by is None for f in own)
        assert noticed(found) == (serious and RULES[name].unsettles), name
        critical = any(f.severity == "critical" for f in found.findings)
        assert (found.verdict in {"failed", "unstable"}) == critical, name


def test_headers_of_the_traces_module_are_settings_without_trouble() -> None:
    assert diagnose_series(RUN, header=header()).findings == ()
