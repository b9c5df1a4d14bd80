"""What every test stands on: Ultralytics offline, with settings, cache and runs in a folder of this session."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

# A loaded machine is slow, which says nothing about the code. CI judges a change, so it tries the same examples each
# time; new ones are looked for wherever people run the tests.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")

# Started in the background (`nohup make test &`), Python finds SIGINT ignored, and so would every process that a test
# starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPO = Path(__file__).resolve().parents[1]
SLOW = ("trains", "browser", "installs")
ROOT_ENV = "YOLO_STABILITY_TEST_ROOT"


def _isolate() -> Path | None:
    """Point Ultralytics and our cache at a folder of this session; done at import, before anything reads them."""
    if ROOT_ENV in os.environ:  # a worker or a child of a session that has done it
        return None
    root = Path(tempfile.mkdtemp(prefix="yolo-stability-tests-"))
    for name in ("YOLO_VERBOSE", "YOLO_STABILITY_DEBUG"):
        os.environ.pop(name, None)
    os.environ.update(
        {
            ROOT_ENV: str(root),
            "YOLO_CONFIG_DIR": str(root / "config"),
            "YOLO_OFFLINE": "true",
            "YOLO_AUTOINSTALL": "false",
            "YOLO_STABILITY_CACHE": str(root / "cache"),
            "MPLBACKEND": "Agg",
            "OMP_NUM_THREADS": "1",
        }
    )
    _place_font(root / "config")
    return root


def _place_font(config: Path) -> None:
    """Put a font where Ultralytics looks for Arial, so that it does not download one."""
    import importlib.util

    spec = importlib.util.find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    font = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    folder = config / "Ultralytics"
    folder.mkdir(parents=True)
    shutil.copy(font, folder / "Arial.ttf")


_OWNED = _isolate()


def pytest_unconfigure() -> None:
    """Remove the session's folder."""
    if _OWNED is not None:
        shutil.rmtree(_OWNED, ignore_errors=True)


def coco_mini_folder() -> Path:
    """Return where the real COCO images are expected."""
    return Path(
        os.environ.get("YOLO_STABILITY_COCO_MINI") or REPO.parent / "shared" / "data" / "coco-mini"
    )


@pytest.fixture(scope="session")
def coco_mini() -> Path:
    """Give the folder of the real COCO images, or skip where it is absent."""
    folder = coco_mini_folder()
    if not folder.is_dir():
        pytest.skip(f"coco-mini is not at {folder}; set YOLO_STABILITY_COCO_MINI")
    return folder


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what takes long and is not marked `smoke` to `make test-full`: `make test` takes minutes.

    With YOLO_STABILITY_ALL_TRAININGS=1 only those stay out that are marked `full` themselves.
    """
    for item in [] if os.environ.get("YOLO_STABILITY_ALL_TRAININGS") else items:
        slow = any(item.get_closest_marker(name) for name in SLOW)
        if slow and not item.get_closest_marker("smoke"):
            item.add_marker(pytest.mark.full)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, fail a skipped coco_mini test where the images are there: a skip would hide that nothing was tested."""
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    required = (
        item.get_closest_marker("coco_mini")
        and os.environ.get("CI")
        and coco_mini_folder().is_dir()
    )
    if skipped and required:
        report.outcome = "failed"
        report.longrepr = f"skipped although {coco_mini_folder()} is there: {report.longrepr}"
    return report


@pytest.fixture
def log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> pytest.LogCaptureFixture:
    """What goes to Ultralytics' log, whatever another test has left of it."""
    logger = logging.getLogger("ultralytics")
    monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.setattr(logger, "disabled", False)
    monkeypatch.setattr(logging.root.manager, "disable", logging.NOTSET)
    caplog.set_level(logging.INFO, logger="ultralytics")
    return caplog
