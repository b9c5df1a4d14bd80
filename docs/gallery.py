"""Draw the pictures of the gallery page from the runs of a benchmark.

Usage: python docs/gallery.py FOLDER

FOLDER is what `yolo-stability benchmark suite=full seeds=1 out=FOLDER` has written. Each picture is the run's own
`gradient_norms.png`, drawn by the package, with fewer colors so that the file stays small.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from yolo_stability import load_trace
from yolo_stability.diagnosis.diagnose import diagnose_trace
from yolo_stability.display.run_picture import draw_run

OUT = Path(__file__).parent / "pages" / "img"
SIGNATURES: Mapping[str, str] = {
    "healthy": "control/detect/yolo26n/0",
    "exploding": "huge-lr-clipped/pose/yolo26n-pose/0",
    "vanishing": "relu-no-norm/detect/yolo26n/0",
    "collapse": "no-norm-kaiming/detect/yolo26n/0",
    "spike": "high-lr/pose/yolo26n-pose/0",
    "noise": "tiny-batch/detect/yolo26n/0",
}
"""Pictures by name, and the run each shows: arm, task, model, seed."""
COLORS = 128


def main(folder: Path) -> None:
    """Draw every signature, and print the size of its file and the diagnosis of the run."""
    OUT.mkdir(exist_ok=True)
    for name, run in SIGNATURES.items():
        trace = load_trace(folder / "runs" / run)
        with TemporaryDirectory() as scratch:
            picture = Image.open(draw_run(replace(trace, path=Path(scratch)))).convert("RGB")
        path = OUT / f"{name}.png"
        picture.quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)
        diagnosis = diagnose_trace(trace)
        print(
            f"{path.name}: {run}, {path.stat().st_size // 1000} kB\n  {diagnosis.verdict}: {diagnosis.why}"
        )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
