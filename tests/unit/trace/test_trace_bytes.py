"""Arbitrary bytes in a trace's files: reading raises `TraceError` or nothing."""

from __future__ import annotations

import io
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from traces import NAMES, record, write

from yolo_stability.core.errors import TraceError
from yolo_stability.core.types import Event
from yolo_stability.trace import load_trace, read_header, resume_point, scan_trace
from yolo_stability.trace.layout import EVENTS, HEADER

FILES = (
    HEADER,
    EVENTS,
    "trace/steps-0000000-0000003.parquet",
    "trace/blocks-0000000-0000003.parquet",
)
STRANGE = (
    "trace/steps-0000002-0000009.parquet",
    "trace/blocks-0000001-0000001.parquet",
    "trace/.steps.tmp",
    "x",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A valid trace, to be damaged in copies; log messages about damage are ignored."""
    run = write(tmp_path_factory.mktemp("whole"), [record(s) for s in range(4)])
    event = {"attempt": 0, "step": 1, "kind": "notice", "block": None, "data": {"text": "x"}}
    (run / "stability" / EVENTS).write_text(json.dumps(event) + "\n")
    assert Event(**event)
    assert load_trace(run).events.height == 1
    logging.disable(logging.WARNING)
    yield run
    logging.disable(logging.NOTSET)


def parquet(columns: dict[str, list[Any]]) -> bytes:
    buffer = io.BytesIO()
    try:
        pl.DataFrame(columns, strict=False).write_parquet(buffer)
    except Exception:  # not every table of strange columns can be written
        return b"PAR1"
    return buffer.getvalue()


VALUE: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats()
    | st.text(max_size=4)
    | st.binary(max_size=4)
)
COLUMN = st.sampled_from(
    [
        "attempt",
        "step",
        "iteration",
        "block",
        "loss",
        "grad_norm",
        "skipped",
        "loss/a",
        "lr/b",
        "nonfinite",
        "x",
        "",
    ]
)


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """A valid Parquet file with unexpected types, nulls, nesting and missing or repeated keys."""
    height = draw(st.integers(0, 4))
    names = draw(st.sets(COLUMN, max_size=6)) | draw(st.sampled_from([set(), {"attempt", "step"}]))
    cell = draw(
        st.sampled_from([VALUE, st.integers(0, 3), st.lists(st.integers(0, 3), max_size=2)])
    )
    return parquet({name: [draw(cell) for _ in range(height)] for name in sorted(names)})


JSON = [b"{}", b"[]", b"null", b"1", b"\xff" * 9, b"[" * 99_999]


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Cut, overwrite, lengthen or replace what a file holds."""
    cut, junk, at = (
        draw(st.integers(0, 12_000)),
        draw(st.binary(max_size=60)),
        draw(st.integers(0, 12_000)),
    )
    new = draw(
        st.binary(max_size=200)
        | tables()
        | st.sampled_from([b"{}", b"[]", b"null", b"1", b"\xff" * 9, b"[" * 99_999])
    )
    return draw(
        st.sampled_from(
            [
                lambda old: new,
                lambda old: old[:cut],
                lambda old: (
                    old[: at % (len(old) + 1)] + junk + old[at % (len(old) + 1) + len(junk) :]
                ),
                lambda old: old + junk,
                lambda old: old[:4] + junk + old[-20:],
            ]
        )
    )


def read_everything(run: Path) -> None:
    """Call every reader; each may raise `TraceError` and nothing else."""
    folder = run / "stability"
    readers: list[Callable[[], object]] = [
        lambda: load_trace(run),
        lambda: scan_trace(run, "steps"),
        lambda: scan_trace(run, "blocks"),
        lambda: resume_point(folder),
        lambda: read_header(folder),
    ]
    for reader in readers:
        message, found = "One sentence.", None
        try:
            found = reader()
        except TraceError as error:
            message = str(error)
        assert message.endswith(".")
        assert "\n" not in message
        if found is not None and reader is readers[0]:
            check(found)


def check(trace: Any) -> None:
    """Tables that are read fulfill the contract: keys unique and in order, all columns."""
    assert trace.steps.select("attempt", "step").is_unique().all()
    assert trace.blocks.select("attempt", "step", "block").is_unique().all()
    assert {"attempt", "step", "loss", "grad_norm", "skipped"} <= set(trace.steps.columns)
    assert trace.steps.schema["step"] == pl.UInt32


@settings(
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(changes=st.dictionaries(st.sampled_from(FILES + STRANGE), damages(), min_size=1, max_size=4))
def test_no_bytes_raise_anything_but_our_error(
    whole: Path,
    tmp_path_factory: pytest.TempPathFactory,
    changes: dict[str, Callable[[bytes], bytes]],
) -> None:
    run = tmp_path_factory.getbasetemp() / "damaged"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(whole, run)
    for name, change in changes.items():
        file = run / "stability" / name
        file.write_bytes(change(file.read_bytes() if file.exists() else b""))
    read_everything(run)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=tables(), name=st.sampled_from(FILES[2:]))
def test_no_table_raises_anything_but_our_error(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    run = tmp_path_factory.getbasetemp() / "table"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(whole, run)
    (run / "stability" / name).write_bytes(content)
    read_everything(run)


@pytest.mark.parametrize("name", FILES)
def test_a_folder_where_a_file_should_be(whole: Path, tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    (run / "stability" / name).unlink()
    (run / "stability" / name).mkdir()
    read_everything(run)


@pytest.mark.parametrize(
    "path", ["", "\0", "x" * 5000, "~nobody-of-this-name/run", "/dev/null", "/proc/self/mem", "."]
)
def test_a_path_that_is_none(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for reader in (load_trace, lambda p: scan_trace(p, "steps")):
        with pytest.raises(TraceError):
            reader(path)


def test_an_intact_neighbour_is_still_read(whole: Path, tmp_path: Path) -> None:
    """Damage in one table costs that table only."""
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    (run / "stability" / FILES[3]).write_bytes(b"PAR1")
    trace = load_trace(run)
    assert (trace.steps.height, trace.blocks.height) == (4, 0)
    assert [spec.name for spec in trace.header.blocks] == list(NAMES)
    assert scan_trace(run, "blocks").collect().height == 0
