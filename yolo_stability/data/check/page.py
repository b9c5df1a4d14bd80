"""The page of the check: one self-contained HTML file with the findings and their pictures."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import cv2
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from yolo_stability.core.errors import DataError
from yolo_stability.core.files import replace_file
from yolo_stability.core.text import clean
from yolo_stability.data.check.findings import KINDS, Found, LabelRow, ShownImage
from yolo_stability.data.check.report import AuditReport
from yolo_stability.data.coco.import_report import EXAMPLES

__all__ = ["write_page"]

SIDE = 256
"""Longer side of a thumbnail in pixels."""
MARGIN = 0.12
"""Border around a picture, as a share of its side, for what reaches beyond it."""
VISIBLE = 0.03
"""Share of the picture's side below which a box is drawn as a ring around its center."""
QUALITY = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A label on a thumbnail, in its pixels.

    Attributes:
        x: Left side, or center of a ring.
        y: Upper side, or center of a ring.
        w: Width.
        h: Height.
        ring: Whether the box is too small to be seen.
        marked: Whether the finding is about it.
    """

    x: float
    y: float
    w: float
    h: float
    ring: bool
    marked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumb:
    """A picture of the page.

    Attributes:
        name: Name of the file.
        source: The thumbnail as a data URI.
        width: Width in pixels.
        height: Height in pixels.
        shapes: Labels to draw, the marked ones last.
    """

    name: str
    source: str
    width: int
    height: int
    shapes: tuple[Shape, ...]

    @property
    def view(self) -> str:
        """View box of the drawing, with a margin for what reaches beyond the picture."""
        side, top = self.width * MARGIN, self.height * MARGIN
        return f"{-side:.1f} {-top:.1f} {self.width + 2 * side:.1f} {self.height + 2 * top:.1f}"


def write_page(report: AuditReport, path: Path) -> Path:
    """Write the page of a report.

    Args:
        report: The report.
        path: HTML file to create or replace; a folder gets `data-check.html`.

    Returns:
        The absolute path of the page.

    Raises:
        DataError: The page cannot be written.
    """
    target = (path / "data-check.html" if path.is_dir() else path).resolve()
    if target.suffix.lower() not in {".html", ".htm"}:
        raise DataError(f"out={path} is no page: expected a name that ends in .html, or a folder.")
    if target.is_dir():
        raise DataError(f"out={path} is a folder. Choose another name.")
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("check.html.j2").render(
        report=report,
        title=clean(report.data),
        splits=[split.line() for split in report.splits],
        findings=[_shown(one) for one in report.found],
        verdict=clean(report.verdict()),
    )
    try:
        replace_file(target, html.encode("utf-8", "replace"))
    except OSError as err:
        raise DataError(f"Cannot write the page {target}: {err}.") from err
    return target


def _shown(found: Found) -> dict[str, object]:
    thumbs = [thumb for picture in found.pictures if (thumb := _thumb(picture)) is not None]
    return {
        "severity": found.severity,
        "line": clean(found.line()),
        "message": clean(found.message if found.kind not in KINDS else found.message.capitalize()),
        "examples": [clean(example) for example in found.examples],
        "more": found.count - EXAMPLES if len(found.examples) == EXAMPLES else 0,
        "thumbs": thumbs,
    }


def _thumb(picture: ShownImage) -> Thumb | None:
    """Return a picture as a training sees it, with its labels; None if it cannot be read."""
    from yolo_stability.compat.images import trained_pixels

    pixels = trained_pixels(picture.path)
    if pixels is None:
        return None
    scale = SIDE / max(pixels.shape[:2])
    width, height = (max(1, round(side * scale)) for side in (pixels.shape[1], pixels.shape[0]))
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    coded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    rows = sorted(picture.rows, key=lambda row: row.marked)
    return Thumb(
        name=clean(Path(picture.path).name),
        source="data:image/jpeg;base64," + base64.b64encode(coded).decode(),
        width=width,
        height=height,
        shapes=tuple(_shape(row, width, height) for row in rows),
    )


def _shape(row: LabelRow, width: int, height: int) -> Shape:
    x, y, w, h = row.box
    ring = max(w, h) < VISIBLE
    left, top = (x, y) if ring else (x - w / 2, y - h / 2)
    return Shape(
        x=round(left * width, 1),
        y=round(top * height, 1),
        w=round(w * width, 1),
        h=round(h * height, 1),
        ring=ring,
        marked=row.marked,
    )
