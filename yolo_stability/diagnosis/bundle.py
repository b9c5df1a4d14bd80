"""Writes and reads bundles: a run in one anonymous file below 1 MB, for a bug report."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from yolo_stability.core.anonymize import Anonymizer
from yolo_stability.core.errors import TraceError
from yolo_stability.core.files import replace_file
from yolo_stability.core.findings import Diagnosis
from yolo_stability.core.types import Trace
from yolo_stability.diagnosis.results_csv import RESULTS
from yolo_stability.diagnosis.store import (
    DIAGNOSIS_FILE,
    diagnosis_from_json,
    diagnosis_to_json,
)
from yolo_stability.trace import find_trace, load_trace
from yolo_stability.trace.epochs import as_epochs, epoch_line
from yolo_stability.trace.layout import EPOCHS, EVENTS, FOLDER, HEADER, part_path
from yolo_stability.trace.serialize import strict_json

__all__ = ["BUNDLE_SUFFIX", "Bundle", "bundled_diagnosis", "unpack_bundle", "write_bundle"]

BUNDLE_SUFFIX = ".zip"
LIMIT = 1_000_000
_UNPACKED_LIMIT = 64_000_000
_MARK = "yolo-stability-bundle.json"
_SCHEMA_VERSION = 1
_YOUNG = 64
_PLATFORM = "platform"
_READABLE = (
    *(_MARK, HEADER, EVENTS, EPOCHS, DIAGNOSIS_FILE, RESULTS),
    *("steps.parquet", "blocks.parquet"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle that was written.

    Attributes:
        path: The file.
        size: Its bytes, at most 1,000,000.
        files: Names and bytes of what it holds.
        steps: Optimizer steps in it, and in the run; `None` for a run without a trace.
        replaced: Number of different names, paths and words that were replaced.
    """

    path: Path
    size: int
    files: dict[str, int]
    steps: tuple[int, int] | None
    replaced: int

    def lines(self) -> list[str]:
        """Return what to print about it."""
        kept = ""
        if self.steps is not None and self.steps[0] < self.steps[1]:
            kept = f", {self.steps[0]:,} of {self.steps[1]:,} steps"
        listed = ", ".join(f"{name} ({size:,} bytes)" for name, size in self.files.items())
        return [
            f"{self.path}: {self.size:,} bytes{kept}",
            f"holds {listed}",
            f"{self.replaced} names and paths were replaced by hashes; "
            "the file holds no image and no weight.",
            "Look into it before you attach it: it is a zip file of JSON, CSV and Parquet.",
        ]


def write_bundle(run: Path, diagnosis: Diagnosis, out: Path | None = None) -> Bundle:
    """Write a run into one file that can be attached to a bug report.

    The file holds header, steps, norms per block, events and diagnosis, or the table of a plain
    Ultralytics run. Names, paths and texts of the user are replaced by hashes with a random salt.
    A trace that is too large is thinned: the file keeps the first 64 steps, the step with the
    largest gradient norm of each interval, and every step that a finding names.

    Args:
        run: A run folder, ours or a plain one of Ultralytics.
        diagnosis: Diagnosis of that run.
        out: The file; `bundle-<run id>.zip` in the working folder if None.

    Returns:
        Where the file is and what is in it.

    Raises:
        TraceError: There is no run, or it cannot be read.
    """
    hidden = Anonymizer()
    try:
        trace = load_trace(find_trace(run))
    except TraceError:
        files, steps, name = _plain_files(run, diagnosis, hidden), None, "run"
    else:
        files, steps = _trace_files(trace, diagnosis, hidden)
        name = trace.header.run_id
    path = out or Path(f"bundle-{name}{BUNDLE_SUFFIX}")
    content = _packed(files)
    replace_file(path, content)
    sizes = {name: len(data) for name, data in files.items()}
    return Bundle(
        path=path, size=len(content), files=sizes, steps=steps, replaced=len(hidden.replaced)
    )


