"""A whole search on runs that train nothing: edges, seeds, resuming, cost, and what is said about them."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from fake_runs import FakeExecutor, Killed, below, find
from hypothesis import given, settings
from hypothesis import strategies as st

from yolo_stability.benchmarks.plan import RunOutcome
from yolo_stability.core.errors import ConfigError, StabilityError
from yolo_stability.core.lock import LOCK_FILE
from yolo_stability.studies.frontier.result import FRONTIER_FILE


@settings(max_examples=25)
@given(st.floats(1.01, 999.0), st.floats(1.1, 10))
def test_a_known_threshold_is_found_within_the_resolution(
    threshold: float, resolution: float
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        result = find(Path(folder) / "out", below(threshold), resolution=resolution)
    (edge,) = result.edges
    assert edge.status == "found"
    assert edge.highest_stable is not None
    assert edge.lowest_failing is not None
    assert edge.highest_stable < threshold <= edge.lowest_failing
    assert edge.lowest_failing / edge.highest_stable <= resolution * 1.002
    steps = math.ceil(math.log(1000) / math.log(resolution))
    assert len(result.points) <= 2 + math.ceil(math.log2(steps)) + 1


@settings(max_examples=25)
@given(st.lists(st.floats(2, 900), min_size=2, max_size=4))
def test_the_edge_over_seeds_is_that_of_the_weakest_and_disagreement_is_told(
    thresholds: list[float],
) -> None:
    def truth(value: float, clip: str, seed: int) -> Any:
        return "stable" if value < thresholds[seed] else "unstable"

    with tempfile.TemporaryDirectory() as folder:
        (edge,) = find(Path(folder) / "out", truth, seeds=len(thresholds)).edges
    assert edge.highest_stable is not None
    assert edge.lowest_failing is not None
    assert edge.all_failing is not None
    assert edge.highest_stable < min(thresholds) <= edge.lowest_failing
    assert edge.all_failing >= max(thresholds)
    for seed in edge.seeds:
        assert seed.highest_stable is not None
        assert seed.lowest_failing is not None
        assert seed.highest_stable < thresholds[seed.seed] <= seed.lowest_failing
    ratio = max(thresholds) / min(thresholds)
    if ratio > 1.5**2:  # more than one step apart, wherever the steps lie
        assert edge.agree is False
    if ratio < 1.01:
        assert edge.agree is True
    apart = len({seed.lowest_failing for seed in edge.seeds}) > 1
    assert (f"({len(thresholds)} of {len(thresholds)} seeds" not in edge.sentence) == apart


def test_settings_have_edges_of_their_own(tmp_path: Path) -> None:
    limits = {"norm:10": 100.0, "none": 5.0}
    result = find(
        tmp_path / "out",
        lambda value, clip, seed: "stable" if value < limits[clip] else "unstable",
        clip="norm:10,none",
        resolution=10.0,
        seeds=3,
    )
    assert [(e.label, e.highest_stable, e.lowest_failing) for e in result.edges] == [
        ("clip 10", 10.0, 100.0),
        ("no clip", 1.0, 10.0),
    ]
    assert result.edges[1].sentence == (
        "no clip: the largest stable lr_mult is between 1 and 10 (3 of 3 seeds; at 10 divergence from step 12); "
        "mAP50 0.50 at 1."
    )
    assert not result.open
    written = json.loads((tmp_path / "out" / FRONTIER_FILE).read_text())
    assert written["complete"] is True
    assert written["schema_version"] == 1
    assert len(written["points"]) == len(result.points) == result.cost["runs"]


def test_the_same_again_runs_nothing_and_says_the_same(tmp_path: Path) -> None:
    first = find(tmp_path / "out", below(40.0), seeds=2)
    executor = FakeExecutor()
    again = find(tmp_path / "out", below(40.0), executor, seeds=2)
    assert executor.ran == []
    assert again == first


def test_a_killed_search_goes_on_where_it_was(tmp_path: Path) -> None:
    whole = FakeExecutor()
    expected = find(tmp_path / "whole", below(40.0), whole, seeds=2)
    dying = FakeExecutor()
    dying.dies_after = 5
    with pytest.raises(Killed):
        find(tmp_path / "out", below(40.0), dying, seeds=2)
    left = json.loads((tmp_path / "out" / FRONTIER_FILE).read_text())
    assert left["complete"] is False
    assert len(left["points"]) == 4  # the round with both ends; the fifth run is of the next one
    rest = FakeExecutor()
    result = find(tmp_path / "out", below(40.0), rest, seeds=2)
    assert sorted(dying.ran + rest.ran) == sorted(whole.ran)
    assert result.edges == expected.edges


def test_a_run_that_was_killed_is_run_again_the_next_time(tmp_path: Path) -> None:
    executor = FakeExecutor()
    executor.outcome = "killed"
    result = find(tmp_path / "out", lambda value, clip, seed: "crashed", executor)
    assert [point.value for point in result.lost] == [1.0, 1000.0]
    assert any(line.startswith("- lost: recipe, lr_mult=1, seed 0") for line in result.lines())
    again = FakeExecutor()
    assert find(tmp_path / "out", below(40.0), again).edges[0].status == "found"
    assert {value for value, _, _ in again.ran} >= {1.0, 1000.0}


def test_another_recipe_is_run_anew(tmp_path: Path) -> None:
    find(tmp_path / "out", below(40.0))
    executor = FakeExecutor()
    find(tmp_path / "out", below(40.0), executor, epochs=3)
    assert len(executor.ran) == 6


def test_a_wider_grid_of_settings_finds_the_runs_of_a_narrower_one(tmp_path: Path) -> None:
    find(tmp_path / "out", below(40.0), clip="norm:10,none")
    executor = FakeExecutor()
    find(tmp_path / "out", below(40.0), executor, clip="none,value:1,norm:10")
    assert {clip for _, clip, _ in executor.ran} == {"value:1"}


def test_a_plain_grid_runs_every_value_and_says_what_bisection_saves(tmp_path: Path) -> None:
    executor = FakeExecutor()
    result = find(tmp_path / "out", below(40.0), executor, grid=19)
    assert len(executor.ran) == 19
    assert result.edges[0].monotone is True
    assert result.edges[0].highest_stable == 31.62
    bisected = find(tmp_path / "other", below(40.0))
    assert bisected.edges[0].highest_stable == 31.62
    assert bisected.edges[0].monotone is None
    cost = result.cost
    assert (cost["runs"], cost["seconds"], cost["bisection_same_edges"]) == (19, 38.0, True)
    assert cost["bisection_runs"] == len(bisected.points) == bisected.cost["runs"]
    assert cost["bisection_seconds"] == bisected.cost["seconds"]
    assert bisected.cost["grid_runs"] == 19
    assert "a grid of these values would take 19 runs, 3.2 times as many" in bisected.lines()[2]
    few = find(tmp_path / "few", below(40.0), resolution=1000.0)
    assert few.lines()[2].endswith("a grid of these values would take as many")


def test_a_grid_shows_that_stability_is_not_monotone(tmp_path: Path) -> None:
    result = find(
        tmp_path / "out",
        lambda v, clip, seed: "unstable" if v > 100 or v == 10 else "stable",
        grid=4,
    )
    (edge,) = result.edges
    assert (edge.highest_stable, edge.lowest_failing, edge.monotone) == (1.0, 10.0, False)
    assert edge.seeds[0].stable_again == (100.0,)
    assert "not monotone: seed 0 is stable again at 100" in edge.sentence
    lucky = find(
        tmp_path / "other",
        lambda v, clip, seed: "unstable" if v > 500 or 3 < v < 10 else "stable",
        grid=20,
    )
    assert lucky.cost["bisection_same_edges"] is False
    assert "other edges" in lucky.lines()[2]


@pytest.mark.parametrize(
    ("truth", "status", "said"),
    [
        (
            below(0.0),
            "nothing",
            "nothing is stable, not even lr_mult=1 (2 of 2 seeds failed there, at 1 divergence",
        ),
        (
            below(1e9),
            "everything",
            "no edge: stable as far as lr_mult=1000 (2 seeds; both ends are, between them nothing was tried); "
            "mAP50 0.50 at 1, 0.50 at 1000",
        ),
        (
            lambda v, c, s: "inconclusive",
            "undecided",
            "nothing is known to be stable; 4 runs said neither: lr_mult=1",
        ),
        (
            lambda v, c, s: "stable" if v < 9 else "crashed",
            "undecided",
            "stable up to 4.642; 6 runs said neither: lr_mult=",
        ),
    ],
)
def test_no_edge_is_one_sentence(tmp_path: Path, truth: Any, status: str, said: str) -> None:
    result = find(tmp_path / "out", truth, seeds=2)
    assert [edge.status for edge in result.open] == [status]
    assert said in result.edges[0].sentence
    assert result.edges[0].agree is None


@pytest.mark.parametrize(
    ("ends", "truth", "said"),
    [
        ((1.0, 1e3), below(0.0), "a smaller from= may find the edge"),
        ((1.0, 1e3), below(1e9), "a larger to= may find the edge"),
        ((1e3, 1.0), below(0.0), "a larger from= may find the edge"),
        ((1e3, 1.0), below(1e9), "a smaller to= may find the edge"),
    ],
)
def test_where_to_look_for_an_edge_that_was_not_met(
    tmp_path: Path, ends: tuple[float, float], truth: Any, said: str
) -> None:
    result = find(tmp_path / "out", truth, start=ends[0], end=ends[1])
    assert result.edges[0].sentence.endswith(f"; {said}.")


def test_undecided_runs_are_named_and_never_called_stable(tmp_path: Path) -> None:
    result = find(
        tmp_path / "out",
        lambda v, c, s: "stable" if v < 20 else "crashed" if v < 60 else "unstable",
    )
    (edge,) = result.edges
    assert edge.highest_stable is not None
    assert edge.lowest_failing is not None
    assert edge.highest_stable < 20
    assert 60 < edge.lowest_failing < 150
    assert [p.value for p in result.points if p.verdict == "crashed"] == list(
        edge.seeds[0].undecided
    )
    assert f"undecided at {edge.seeds[0].undecided[0]:g}" in edge.sentence


def test_the_smaller_end_may_be_the_unstable_one(tmp_path: Path) -> None:
    result = find(
        tmp_path / "out", lambda v, c, s: "stable" if v > 5 else "unstable", start=1000.0, end=1.0
    )
    assert result.edges[0].highest_stable == 6.813
    assert "the smallest stable lr_mult is between 4.642 and 6.813" in result.edges[0].sentence


def test_checkpoints_are_dropped_and_nothing_else(tmp_path: Path) -> None:
    class Training(FakeExecutor):
        def run(self, specs: Any, out: Path, on_start: Any) -> Any:
            for spec, outcome in super().run(specs, out, on_start):
                for file in ("weights/last.pt", "stability/healthy.pt", "stability/header.json"):
                    (out / spec.folder / file).parent.mkdir(exist_ok=True)
                    (out / spec.folder / file).write_text("x")
                yield spec, outcome

    find(tmp_path / "out", below(40.0), Training())
    assert not list((tmp_path / "out").rglob("*.pt"))
    assert len(list((tmp_path / "out").rglob("header.json"))) == 6


def test_a_frontier_shows_itself(tmp_path: Path) -> None:
    found = find(tmp_path / "out", below(40.0), clip="norm:10,none", seeds=2)
    assert (
        repr(found) == f"<FrontierResult 'lr_mult': settings 2, runs {len(found.points)}, complete>"
    )
    assert str(found).splitlines() == found.lines()
    assert found._repr_html_().count("<li>") == len(found.lines()) - 1


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"holds other things \(plan\.json\)"):
        find(tmp_path, below(40.0))
    assert [f.name for f in tmp_path.iterdir()] == ["plan.json"]
    with pytest.raises(ConfigError, match="is a file"):
        find(tmp_path / "plan.json", below(40.0))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="who is alive is read from /proc")
def test_two_searches_in_one_folder_are_refused(tmp_path: Path) -> None:
    find(tmp_path / "out", below(40.0))
    code = "import sys; from pathlib import Path; from yolo_stability.trace import lock_folder; "
    code += "lock_folder(Path(sys.argv[1])); print('there', flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "out")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ),
    )  # fmt: skip
    assert other.stdout is not None
    assert other.stdin is not None
    other.stdout.readline()
    told = rf"Another run .* in '{tmp_path / 'out'}': wait until it ends, or choose another out=\."
    with pytest.raises(StabilityError, match=told):
        find(tmp_path / "out", below(40.0))
    other.stdin.close()
    other.wait()
    other.stdout.close()
    (tmp_path / "out" / LOCK_FILE).unlink(missing_ok=True)
    assert find(tmp_path / "out", below(40.0)).complete


def test_a_search_of_another_machine_in_the_same_folder_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    find(tmp_path / "out", below(40.0))
    assert capsys.readouterr().err == ""
    (tmp_path / "out" / LOCK_FILE).write_text(json.dumps({"host": "else\x1b[31mwhere", "pid": 7}))
    assert find(tmp_path / "out", below(40.0)).complete
    told, err = capsys.readouterr()
    assert told == ""
    assert (
        f"stability: '{tmp_path / 'out'}' was last used by process 7 on else\\x1b[31mwhere: " in err
    )


def test_a_complete_result_stays_until_something_new_was_run(tmp_path: Path) -> None:
    find(tmp_path / "out", below(40.0))
    before = (tmp_path / "out" / FRONTIER_FILE).read_bytes()
    for change in ({"epochs": 3}, {"clip": "norm:10,none"}, {"seeds": 2}):
        dying = FakeExecutor()
        dying.dies_after = 0
        with pytest.raises(Killed):
            find(tmp_path / "out", below(40.0), dying, **change)
        assert (tmp_path / "out" / FRONTIER_FILE).read_bytes() == before

    class Watching(FakeExecutor):
        def run(self, specs: Any, out: Path, on_start: Any) -> Any:
            assert (out / FRONTIER_FILE).read_bytes() == before
            return super().run(specs, out, on_start)

    find(tmp_path / "out", below(40.0), Watching())  # its rounds find every run there already


def test_the_order_of_runs_is_seed_by_seed(tmp_path: Path) -> None:
    executor = FakeExecutor()
    find(tmp_path / "out", below(40.0), executor, seeds=[7, 3], clip="norm:10,none")
    assert [seed for _, _, seed in executor.ran[:8]] == [7, 7, 7, 7, 3, 3, 3, 3]
    assert RunOutcome.read(
        tmp_path / "out" / "runs" / "clip-none" / "lr_mult-1" / "detect" / "yolo26n" / "7"
    )
