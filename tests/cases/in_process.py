"""The command line and scripts of people's own, run in this process as a fresh one would run them."""

from __future__ import annotations

import contextlib
import io
import logging
import runpy
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ultralytics.nn import tasks
from ultralytics.utils.callbacks.base import default_callbacks

from yolo_stability.cli.main import main


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How a command or a script ended.

    Attributes:
        code: Exit code; of a script 0, or 1 where it raised.
        out: What it wrote to stdout.
        printed: Everything it printed, in order: stdout, stderr, log and traceback.
        raised: Exception that a script ended with.
    """

    code: int
    out: str
    printed: str
    raised: BaseException | None = None


class _Channel(io.StringIO):
    """A stream that also writes to the record of all streams."""

    def __init__(self, record: io.StringIO) -> None:
        super().__init__()
        self._record = record

    def write(self, text: str) -> int:
        self._record.write(text)
        return super().write(text)


@contextlib.contextmanager
def _captured() -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """Yield stdout and the record of all streams, with the log of Ultralytics on stdout as in a fresh process."""
    record = io.StringIO()
    out, err = _Channel(record), _Channel(record)
    logger = logging.getLogger("ultralytics")
    handlers, level, disabled = logger.handlers[:], logger.level, logger.disabled
    logger.handlers, logger.disabled = [logging.StreamHandler(out)], False
    logger.setLevel(logging.INFO)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield out, record
    finally:
        logger.handlers, logger.disabled = handlers, disabled
        logger.setLevel(level)


def _one_thread(trainer: Any) -> None:
    """Use one thread: `select_device` overrides the count, and the count changes the weights."""
    torch.set_num_threads(1)


@contextlib.contextmanager
def _fresh(folder: Path) -> Iterator[None]:
    """Run in a folder, on one thread, and forget modules and layers that come from there."""
    known, layers = set(sys.modules), set(vars(tasks))
    default_callbacks["on_pretrain_routine_start"].append(_one_thread)
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        default_callbacks["on_pretrain_routine_start"].remove(_one_thread)
        for name in set(sys.modules) - known:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).is_relative_to(folder):
                del sys.modules[name]
        for name in set(vars(tasks)) - layers:
            delattr(tasks, name)


def run_command(folder: Path, *words: str) -> Ran:
    """Run `yolo-stability WORDS` in a folder."""
    with _fresh(folder), _captured() as (out, record):
        code = main(list(words))
    return Ran(code=code, out=out.getvalue(), printed=record.getvalue())


def run_script(folder: Path, name: str = "train.py") -> Ran:
    """Run a script of a folder as `python train.py` does there."""
    raised: BaseException | None = None
    with _fresh(folder), _captured() as (out, record):
        sys.path.insert(0, str(folder))
        try:
            runpy.run_path(str(folder / name), run_name="__main__")
        except Exception as error:
            raised = error
            traceback.print_exc()
        finally:
            sys.path.remove(str(folder))
    return Ran(
        code=int(raised is not None), out=out.getvalue(), printed=record.getvalue(), raised=raised
    )
