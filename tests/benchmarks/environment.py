"""Ultralytics offline and alone, with one thread: to be called before torch and ultralytics are imported."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]


def isolate() -> Path:
    """Prepare the process; return a folder for its runs, which the caller removes."""
    root = Path(tempfile.mkdtemp(prefix="yolo-stability-bench-"))
    (root / "config").mkdir()
    os.environ.update(
        {
            "YOLO_CONFIG_DIR": str(root / "config"),
            "YOLO_OFFLINE": "true",
            "YOLO_AUTOINSTALL": "false",
            "YOLO_VERBOSE": "false",
            "YOLO_STABILITY_CACHE": str(root / "cache"),
            "MPLBACKEND": "Agg",
            "OMP_NUM_THREADS": "1",
        }
    )
    sys.path.insert(0, str(REPO))  # this checkout, whichever one is installed
    return root


def without_trackers() -> None:
    """Switch off the trackers of Ultralytics that happen to be installed: they would be timed, and leave files here."""
    from ultralytics import settings

    settings.update({"mlflow": False, "wandb": False, "tensorboard": False})


def machine() -> dict[str, object]:
    """Return what a reader must know to place the figures."""
    import platform
    from datetime import UTC, datetime

    import torch
    import ultralytics

    info = Path("/proc/cpuinfo")
    models = (
        [line for line in info.read_text().splitlines() if "model name" in line]
        if info.exists()
        else []
    )
    cuda = torch.cuda.is_available()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": models[0].split(":")[1].strip() if models else platform.processor(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name(0) if cuda else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ultralytics": ultralytics.__version__,
        "load": [round(x, 2) for x in os.getloadavg()],
    }


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a call returns and the CPU seconds of this process, all threads, that it took."""
    start = time.process_time()
    result = work()
    return result, time.process_time() - start
