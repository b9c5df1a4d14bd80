"""Draw the two pictures of the README from the sample runs: the heat map with callouts, and the terminal.

Usage: python docs/pictures.py

The terminal is `docs/sample/terminal.txt`, a recorded session (`python docs/sample.py train`), line by line.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Iterator, Mapping
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from yolo_stability import load_trace
from yolo_stability.display.run_picture import draw_run
from yolo_stability.display.style import BAD

DOCS = Path(__file__).parent
SAMPLE = DOCS / "sample"
OUT = DOCS / "pages" / "img"
COLORS = 128
CALLOUTS = (
    (
        "1  One image held a NaN: the\n    guard skipped this step\n    and nothing else.",
        (0.0, 0.28),
        (0.705, 0.475),
    ),
    (
        "2  One row a block, one column a step. The\n    color is the gradient norm, before clipping.",
        (-0.10, 0.64),
        (0.26, 0.59),
    ),
    ("3  The run continues.", (0.30, -0.47), (0.73, 0.268)),
)
"""Text of a callout; where it points, from the top of the red column in units of its height; where it stands."""
COLUMNS = 96
LINE, CHAR, MARGIN = 19, 8.05, 16
TYPING, PAUSE, STEP = 1.6, 0.9, 0.35  # seconds
STYLE = """
  rect { fill: #16191f }
  text { font: 13.4px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #d8dee9; white-space: pre }
  .command { fill: #8fd694; font-weight: 600 }
  .bad { fill: #ff8a80; font-weight: 600 }
  .key { fill: #ffd27f }
  g { animation: appear .01s linear backwards }
  @keyframes appear { from { opacity: 0 } }
  @media (prefers-reduced-motion: reduce) { g { animation: none } }
"""


def callouts(path: Path) -> None:
    """Draw the heat map of the run `bad` with three callouts."""
    with TemporaryDirectory() as scratch:
        run = Path(scratch) / "bad"
        shutil.copytree(SAMPLE / "bad", run)
        picture = np.asarray(Image.open(draw_run(load_trace(run))).convert("RGB"))
    tall, wide, _ = picture.shape
    left, top, height = _red_column(picture)
    figure = Figure(figsize=(wide / 100, tall / 100), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(picture)
    axes.set_axis_off()
    for text, (x, y), (at_x, at_y) in CALLOUTS:
        axes.annotate(
            text, xy=(left + x * height, top + y * height), xytext=(at_x * wide, at_y * tall), size=15,
            va="center", color="white", linespacing=1.35,
            bbox={"boxstyle": "round,pad=0.5", "facecolor": "#16191f", "edgecolor": "white", "alpha": 0.93},
            arrowprops={"arrowstyle": "-|>", "color": "#16191f", "lw": 2.4, "mutation_scale": 22},
        )  # fmt: skip
    figure.savefig(path, dpi=100)
    drawn = Image.open(path).convert("RGB")
    drawn.quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)


def _red_column(picture: np.ndarray) -> tuple[float, float, float]:
    """Return right edge, top and height of the column of a step that is not finite."""
    color = [int(BAD[i : i + 2], 16) for i in (1, 3, 5)]
    red = (np.abs(picture.astype(int) - color) < 3).all(axis=2)
    lowest = int(np.nonzero(red.any(axis=1))[0].max())
    right = int(np.nonzero(red[lowest - 5])[0].max())
    above = np.nonzero(~red[:lowest, right - 2])[
        0
    ].max()  # where it begins; no white mark is that far right
    return float(right), float(above), float(lowest - above)


def terminal(path: Path) -> None:
    """Draw the recorded session as an SVG whose lines appear one after the other."""
    lines = list(_timed((SAMPLE / "terminal.txt").read_text(encoding="utf-8")))
    width = round(COLUMNS * CHAR + 2 * MARGIN)
    height = len(lines) * LINE + 2 * MARGIN
    rows = [
        f'<g style="animation-delay:{when:.2f}s"><text x="{MARGIN}" y="{MARGIN + (i + 0.75) * LINE:.0f}"'
        f' class="{kind}">{escape(text)}</text></g>'
        for i, (text, kind, when) in enumerate(lines)
    ]
    first = escape(lines[0][0], quote=True)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' role="img" aria-label="Terminal: {first} ...">\n<style>{STYLE}</style>\n'
        f'<rect width="{width}" height="{height}" rx="8"/>\n' + "\n".join(rows) + "\n</svg>\n",
        encoding="utf-8",
    )


def _timed(session: str) -> Iterator[tuple[str, str, float]]:
    """Yield the lines of a session, wrapped, with their class and the second at which they appear."""
    when = -PAUSE  # the first command is there at once
    for line in session.splitlines():
        command = line.startswith("$ ")
        when += PAUSE if command else STEP
        for i, text in enumerate(
            textwrap.wrap(line, COLUMNS, subsequent_indent="    ", break_on_hyphens=False)
        ):
            yield text, _kind(line), when + 0.08 * i
        when += TYPING if command else 0.0


def _kind(line: str) -> str:
    """Return the class of a line: what is typed, what is bad, what names the cause."""
    if line.startswith("$ "):
        return "command"
    if "update skipped" in line or line.startswith(("unstable:", "failed:")):
        return "bad"
    return "key" if line.startswith(("cause:", "stability: incident", "  try:")) else "output"


DRAWN: Mapping[str, Callable[[Path], None]] = {"callouts": callouts, "terminal": terminal}
"""The function that draws each picture, by its name."""


def main() -> None:
    """Draw both pictures and print their sizes."""
    for name, suffix in (("callouts", "png"), ("terminal", "svg")):
        path = OUT / f"{name}.{suffix}"
        DRAWN[name](path)
        print(f"{path.name}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
