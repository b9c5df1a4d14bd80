"""The bench measures what it says: parts, rare work, intervals, verdicts, and a real round of it."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import bench  # noqa: E402
import cases  # noqa: E402
import verdicts  # noqa: E402
from estimate import (  # noqa: E402
    COLUMNS,
    FLUSH,
    MERGE,
    READING,
    Estimate,
    Turns,
    drawn,
    own_row,
    peer_row,
    shares_of,
    trace_draws,
    trimmed_mean,
)
from measure import Interleaver, Sample  # noqa: E402
from one_case import by_turn, rows  # noqa: E402
from parts import PARTS, SEAM, SHARED, PartClock, clocked_parts  # noqa: E402
from peers import PEERS  # noqa: E402
from stepping import Setup  # noqa: E402
from table import as_json, from_json, table  # noqa: E402
from traces import header, record  # noqa: E402
from variants import (  # noqa: E402
    AGAIN,
    CHEAPER_BUILD,
    DEARER_BUILD,
    FLUSH_SECONDS,
    FULL,
    GUARDED,
    MERGE_EVERY,
    RECORDED,
    RULES_EVERY,
    SAME_BUILD,
    SNAPSHOT_EVERY,
    STOCK,
    Variant,
    each,
    fill_window,
    halves_the_guard,
    makes_dearer,
    rare_work,
)

from yolo_stability.diagnosis.live import LiveRules  # noqa: E402
from yolo_stability.guard.guard import Guard  # noqa: E402
from yolo_stability.guard.snapshots import HealthyStates  # noqa: E402
from yolo_stability.trace import TraceWriter  # noqa: E402

STOCK_MS, SEAM_MS = 200.0, 5.0
OURS_MS = {SEAM: 5.4, "guard": 0.6, "incidents": 0.2, "record": 0.2, "updates": 0.0, "rules": 0.1}
RARE_MS = {"guard": 7.0, "updates": 6.0, "rules": 2.5}
"""What a part takes in a step in which its rare work is due."""
FLUSH_MS, MERGE_MS = 4.0, 40.0
RARE = {"updates": 10, "rules": RULES_EVERY, "guard": SNAPSHOT_EVERY}
SOLID = (
    {SEAM: 0.4, "guard": 0.6 + 6.4 / 32, "incidents": 0.2, "record": 0.2}
    | {"updates": 6.0 / 10, "rules": 0.1 + 2.4 / 16}
    | {"flush": 0.4 * FLUSH_MS, "merge": 0.4 / MERGE_EVERY * (MERGE_MS - FLUSH_MS)}
)
"""What each part adds to a step of a long run, in milliseconds: a step of 200 ms, a flush each 500 ms."""


class Machine:
    """A made-up machine: slow for seconds on end, and disturbed now and then, as one with other programs is."""

    def __init__(self, seed: int, noise: float = 0.02) -> None:
        self.random = np.random.Generator(np.random.PCG64(seed))
        self.noise, self.slow = noise, 1.0

    def turn(self) -> None:
        """Drift, for all variants alike."""
        self.slow = 1.0 + 0.3 * self.random.random()

    def sample(self, turn: int, parts: dict[str, float], **more: Any) -> Sample:
        """Return a step that takes so many milliseconds, disturbed."""
        burst = 1.0 + (0.5 if self.random.random() < 0.05 else 0.0)
        felt = {
            part: ms * self.slow * burst * (1 + self.noise * self.random.standard_normal())
            for part, ms in parts.items()
        }
        wall = sum(felt.values()) * (1 + 5 * self.noise * self.random.random())
        return Sample(turn, wall, felt, **{"others": 0.0, **more})


def stock_parts(slower: float = 1.0) -> dict[str, float]:
    """Return the parts of a stock step."""
    return {SHARED: (STOCK_MS - SEAM_MS) * slower, SEAM: SEAM_MS}


def watched(machine: Machine, turn: int, *, slower: float = 1.0, more: float = 0.0) -> Sample:
    """Return a step of ours, with the rare work that is due."""
    due = {part for part, n in RARE.items() if turn % n == 0}
    parts = {p: RARE_MS[p] if p in due else ms for p, ms in OURS_MS.items()}
    parts |= {SHARED: (STOCK_MS - SEAM_MS) * slower, SEAM: OURS_MS[SEAM] + more}
    flushed = turn % 2 == 0
    if flushed:
        due.add(MERGE if turn % (2 * MERGE_EVERY) == 0 else FLUSH)
    others = MERGE_MS if MERGE in due else FLUSH_MS if flushed else 0.0
    return machine.sample(turn, parts, others=others * machine.slow, due=frozenset(due))


def measured(
    seed: int, turns: int, *, slower: float = 1.0, more: float = 0.0, noise: float = 0.02
) -> dict[str, list[Sample]]:
    """Return what so many turns of stock, stock again and ours gave on a made-up machine."""
    machine, found = Machine(seed, noise), {name: list[Sample]() for name in (STOCK, AGAIN, FULL)}
    for turn in range(turns):
        machine.turn()
        for name in (STOCK, AGAIN):
            found[name].append(machine.sample(turn, stock_parts()))
        found[FULL].append(watched(machine, turn, slower=slower, more=more))
    return found


def row_of(samples: dict[str, list[Sample]]) -> Any:
    """Return the row of ours."""
    both = by_turn([*samples[STOCK], *samples[AGAIN]])
    turns = Turns(samples[FULL], both)
    merges = Turns([s for s in samples[FULL] if MERGE in s.due], both)
    trace = trace_draws(turns, merges, STOCK_MS)
    return own_row(FULL, turns, shares_of(turns, RARE), trace)


# Statistics


def test_a_trimmed_mean_counts_no_gaps_and_no_extremes() -> None:
    values = np.array([[1.0, 2.0, 3.0, 4.0, 500.0], [np.nan, 7.0, np.nan, np.nan, 9.0]])
    assert trimmed_mean(values).tolist() == [3.0, 8.0]
    assert np.isnan(trimmed_mean(np.array([np.nan])))


def test_the_interval_covers_the_truth_about_as_often_as_it_claims() -> None:
    random = np.random.Generator(np.random.PCG64(3))
    hits = 0
    for _ in range(200):
        found = Estimate.of(drawn(random.normal(1.01, 0.03, 60)))
        hits += found.low <= 1.01 <= found.high
    assert 180 <= hits <= 198


def test_each_part_is_found_on_a_busy_machine() -> None:
    """Rare work counts by its share; a trimmed mean over all steps would not see it."""
    row = row_of(measured(1, 320))
    for part, ms in SOLID.items():
        name = READING if part == SEAM else part
        assert row.parts[name].value * STOCK_MS == pytest.approx(ms, rel=0.15), part
    added = sum(SOLID.values()) / STOCK_MS
    assert row.added.value == pytest.approx(added, rel=0.05)
    assert row.added.high - row.added.low < 0.004
    assert row.thread.value == pytest.approx(
        1 + added - (SOLID["flush"] + SOLID["merge"]) / STOCK_MS, abs=0.001
    )
    assert row.unseen == []


@pytest.mark.parametrize("slower", [1.0, 1.02])
def test_ratios_are_those_that_were_made(slower: float) -> None:
    hits = 0
    for seed in range(20):
        row = row_of(measured(seed, 120, slower=slower))
        rest = (slower - 1) * (STOCK_MS - SEAM_MS) / STOCK_MS
        truth = 1 + rest + sum(SOLID.values()) / STOCK_MS
        hits += row.cpu.low <= truth <= row.cpu.high
        assert row.rest.value == pytest.approx(rest, abs=0.015)
        assert row.cpu.value == pytest.approx(truth, abs=0.016)
    assert hits >= 16


def test_what_is_clocked_is_far_narrower_than_the_rest() -> None:
    row = row_of(measured(5, 100, noise=0.03))
    assert row.clocked.high - row.clocked.low < (row.rest.high - row.rest.low) / 3


def test_work_that_never_came_is_named() -> None:
    samples = measured(1, 16)
    samples[FULL] = [replace(s, due=s.due - {"guard", MERGE}) for s in samples[FULL]]
    turns = Turns(samples[FULL], by_turn([*samples[STOCK], *samples[AGAIN]]))
    row = own_row(FULL, turns, shares_of(turns, RARE), trace_draws(turns, None, STOCK_MS))
    assert row.unseen == ["guard", "merge"]
    assert "guard" not in row.parts


def test_first_steps_count_their_rare_work_as_often_as_it_came() -> None:
    samples = {
        name: [replace(s, dense=True) for s in taken] for name, taken in measured(1, 40).items()
    }
    turns = Turns(samples[FULL], by_turn(samples[STOCK]))
    assert shares_of(turns, RARE) == {"updates": 0.1, "rules": 3 / 40, "guard": 2 / 40}


def test_a_peer_is_measured_whole_and_its_rare_work_by_its_share() -> None:
    machine, stock, taken = Machine(2, 0.005), [], []
    for turn in range(200):
        machine.turn()
        stock += [machine.sample(turn, stock_parts()) for _ in range(2)]
        rare = next((each(n) for n in (20, 5) if turn % n == 0), None)
        ms = {each(20): 40.0, each(5): 20.0, None: 2.0}[rare]
        due = frozenset([rare] if rare else [])
        taken.append(machine.sample(turn, {**stock_parts(), "extra": ms}, due=due))
    row = peer_row("peer", Turns(taken, by_turn(stock)), (20, 5))
    assert row.cpu.value == pytest.approx(1 + (2 * 0.8 + 20 * 0.15 + 40 * 0.05) / 200, abs=0.005)
    assert (row.clocked, row.parts, row.unseen) == (None, {}, [])


# Schedules


def test_the_schedule_of_the_rules_is_that_of_a_run() -> None:
    """They are asked of every 16th step once a run is no longer young."""
    rules = LiveRules()
    rules.open(header().blocks)
    asked = []
    for step in range(200):
        rules.observe(record(step, [1.0, 2.0, 1.5, 3.0], loss=5.0))
        asked += [step] if rules._since == 0 else []
    assert [b - a for a, b in itertools.pairwise(s for s in asked if s >= 64)] == [RULES_EVERY] * 7


def test_a_filled_window_is_what_a_long_run_shows_the_rules() -> None:
    rules = LiveRules()
    rules.open(header().blocks)
    for step in range(20):
        rules.observe(record(step, [1.0 + step, 2.0, 1.5, 3.0], loss=5.0 + step))
    fill_window(rules, every=4)
    asked = []
    for step in range(20, 40):
        assert rules.observe(record(step, [10.0, 2.0, 1.5, 3.0], loss=15.0)) == ()
        asked += [step] if rules._since == 0 else []
    assert rules._rows is not None
    seen = rules._rows.series(())
    assert seen.step.tolist() == list(range(40 - 512, 40))
    assert set(seen.loss[:-20].tolist()) == {5.0 + step for step in range(4, 20)}
    assert set(seen.block_norm[0, :-20].tolist()) == {1.0 + step for step in range(4, 20)}
    assert asked == [23, 27, 31, 35, 39]


def test_the_schedule_of_snapshots_is_that_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    monkeypatch.setattr(
        "yolo_stability.guard.snapshots.Snapshot.take",
        lambda self, state, step, place=0: (setattr(self, "step", step), taken.append(step)),
    )
    monkeypatch.setattr("yolo_stability.guard.snapshots.Snapshot.__init__", lambda *_: None)
    healthy = HealthyStates(None, 0)  # type: ignore[arg-type]
    for step in range(1, 300):
        healthy.observe(None, step, healthy=True)  # type: ignore[arg-type]
    late = [b - a for a, b in itertools.pairwise(taken) if a >= 64]
    assert set(late) == {SNAPSHOT_EVERY}


def test_the_schedule_of_merges_is_that_of_the_writer(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path, [b.name for b in header().blocks])
    writer._thread = writer  # type: ignore[assignment] - nobody flushes but this test
    sizes = []
    for step in range(3 * MERGE_EVERY + 2):
        writer.append(record(step, [1.0, 2.0, 1.5, 3.0], loss=5.0))
        writer._flush()
        sizes.append(len(writer._steps._tail))
    merged = [i for i, (a, b) in enumerate(itertools.pairwise(sizes)) if b <= a]
    assert {b - a for a, b in itertools.pairwise(merged)} == {MERGE_EVERY}
    assert writer._flush_seconds == FLUSH_SECONDS


def test_rare_work_follows_the_settings() -> None:
    assert rare_work({"guard": "off", "watch_every": 0}) == {"rules": RULES_EVERY}
    assert rare_work({"guard": "skip"}) == RARE


# Clocks


def busy(ms: float) -> None:
    """Compute for so long."""
    end = time.thread_time() + ms / 1000
    while time.thread_time() < end:
        pass


def test_each_moment_counts_for_one_part() -> None:
    clock = PartClock()
    inner = clock.around("guard", lambda: busy(4))

    def outer() -> str:
        busy(3)
        inner()
        return "done"

    clock.start()
    busy(2)
    assert clock.call(SEAM, outer) == "done"
    parts = clock.stop()
    assert parts == pytest.approx({SHARED: 2, SEAM: 3, "guard": 4}, abs=1)
    assert clock.calls == 2
    assert 0 < clock.cost() < 0.5


def test_a_part_that_raises_leaves_its_clock() -> None:
    clock = PartClock()
    clock.start()
    with pytest.raises(ZeroDivisionError):
        clock.call("guard", lambda: 1 / 0)
    clock.call(SEAM, busy, 3)
    parts = clock.stop()
    assert parts["guard"] < 1 < parts[SEAM]


def test_the_package_is_clocked_inside_the_context_only() -> None:
    before = {
        name: getattr(owner, name)
        for part in PARTS.values()
        for owner, names in part
        for name in names
    }
    with clocked_parts(PartClock()):
        assert Guard.accept is not before["accept"]
        assert Guard.accept.__wrapped__ is before["accept"]  # type: ignore[attr-defined]
    after = {
        name: getattr(owner, name)
        for part in PARTS.values()
        for owner, names in part
        for name in names
    }
    assert after == before


# Turns


class Idle:
    """Stands for a trainer; each step computes for a while."""

    def __init__(self, log: list[str], name: str, error: Exception | None = None) -> None:
        self.log, self.name, self.error = log, name, error

    def synchronize(self) -> None:
        """Wait for nothing."""

    def step(self, extra: Any) -> None:
        """Take a step."""
        self.log.append(self.name)
        if self.error:
            raise self.error


def idle_variants(log: list[str], names: Sequence[str], **more: Any) -> list[Variant]:
    """Return variants that do nothing."""
    return [Variant(name, Idle(log, name), **more) for name in names]  # type: ignore[arg-type]


def test_all_hosts_and_one_guest_take_a_turn_in_changing_order() -> None:
    log: list[str] = []
    hosts = idle_variants(log, [STOCK, AGAIN, "third"])
    guests = idle_variants(log, ["one", "two"], guest=True)
    turns = Interleaver([*hosts, *guests], PartClock())
    turns.warm_up(1)
    log.clear()
    turns.run(0.0)  # three turns at least
    turns.close()
    found = [log[i : i + 4] for i in range(0, 12, 4)]
    assert [set(turn) for turn in found] == [
        {STOCK, AGAIN, "third", guest} for guest in ("one", "two", "one")
    ]
    assert len({tuple(name for name in turn if name in {STOCK, AGAIN}) for turn in found}) == 2
    assert [s.turn for s in turns.samples["one"]] == [0, 2]


def test_a_guest_that_fails_is_named_and_a_host_that_fails_ends_it() -> None:
    log: list[str] = []
    bad = Variant("bad", Idle(log, "bad", ValueError("no")), guest=True)  # type: ignore[arg-type]
    turns = Interleaver([*idle_variants(log, [STOCK]), bad], PartClock())
    turns.warm_up(2)
    turns.close()
    assert turns.lost == ["bad: not measured, ValueError: no"]
    assert log.count("bad") == 1
    bad.guest = False
    with pytest.raises(ValueError, match="no"):
        Interleaver([bad], PartClock()).warm_up(1)


def built(calls: list[str], change: Callable[[Variant], None]) -> Any:
    """Return the loop of a changed build whose parts note their calls."""

    def noted(name: str) -> Callable[..., None]:
        return lambda *_, **__: calls.append(name)

    guard = SimpleNamespace(before_window=noted("copy"), largest_buffer=noted("check"))
    healthy = SimpleNamespace(observe=noted("snapshot"))
    recovery = SimpleNamespace(_healthy=healthy)
    loop = SimpleNamespace(_guard=guard, recovery=recovery, after_update=noted("record"))
    change(Variant("build", None, run=SimpleNamespace(loop=loop), rare=dict(RARE)))  # type: ignore[arg-type]
    return loop


def test_the_dearer_build_computes_longer_after_an_update() -> None:
    calls: list[str] = []
    loop = built(calls, lambda variant: makes_dearer(variant, 0.02))
    start = time.thread_time()
    loop.after_update()
    assert calls == ["record"]
    assert 0.02 <= time.thread_time() - start < 0.06


def test_the_cheaper_build_neither_copies_buffers_nor_takes_snapshots() -> None:
    calls: list[str] = []
    loop = built(calls, halves_the_guard)
    loop._guard.before_window()
    loop._guard.largest_buffer()
    loop.recovery._healthy.observe(None, 1, healthy=True)
    assert calls == ["check"]


# Verdicts


def est(value: float, half: float = 0.0002) -> Estimate:
    """Return a figure with an interval of that half width."""
    return Estimate(value, value - half, value + half)


@pytest.mark.parametrize(
    ("ratio", "half", "word"),
    [
        (1.015, 0.004, "within the goal"),
        (1.025, 0.004, "over the goal"),
        (1.018, 0.004, "cannot tell"),
    ],
)
def test_the_goal_is_met_missed_or_open(ratio: float, half: float, word: str) -> None:
    assert verdicts.goal_of(est(ratio, half)) == word


def test_the_rest_of_the_step_counts_when_it_is_slower_beyond_its_noise() -> None:
    row = row_of(measured(1, 64))
    noisy = replace(row, clocked=est(1.015), rest=est(0.01, 0.02))
    slower = replace(row, clocked=est(1.015), rest=est(0.02, 0.005))
    assert verdicts.counted(noisy) == est(1.015)
    assert verdicts.counted(slower).value == pytest.approx(1.03)


@pytest.mark.parametrize(
    ("part", "change", "half", "word"),
    [
        ("guard", 0.0, 0.0002, "no different"),
        ("guard", -0.0016, 0.0002, "cheaper"),
        ("reading", 0.01, 0.0006, "dearer"),
        ("reading", 0.0008, 0.0002, "no different"),
        ("reading", 0.0016, 0.0014, "no different"),
        ("rest of the step", 0.02, 0.008, "dearer"),
        ("rest of the step", 0.01, 0.008, "no different"),
    ],
)
def test_the_part_that_differs_clearly_decides(
    part: str, change: float, half: float, word: str
) -> None:
    quiet = {"record": est(0.0), part: est(change, half)}
    assert verdicts.Verdict.of(est(change, 0.001), quiet).word == word


def test_no_difference_is_claimed_where_none_could_be_seen() -> None:
    found = verdicts.Verdict.of(est(0.0, 0.01), {"guard": est(0.0, 0.01)})
    assert found.word == "cannot tell"


@pytest.mark.parametrize(("slow", "turns", "noise"), [("quiet", 150, 0.01), ("loaded", 100, 0.05)])
def test_builds_are_told_apart_on_a_quiet_and_on_a_loaded_machine(
    slow: str, turns: int, noise: float
) -> None:
    """The same build again, one with 1 % of a step more, one that lacks 0.3 ms of the guard."""
    machine = Machine(7, noise)
    changed = {SAME_BUILD: 0.0, DEARER_BUILD: 2.0, CHEAPER_BUILD: 0.0, FULL: 0.0}
    samples = {name: list[Sample]() for name in (STOCK, AGAIN, *changed)}
    for turn in range(turns):
        machine.turn()
        for name in (STOCK, AGAIN):
            samples[name].append(machine.sample(turn, stock_parts()))
        for name, more in changed.items():
            sample = watched(machine, turn, more=more)
            if name == CHEAPER_BUILD:
                halved = {**sample.parts, "guard": sample.parts["guard"] / 2}
                sample = replace(sample, parts=halved)
            samples[name].append(sample)
    variants = [
        Variant(name, None, run=None if name in {STOCK, AGAIN} else object(), rare=RARE)  # type: ignore[arg-type]
        for name in samples
    ]
    found = verdicts.verdicts_on(rows(variants, samples))
    assert {name: verdict["word"] for name, verdict in found.items()} == verdicts.CHANGED, slow


def written(folder: Path, name: str, row: Any, title: str = "case") -> str:
    """Write a file as the bench does, and return its path."""
    path = folder / name
    path.write_text(json.dumps({"cases": [{"title": title, "rows": as_json([row])}]}))
    return str(path)


def test_two_files_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = row_of(measured(1, 200, noise=0.01))
    dearer = row_of(measured(2, 200, noise=0.01, more=2.0))
    files = [written(tmp_path, name, row) for name, row in (("old", old), ("new", dearer))]
    assert bench.main(["compare", *files]) == 3
    assert "dearer: +" in capsys.readouterr().out
    assert bench.main(["compare", *files[::-1]]) == 0
    assert "cheaper: -" in capsys.readouterr().out
    assert bench.main(["compare", files[0], files[0]]) == 0
    assert "no different: +0.00 %" in capsys.readouterr().out
    other = written(tmp_path, "other", old, title="other case")
    assert bench.main(["compare", files[0], other]) == 4
    assert "no case in common" in capsys.readouterr().out


def test_rows_come_back_from_their_file() -> None:
    row = row_of(measured(1, 64))
    again = from_json(json.loads(json.dumps(as_json([row])))[0])
    assert again == replace(row, draws={})


def test_the_table_has_a_column_for_each_part() -> None:
    text = table([row_of(measured(1, 64))], STOCK_MS)
    assert text.startswith("one step of stock: 200.0 ms of CPU time")
    heading = next(line for line in text.splitlines() if line.startswith("added CPU ms"))
    assert heading.split()[-len(COLUMNS) :] == list(COLUMNS)


def test_the_exit_code_is_that_of_the_worst_case(capsys: pytest.CaptureFixture[str]) -> None:
    row = row_of(measured(1, 64))
    made = {
        "met": replace(row, clocked=est(1.01), rest=est(0.0), unseen=[]),
        "missed": replace(row, clocked=est(1.03), rest=est(0.0), unseen=[]),
        "few": replace(row, clocked=est(1.01), rest=est(0.0), unseen=[], turns=5),
    }
    written_as = {k: {"title": k, "rows": as_json([v])} for k, v in made.items()}
    for names, code in ((["met"], 0), (["met", "missed", "few"], 3), (["met", "few"], 4)):
        assert verdicts.goal_code([written_as[name] for name in names]) == code
    assert "few: 1.0100 (1.0098-1.0102), too few turns (5): cannot tell" in capsys.readouterr().out


# The command


@pytest.fixture(autouse=True)
def _in_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command prepares a process of its own; that of the tests is prepared already."""
    monkeypatch.setattr(bench, "isolate", lambda: tmp_path / "root")
    monkeypatch.setattr(bench, "without_trackers", lambda: None)
    tiny = Setup(model="yolo26n.yaml", imgsz=32, batch=2, accumulate=2)
    monkeypatch.setitem(cases.CASES, "tiny", tiny)


