"""What a watched step does beyond a stock one is counted by part of the package, and pinned."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import counts  # noqa: E402
from counting import PACKAGE, PARTS, UNLISTED, part_of  # noqa: E402
from counts import (  # noqa: E402
    COMMAND,
    PINNED,
    SPECIAL,
    WHOLE,
    Measured,
    Watched,
    as_text,
    compare,
    compare_step,
    incomparable,
    measure,
    read_pinned,
    report,
    table,
)

from yolo_stability.diagnosis import live_rows  # noqa: E402
from yolo_stability.gradients import updates  # noqa: E402
from yolo_stability.guard import buffers, guard  # noqa: E402
from yolo_stability.trainer.step import gradient_reading, records  # noqa: E402


class Counted(NamedTuple):
    """A run that was counted, and its counts."""

    watched: Watched
    found: Measured


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counted]:
    watched = Watched(tmp_path_factory.mktemp("counts"))
    yield Counted(watched, measure(watched))
    watched.close()


@pytest.mark.trains
@pytest.mark.smoke
def test_no_part_does_more_than_is_pinned(counted: Counted) -> None:
    pinned = read_pinned()
    reason = incomparable(pinned)
    if reason:
        pytest.skip(reason)
    complaints = compare(pinned, counted.found).complaints
    assert not complaints, "\n".join([*complaints, f"If that is meant: {COMMAND}"])


@pytest.mark.trains
@pytest.mark.smoke
def test_every_counted_step_is_what_it_is_called_and_every_module_has_a_part(
    counted: Counted,
) -> None:
    assert set(counted.found["steps"]) == set(SPECIAL)
    for parts in counted.found["steps"].values():
        assert UNLISTED not in parts
        assert {"guard", "gradient reading", "record", WHOLE} <= set(parts)


@pytest.mark.trains
@pytest.mark.smoke
def test_a_typical_step_waits_once_more_than_stock(counted: Counted) -> None:
    """The number that `tests/benchmarks/gpu/test_syncs.py` reads off a CUDA GPU."""
    typical = counted.found["steps"]["typical"]
    assert typical[WHOLE]["syncs"] == {"cpu": 1, "numpy": 1}
    assert typical["norms"]["syncs"] == {"cpu": 1, "numpy": 1}


class Seed(NamedTuple):
    """A line of a hot path, what it becomes, and the complaint that must follow."""

    module: ModuleType
    function: str
    line: str
    seeded: str
    complaint: str


_ACCEPTED = "state.loss.detach(), state.running_loss"
SEEDS = {
    "a clone": Seed(
        buffers,
        "BufferSnapshot.largest",
        "joined.abs()",
        "joined.clone().abs()",
        "typical, guard: ops",
    ),
    "an item": Seed(
        gradient_reading,
        "read_gradients",
        "float(host_total[0])",
        "total.item()",
        "typical, gradient reading: syncs (item) 0 -> 1",
    ),
    "a tolist": Seed(
        guard,
        "Guard.accept",
        _ACCEPTED,
        f"{_ACCEPTED}; state.loss.reshape(1).tolist()",
        "typical, guard: syncs (tolist) 0 -> 1",
    ),
    "a cpu": Seed(
        guard,
        "Guard.accept",
        _ACCEPTED,
        f'{_ACCEPTED}; state.loss.to("cpu")',
        "typical, guard: syncs (cpu) 0 -> 1",
    ),
    "a mask": Seed(
        guard,
        "Guard.accept",
        _ACCEPTED,
        f"{_ACCEPTED}; state.loss.reshape(1)[torch.ones(1, dtype=torch.bool)]",
        "typical, guard: syncs (nonzero) 0 -> 1",
    ),
    "more bytes by as many ops": Seed(
        buffers,
        "BufferSnapshot.take",
        "_joined(self._flat_counters)]",
        "_joined(self._flat_counters + self._flat_floating)]",
        "typical, guard: bytes",
    ),
    "a call for each block": Seed(
        records,
        "step_record",
        "block=b.name, grad_norm=norm",
        "block=b.name, grad_norm=none_if_nan(norm)",
        "typical, record: calls",
    ),
    "weights copied at every step": Seed(
        updates,
        "UpdateSampling.before_update",
        "if self.due:",
        "if self.due or True:",
        "typical, updates: ops",
    ),
    "a row read twice": Seed(
        live_rows,
        "LiveRows.append",
        "_values(record).items()",
        "(_values(record) | _values(record)).items()",
        "typical, rules: calls",
    ),
}


@pytest.mark.trains
@pytest.mark.smoke
@pytest.mark.parametrize("name", SEEDS)
def test_a_seeded_cost_is_found_in_its_part(
    name: str, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = SEEDS[name]
    before = counted.watched.count_typical()
    assert compare_step("typical", counted.found["steps"]["typical"], before).complaints == []
    plant(seed, monkeypatch)
    complaints = compare_step("typical", before, counted.watched.count_typical()).complaints
    assert any(text.startswith(seed.complaint) for text in complaints), complaints


def plant(seed: Seed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a function in place that was compiled from the changed text, under the name of its own file."""
    assert seed.module.__file__
    text = Path(seed.module.__file__).read_text(encoding="utf-8")
    assert text.count(seed.line) == 1, seed
    scope: dict[str, Any] = {"__name__": seed.module.__name__}
    changed = text.replace(seed.line, seed.seeded)
    exec(compile(changed, seed.module.__file__, "exec"), scope)
    owner, _, method = seed.function.rpartition(".")
    function = getattr(scope[owner], method) if owner else scope[method]
    monkeypatch.setattr(getattr(seed.module, owner) if owner else seed.module, method, function)


