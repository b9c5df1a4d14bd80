"""A trace whose writer was killed, at any moment, and one that is read while it is written."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from traces import NAMES, header, record, write

from yolo_stability.core.types import StepRecord
from yolo_stability.trace import TraceWriter, load_trace, resume_point
from yolo_stability.trace.compaction import SEALED_STEPS, merge_from
from yolo_stability.trace.layout import Part, list_parts, without_overlaps

QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]

CHILD = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from traces import NAMES, header, record
from yolo_stability.trace import TraceWriter
writer = TraceWriter(Path({folder!r}), NAMES, flush_seconds=0.25)
writer.write_header(header())
print("ready", flush=True)
for step in range({first}, 10**6):
    writer.append(record(step, seconds=time.time() - {origin!r}))
    if step % 40 == 39:
        writer.compact()
    time.sleep(0.001)
"""


def expected_rows(
    records: list[StepRecord],
) -> tuple[list[tuple[int, int]], list[tuple[int, int, str]]]:
    steps = [(r.attempt, r.step) for r in records]
    return steps, [(a, s, n) for a, s in steps for n in NAMES]


def check(run: Path, records: list[StepRecord]) -> None:
    trace = load_trace(run)
    steps, blocks = expected_rows(records)
    assert trace.steps.select("attempt", "step").rows() == steps
    assert trace.blocks.select("attempt", "step", "block").rows() == blocks