@pytest.mark.parametrize("args", [["--fast"], ["cases=detect,huge"], ["compare", "one.json"]])
def test_a_wrong_option_is_a_sentence(args: list[str]) -> None:
    with pytest.raises(SystemExit, match=r"^'[^']+' is not (an option|a case) of the bench"):
        bench.main(args)


@pytest.mark.trains
def test_a_short_bench_prints_and_writes_its_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bench.json"
    assert bench.main(["cases=tiny", "seconds=3", f"out={out}"]) in {0, 3, 4}
    text = capsys.readouterr().out
    assert "too few turns" in text
    found = json.loads(out.read_text())["cases"][0]
    names = {row["variant"] for row in found["rows"]}
    assert {AGAIN, FULL, RECORDED, GUARDED, ".item() per parameter"} <= names
    row = verdicts.full_row(found)
    assert all(row.parts[part].value > 0 for part in ("incidents", "record", "flush"))
    assert found["stock_ms"] > 0
    missing = [name for name, (package, _) in PEERS.items() if package and name not in names]
    assert [note for note in found["notes"] if "weights" in note] == []
    assert all(any(note.startswith(name) for note in found["notes"]) for name in missing)


@pytest.mark.trains
def test_a_short_bench_of_builds_has_a_verdict_on_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "builds.json"
    assert bench.main(["builds", "cases=tiny", "seconds=1", f"out={out}"]) in {0, 4}
    found = json.loads(out.read_text())["cases"][0]
    assert set(found["verdicts"]) == set(verdicts.CHANGED)
    text = capsys.readouterr().out
    assert all(f"\n{name}: " in text for name in (FULL, *verdicts.CHANGED))
    assert [note for note in found["notes"] if "weights" in note] == []


def test_without_a_gpu_the_gpu_bench_says_so(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = subprocess.run(
        [sys.executable, str(HERE / "gpu" / "bench.py")],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "needs a CUDA GPU" in done.stdout


def test_a_fine_tune_without_its_weights_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cases, "WEIGHTS", cases.REPO.parent / "absent")
    assert bench.main(["cases=tune-192"]) == 0
    assert "tune-192: not measured, yolov5nu-public.pt is absent" in capsys.readouterr().out