def unpack_bundle(path: Path, folder: Path) -> Diagnosis | None:
    """Unpack a bundle as a run folder; nothing in it is run, and only its known files are read.

    Args:
        path: The file.
        folder: An empty folder.

    Returns:
        None if the folder now holds the whole run, which can be diagnosed again; else the
        diagnosis that was made of the whole run.

    Raises:
        TraceError: It is no bundle, is damaged, or unpacks to more than 64 MB.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            held = {info.filename: info for info in archive.infolist()}
            if _MARK not in held:
                raise TraceError(f"'{path}' is not a bundle: write one with 'bundle RUN'.")
            wanted = [held[name] for name in _READABLE if name in held]
            if sum(info.file_size for info in wanted) > _UNPACKED_LIMIT:
                raise TraceError(f"'{path}' unpacks to more than {_UNPACKED_LIMIT:,} bytes.")
            files = {info.filename: _member(archive, info) for info in wanted}
            mark = json.loads(files[_MARK])
            version, whole = int(mark["schema_version"]), bool(mark["whole"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, zipfile.BadZipFile) as error:
        raise TraceError(f"'{path}' cannot be read as a bundle: {error}") from error
    if version > _SCHEMA_VERSION:
        raise TraceError(
            f"'{path}' was written by a newer yolo_stability (bundle schema {version}, this one "
            f"reads up to {_SCHEMA_VERSION}): upgrade with `pip install -U yolo-stability`."
        )
    if not whole:
        return diagnosis_from_json(files.get(DIAGNOSIS_FILE, b""), path)
    _unpack(files, folder, path)
    return None


def bundled_diagnosis(path: Path) -> Diagnosis:
    """Return the diagnosis that was made when a bundle was written.

    Raises:
        TraceError: The file cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            content = _member(archive, archive.getinfo(DIAGNOSIS_FILE))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise TraceError(f"'{path}' cannot be read as a bundle: {error}") from error
    return diagnosis_from_json(content, path)


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as file:
        data = file.read(_UNPACKED_LIMIT + 1)  # a header may lie about the size
    if len(data) > _UNPACKED_LIMIT:
        raise ValueError(f"{info.filename} unpacks to more than {_UNPACKED_LIMIT:,} bytes")
    return data


def _unpack(files: dict[str, bytes], folder: Path, source: Path) -> None:
    """Lay the files out as a run folder has them."""
    if RESULTS in files:
        (folder / RESULTS).write_bytes(files[RESULTS])
        return
    stability = folder / FOLDER
    for name in (HEADER, EVENTS, EPOCHS):
        place = stability / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(files.get(name, b""))
    for table in ("steps", "blocks"):
        data = files.get(f"{table}.parquet", b"")
        place = part_path(stability, table, 0, max(0, _last_step(data, source)))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)


def _last_step(parquet: bytes, source: Path) -> int:
    try:
        last = pl.read_parquet(io.BytesIO(parquet), columns=["step"])["step"].max()
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise TraceError(
            f"'{source}' is damaged: a table in it cannot be read ({error})."
        ) from error
    return int(last) if isinstance(last, int) else 0


def _plain_files(run: Path, diagnosis: Diagnosis, hidden: Anonymizer) -> dict[str, bytes]:
    """Return the files for a run of plain Ultralytics: its table and its settings."""
    with (run / RESULTS).open(encoding="utf-8", newline="") as file:
        names, *rows = [[cell.strip() for cell in row] for row in csv.reader(file)] or [[]]
    lines = [[_column(name, hidden) for name in names]]
    lines += [[hidden.text(cell) for cell in row] for row in rows]
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(lines)
    return {
        # the diagnosis also rests on settings and checkpoints, which are not in the file
        _MARK: _json({"schema_version": _SCHEMA_VERSION, "whole": False}),
        RESULTS: table.getvalue().encode(),
        DIAGNOSIS_FILE: _json(hidden.value(diagnosis_to_json(diagnosis))),
    }