# --- what fails and what is a hint ------------------------------------------------------------------------------------


def pinned_step(**changed: Any) -> dict[str, Any]:
    """Return one part's counts of a step."""
    part = {"ops": 100, "bytes": 1000, "calls": 200, "syncs": {"cpu": 1}}
    return {"guard": {**part, **changed}}


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"ops": 101}, "typical, guard: ops 100 -> 101"),
        ({"ops": 96}, "typical, guard: ops 100 -> 96"),
        ({"bytes": 1031}, "typical, guard: bytes 1,000 -> 1,031"),
        ({"bytes": 969}, "typical, guard: bytes 1,000 -> 969"),
        ({"calls": 207}, "typical, guard: calls 200 -> 207"),
        ({"calls": 193}, "typical, guard: calls 200 -> 193"),
        ({"syncs": {"cpu": 2}}, "typical, guard: syncs (cpu) 1 -> 2"),
        ({"syncs": {"cpu": 1, "item": 1}}, "typical, guard: syncs (item) 0 -> 1"),
        ({"syncs": {}}, "typical, guard: syncs (cpu) 1 -> 0"),
    ],
)
def test_a_cost_or_a_gain_beyond_the_limits_is_a_complaint(
    changed: dict[str, Any], complaint: str
) -> None:
    assert compare_step("typical", pinned_step(), pinned_step(**changed)) == ([complaint], [])


@pytest.mark.parametrize(
    "changed", [{"ops": 97}, {"bytes": 1030}, {"bytes": 970}, {"calls": 206}, {"calls": 194}]
)
def test_a_difference_within_the_limits_is_a_hint(changed: dict[str, Any]) -> None:
    complaints, hints = compare_step("typical", pinned_step(), pinned_step(**changed))
    assert complaints == []
    assert len(hints) == 1


def test_a_part_that_is_new_or_gone_is_a_complaint() -> None:
    assert compare_step("typical", {}, pinned_step()).complaints
    assert compare_step("typical", pinned_step(), {}).complaints


def test_schedule_steps_and_python_are_compared() -> None:
    pinned = read_pinned()
    assert compare(pinned, pinned) == ([], [])
    oftener = copy.deepcopy(pinned)
    oftener["schedule"]["later"]["rules"] += 1
    assert "schedule" in compare(pinned, oftener).complaints[0]
    other = copy.deepcopy(pinned)
    other["steps"]["step 60"] = other["steps"].pop("sampled")
    assert compare(pinned, other).complaints == [
        "sampled: pinned, not found",
        "step 60: not pinned",
    ]
    slower = copy.deepcopy(pinned)
    slower["steps"]["typical"]["guard"]["calls"] *= 2
    assert len(compare(pinned, slower).complaints) == 1
    slower["versions"]["python"] = "3.0"  # comprehensions and decorators differ: nothing to compare
    assert compare(pinned, slower) == ([], [])


def test_counts_of_another_torch_are_not_comparable() -> None:
    pinned = read_pinned()
    pinned["versions"] |= counts.versions()
    assert incomparable(pinned) == ""
    pinned["versions"]["torch"] = "1.0.0"
    assert incomparable(pinned).startswith("counts are pinned for torch 1.0.0, this is ")


def test_the_file_is_written_on_purpose_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "counts.json"
    pinned = read_pinned()
    found = copy.deepcopy(pinned)
    found["steps"]["typical"]["guard"]["ops"] += 1
    monkeypatch.setattr(counts, "REPO", tmp_path)
    monkeypatch.setattr(counts, "PINNED", file)
    assert report(pinned, write=True) == 0
    assert report(pinned, write=False) == 0
    assert report(found, write=False) == 3
    assert read_pinned() == pinned
    printed = capsys.readouterr().out
    assert "typical, guard: ops" in printed
    assert COMMAND in printed
    assert report(found, write=True) == 0
    assert "typical, guard: ops" in capsys.readouterr().out
    assert read_pinned() == found


def test_every_row_of_the_table_of_parts_names_modules_that_exist() -> None:
    missing = [prefix for prefix in PARTS if not (PACKAGE / prefix).exists()]
    assert missing == []
    assert part_of("guard/incidents/window.py") == "incidents"
    assert part_of("guard/buffers.py") == "guard"
    assert part_of("report/write.py") == UNLISTED


def test_the_pinned_file_is_what_the_command_writes() -> None:
    assert PINNED.read_text(encoding="utf-8") == as_text(read_pinned())


def test_the_table_shows_every_part() -> None:
    found = read_pinned()
    text = table(found)
    assert all(f"  {name} " in text for parts in found["steps"].values() for name in parts)
