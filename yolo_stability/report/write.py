"""Writes `report.html`, `report.md` and the plots from `results.json` and `series.parquet`."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from yolo_stability.benchmarks.results import SERIES_FILE, read_results
from yolo_stability.core.errors import TraceError
from yolo_stability.core.files import replace_file

__all__ = ["HTML", "write_report"]

HTML, MARKDOWN, FIGURES = "report.html", "report.md", "figures"
_STALE_SECONDS = 60.0


def write_report(folder: Path) -> tuple[Path, ...]:
    """Write the report of a benchmark; the same input gives the same bytes.

    Args:
        folder: Benchmark folder with `results.json` and `series.parquet`.

    Returns:
        The written files: the HTML page, the Markdown page, then the plots.

    Raises:
        TraceError: A file is missing, damaged, or has another schema version.
        OSError: The report cannot be written.
    """
    from yolo_stability.report.figures import NAME, figures
    from yolo_stability.report.markdown import markdown
    from yolo_stability.report.outline import build_outline
    from yolo_stability.report.page import page
    from yolo_stability.report.run_bins import read_series

    result = read_results(folder)
    series = read_series(folder / SERIES_FILE)
    outline = build_outline(result, series)
    if (folder / FIGURES).is_symlink():  # old plots are deleted in this folder
        raise TraceError(
            f"{folder / FIGURES} is a symbolic link, which this package does not write through. "
            "Remove it."
        )
    (folder / FIGURES).mkdir(exist_ok=True)
    _sweep(folder, folder / FIGURES)
    pictures = tuple(figures(outline))
    for old in (folder / FIGURES).iterdir():  # of tasks and arms that no longer exist
        if NAME.fullmatch(old.name) and old.name not in {picture.name for picture in pictures}:
            old.unlink()
    for picture in pictures:
        replace_file(folder / FIGURES / picture.name, picture.content)
    replace_file(folder / HTML, page(outline, series).encode())
    replace_file(folder / MARKDOWN, markdown(outline, pictures, FIGURES).encode())
    return (
        folder / HTML,
        folder / MARKDOWN,
        *(folder / FIGURES / picture.name for picture in pictures),
    )


def _sweep(*folders: Path) -> None:
    """Delete temporary files of killed writers; recent files may belong to running ones."""
    for folder in folders:
        for temp in folder.glob(".*.tmp"):
            with contextlib.suppress(OSError):
                if time.time() - temp.stat().st_mtime > _STALE_SECONDS:
                    temp.unlink()