# --- merges cut short -----------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, suppress_health_check=QUIET)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=2, max_size=6),
    start=st.integers(0, 4),
    data=st.data(),
)
def test_any_state_of_a_killed_merge_reads_whole(
    sizes: list[int], start: int, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """All pieces, or the merged part and any of its pieces; independently for each table."""
    run = tmp_path_factory.mktemp("run")
    folder = run / "stability"
    records = [record(s) for s in range(sum(sizes))]
    writer = TraceWriter(folder, NAMES, flush_seconds=60)
    writer.write_header(header())
    at = 0
    for size in sizes:
        for r in records[at : at + size]:
            writer.append(r)
        writer._flush()
        at += size
    kept = run / "kept"
    shutil.copytree(folder / "trace", kept)
    start = min(start, len(sizes) - 2)
    merged_first = sum(sizes[:start])
    for compactor in (writer._blocks, writer._steps):
        head, compactor._tail = compactor._tail[:start], compactor._tail[start:]
        compactor.merge(everything=True)
        compactor._tail = [*head, *compactor._tail]
    for table in ("steps", "blocks"):
        pieces = [f for f in sorted(kept.iterdir()) if f.name.startswith(table)]
        covered = [f for f in pieces if int(f.name.split("-")[1]) >= merged_first]
        back = data.draw(st.sets(st.sampled_from(covered)))
        for piece in back:
            shutil.copy(piece, folder / "trace")
        if data.draw(st.booleans()):  # killed before the merged part got its name
            for piece in covered:
                shutil.copy(piece, folder / "trace")
            name = f"{table}-{merged_first:07d}-{sum(sizes) - 1:07d}.parquet"
            (folder / "trace" / name).rename(folder / "trace" / f".{name}.1.tmp")
    writer._closed = True  # killed
    check(run, records)
    assert resume_point(folder).step == sum(sizes) - 1

    more = [record(s, attempt=1) for s in range(sum(sizes), sum(sizes) + 3)]
    write(run, more)
    check(run, records + more)
    assert len(list_parts(folder, "steps")) == len(list_parts(folder, "blocks")) == 1


def test_a_piece_that_a_reader_has_open_stays_until_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows removes no open file: `diagnose` during a training must not end its telemetry."""
    folder = tmp_path / "stability"
    records = [record(s) for s in range(9)]
    writer = TraceWriter(folder, NAMES, flush_seconds=60)
    writer.write_header(header())

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "The file is in use by another process", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        for r in records:
            writer.append(r)
            writer._flush()
        writer.close()
    assert writer.error is None
    check(tmp_path, records)
    assert len(list_parts(folder, "steps")) == len(list_parts(folder, "blocks")) == 10
    more = [record(s, attempt=1) for s in range(9, 11)]
    write(tmp_path, more)
    check(tmp_path, records + more)
    assert len(list_parts(folder, "steps")) == len(list_parts(folder, "blocks")) == 1


def test_blocks_without_their_steps_are_not_shown_and_not_kept(tmp_path: Path) -> None:
    """Killed between the two parts of one flush: the next run takes the same step numbers."""
    folder = tmp_path / "stability"
    records = [record(s) for s in range(3)]
    write(tmp_path, records)
    writer = TraceWriter(folder, NAMES, flush_seconds=60)
    writer._open()
    writer._blocks.write([record(s) for s in range(3, 9)])
    check(tmp_path, records)
    more = [record(s, attempt=1) for s in range(3, 5)]
    write(tmp_path, more)
    check(tmp_path, records + more)


def test_damaged_part_costs_only_its_rows(tmp_path: Path) -> None:
    folder = tmp_path / "stability"
    writer = TraceWriter(folder, NAMES, flush_seconds=60)
    writer.write_header(header())
    for step in range(4):
        writer.append(record(step))
        writer._flush()
    writer._closed = True
    for part, content in zip(
        list_parts(folder, "steps")[1:3], (b"", b"PAR1 junk PAR1"), strict=True
    ):
        part.path.write_bytes(content)
    began = time.monotonic()
    assert load_trace(tmp_path).steps["step"].to_list() == [0, 3]
    assert time.monotonic() - began < 0.9  # no waiting for a writer that does not exist


@settings(max_examples=40, deadline=None, suppress_health_check=QUIET)
@given(cut=st.integers(0, 6000), junk=st.binary(max_size=40))
def test_cut_part_never_raises(
    cut: int, junk: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run = write(tmp_path_factory.mktemp("run"), [record(s) for s in range(5)])
    part = list_parts(run / "stability", "blocks")[0].path
    part.write_bytes(part.read_bytes()[:cut] + junk)
    assert load_trace(run).steps.height == 5
    assert resume_point(run / "stability").step == 4


def test_old_temporary_files_go_and_young_ones_stay(tmp_path: Path) -> None:
    write(tmp_path, [record(0)])
    old, young = (tmp_path / f"stability/trace/.steps-{n}.parquet.1.tmp" for n in ("old", "young"))
    for file in (old, young):
        file.write_bytes(b"half")
    os.utime(old, (1, 1))
    write(tmp_path, [record(1)])
    assert not old.exists()
    assert young.exists()


# --- which parts count, which are merged ----------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)).map(sorted), max_size=8))
def test_standing_parts_cover_the_same_steps(spans: list[list[int]]) -> None:
    parts = [Part(Path(f"{a}-{b}"), a, b) for a, b in spans]
    kept = without_overlaps(parts)
    covered = {s for p in parts for s in range(p.first, p.last + 1)}
    assert {s for p in kept for s in range(p.first, p.last + 1)} == covered
    assert not any(
        a is not b and a.first >= b.first and a.last <= b.last for a in kept for b in kept
    )


def test_merging_is_near_linear_and_chunks_are_sealed() -> None:
    """Independent simulation of 200,000 steps in parts of 20, with epochs of 300 steps."""
    tail: list[int] = []
    sealed: list[int] = []
    moved = 0
    most = 0
    for step in range(20, 200_001, 20):
        tail.append(20)
        if len(tail) >= 16 or step % 300 == 0 or sum(tail) >= SEALED_STEPS:
            start = merge_from(tail)
            if len(tail) - start > 1:
                moved += sum(tail[start:])
                tail[start:] = [sum(tail[start:])]
        if tail[-1] >= SEALED_STEPS:
            sealed.append(sum(tail))
            tail = []
        most = max(most, len(tail))
    assert sum(sealed) + sum(tail) == 200_000
    assert all(SEALED_STEPS <= s < SEALED_STEPS + 1024 for s in sealed)
    assert most < 30
    assert moved < 12 * 200_000  # each row is rewritten a logarithmic number of times


def test_sealed_chunk_is_never_rewritten(tmp_path: Path) -> None:
    run = write(
        tmp_path, [record(s, ()[:0], names=(), grad_norm=1.0) for s in range(SEALED_STEPS + 100)]
    )
    chunk = list_parts(run / "stability", "steps")[0]
    stamp = chunk.path.stat()
    assert chunk.span >= SEALED_STEPS
    write(run, [record(s, attempt=1) for s in range(SEALED_STEPS + 100, SEALED_STEPS + 200)])
    again = chunk.path.stat()
    assert (stamp.st_ino, stamp.st_mtime_ns) == (again.st_ino, again.st_mtime_ns)
    assert load_trace(run).steps["step"].to_list() == list(range(SEALED_STEPS + 200))


# --- another process ------------------------------------------------------------------------------


@pytest.mark.parametrize("alive", [0.4, 0.9, 1.6])
def test_kill_loses_at_most_a_second(tmp_path: Path, alive: float) -> None:
    folder = tmp_path / "stability"
    origin = time.time()
    first = 0
    for attempt in range(2):
        code = CHILD.format(
            tests=str(Path(__file__).parents[2]), folder=str(folder), first=first, origin=origin
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(alive)
            child.send_signal(signal.SIGKILL)
            killed = time.time() - origin
        trace = load_trace(tmp_path)
        assert trace.steps["step"].to_list() == list(range(trace.steps.height))
        assert trace.blocks.height == trace.steps.height * len(NAMES)
        assert killed - trace.steps["seconds"][-1] < 1.0, attempt
        first = resume_point(folder).step + 1


def test_reader_sees_a_whole_prefix_while_parts_are_merged(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path / "stability", NAMES, flush_seconds=0.001)
    writer.write_header(header())
    stop = threading.Event()

    def train() -> None:
        for step in range(4000):
            writer.append(record(step))
            if step % 7 == 0:
                writer.compact()
            time.sleep(0.0002)
            if stop.is_set():
                break

    thread = threading.Thread(target=train)
    thread.start()
    seen = 0
    try:
        while thread.is_alive():
            trace = load_trace(tmp_path)
            assert trace.steps["step"].to_list() == list(range(trace.steps.height))
            assert trace.blocks.height == trace.steps.height * len(NAMES)
            assert trace.steps.height >= seen
            seen = trace.steps.height
    finally:
        stop.set()
        thread.join()
        writer.close()
    assert writer.error is None
    assert seen > 0