def _trace_files(
    trace: Trace, diagnosis: Diagnosis, hidden: Anonymizer
) -> tuple[dict[str, bytes], tuple[int, int]]:
    """Return the files for a recorded run, small enough, and how many of its steps are in them."""
    fixed = {
        HEADER: _json(_header(trace, hidden)),
        EVENTS: _events(trace, hidden),
        EPOCHS: _epochs(trace, hidden),
        DIAGNOSIS_FILE: _json(hidden.value(diagnosis_to_json(diagnosis))),
    }
    wanted = trace.steps.height
    while True:
        steps, blocks = _thinned(trace, diagnosis, wanted)
        whole = steps.height == trace.steps.height
        mark = {
            "schema_version": _SCHEMA_VERSION,
            "whole": whole,
            "steps": steps.height,
            "steps_of_run": trace.steps.height,
        }
        files = {
            _MARK: _json(mark),
            **fixed,
            "steps.parquet": _parquet(_columns(steps, hidden)),
            "blocks.parquet": _parquet(_columns(blocks, hidden)),
        }
        if len(_packed(files)) <= LIMIT or wanted < 2:
            return files, (steps.height, trace.steps.height)
        wanted //= 2


def _thinned(trace: Trace, diagnosis: Diagnosis, wanted: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Keep about so many steps: of each interval the one with the largest gradient norm."""
    steps = trace.steps
    if wanted >= steps.height:
        return steps, trace.blocks
    norm = steps["grad_norm"].cast(pl.Float64).fill_null(0.0).to_numpy()
    norm = np.where(np.isfinite(norm), norm, np.inf)
    rows: set[int] = set(range(min(_YOUNG, wanted, steps.height)))
    for interval in np.array_split(np.arange(steps.height), max(1, wanted)):
        if interval.size:
            rows.add(int(interval[np.argmax(norm[interval])]))
    named = {f.first_step for f in diagnosis.findings} | {f.last_step for f in diagnosis.findings}
    number = steps["step"].to_list()
    rows |= {row for row, step in enumerate(number) if step in named}
    kept = steps[sorted(rows)]
    keys = kept.select("attempt", "step")
    return kept, trace.blocks.join(keys, on=["attempt", "step"], how="semi", maintain_order="left")


def _header(trace: Trace, hidden: Anonymizer) -> dict[str, Any]:
    content: dict[str, Any] = strict_json(trace.header)
    versions = {**content["versions"]}
    if _PLATFORM in versions:  # a kernel of one's own has a name of one's own
        versions[_PLATFORM] = str(versions[_PLATFORM]).partition("-")[0]
    plain = {name: content[name] for name in ("run_id", "config_digest", "dataset_digest")}
    day = str(content["started"])[:10]
    return {**hidden.value({**content, "versions": versions, "started": day}), **plain}


def _events(trace: Trace, hidden: Anonymizer) -> bytes:
    lines = []
    for row in trace.events.iter_rows(named=True):
        block = None if row["block"] is None else hidden.text(row["block"])
        data = hidden.value(json.loads(row["data"]))
        lines.append(json.dumps({**row, "block": block, "data": data}, allow_nan=False))
    return "".join(f"{line}\n" for line in lines).encode()


def _epochs(trace: Trace, hidden: Anonymizer) -> bytes:
    def renamed(values: Mapping[str, float]) -> dict[str, float]:
        return {hidden.text(name): value for name, value in values.items()}

    return b"".join(
        epoch_line(replace(epoch, val=renamed(epoch.val), metrics=renamed(epoch.metrics)))
        for epoch in as_epochs(trace.epochs)
    )


def _columns(frame: pl.DataFrame, hidden: Anonymizer) -> pl.DataFrame:
    """Replace names of columns after the slash, and names of blocks."""
    frame = frame.rename({name: _column(name, hidden) for name in frame.columns})
    if "block" not in frame.columns:
        return frame
    names = frame["block"].cast(pl.String).unique().drop_nulls().to_list()
    known = {name: hidden.text(name) for name in names}
    return frame.with_columns(pl.col("block").cast(pl.String).replace(known))


def _column(name: str, hidden: Anonymizer) -> str:
    """Replace the name of a column, such as `loss/my_loss`, part by part."""
    return "/".join(hidden.text(part) for part in name.split("/"))


def _parquet(frame: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.write_parquet(file, compression="zstd", compression_level=19)
    return file.getvalue()


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def _packed(files: dict[str, bytes]) -> bytes:
    """Return the zip file; equal content gives equal bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return file.getvalue()
