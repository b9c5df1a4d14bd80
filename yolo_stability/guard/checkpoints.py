"""Checkpoints on disk: written whole or not at all, and one healthy one that nothing overwrites."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from yolo_stability.core.files import move_onto

__all__ = ["CheckpointPaths", "HealthyCheckpoint", "atomic_checkpoints"]

_STAGING = ".writing"


class CheckpointPaths(Protocol):
    """Where a training saves its checkpoints.

    Attributes:
        wdir: Their folder.
        last: The latest one.
        best: The best one.
    """

    wdir: Path
    last: Path
    best: Path


@contextmanager
def atomic_checkpoints(paths: CheckpointPaths, *, copy: bool = False) -> Iterator[None]:
    """Let `save_model` or `final_eval` write into a folder beside its own, then move each file into place.

    Ultralytics writes `last.pt` in place: a kill or a full disk in that moment destroys the old and the new one.

    Args:
        paths: The training's; they point to the staging folder inside the context.
        copy: Begin with copies of the last and the best checkpoint there, for what rewrites them.
    """
    wdir, last, best = paths.wdir, paths.last, paths.best
    staging = wdir / _STAGING
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    paths.wdir, paths.last, paths.best = staging, staging / last.name, staging / best.name
    try:
        for file in (last, best) if copy else ():
            if file.exists():
                shutil.copyfile(file, staging / file.name)
        yield
        for file in sorted(staging.iterdir()):
            _sync(file)
            move_onto(file, wdir / file.name)
    finally:
        paths.wdir, paths.last, paths.best = wdir, last, best
        shutil.rmtree(staging, ignore_errors=True)


class HealthyCheckpoint:
    """`healthy.pt`: a copy of an earlier `last.pt` that time has proven.

    Each saved checkpoint is a candidate first and becomes `healthy.pt` once enough healthy steps followed it.
    No method raises when the disk is full or the folder gone: `error` says why, and the next save tries again.

    Args:
        folder: The `stability/` folder of the run.
        age: Healthy steps that must follow.

    Attributes:
        error: Why a copy failed last, in one sentence; None while all is well.
    """

    def __init__(self, folder: Path, age: int = 32) -> None:
        self._path, self._candidate, self._age = (
            folder / "healthy.pt",
            folder / ".healthy-candidate.pt",
            age,
        )
        self._saved_step: int | None = None
        self.error: str | None = None
        with self._soft():
            self._candidate.unlink(missing_ok=True)

    def saved(self, last: Path, *, step: int, unhealthy_step: int, proven: bool = False) -> None:
        """Take note of a checkpoint that was just written.

        Args:
            last: The checkpoint.
            step: Optimizer steps taken so far.
            unhealthy_step: Last step that was not healthy; -1 if there was none.
            proven: The checkpoint holds a state that is known to be healthy.
        """
        with self._soft():
            self._confirm(step, unhealthy_step, self._age)
            in_trouble = unhealthy_step >= 0 and step - unhealthy_step <= self._age
            if proven or (self._saved_step is None and not in_trouble):
                _copy(last, self._candidate)
                self._saved_step = step
            if proven:
                self._confirm(step, -1, 0)

    def close(self, *, step: int, unhealthy_step: int, ended: bool) -> None:
        """Settle the last candidate.

        Args:
            step: Optimizer steps taken.
            unhealthy_step: Last step that was not healthy.
            ended: The run came to its own end, so no trouble was on its way.
        """
        with self._soft():
            self._confirm(step, unhealthy_step, 0 if ended else self._age)
            self._candidate.unlink(missing_ok=True)

    @contextmanager
    def _soft(self) -> Iterator[None]:
        """Turn a failure of the disk into a sentence: a copy that cannot be made is no reason to end a training."""
        try:
            yield
        except OSError as error:
            self._saved_step = None
            self.error = (
                f"healthy.pt could not be written: {error.strerror or error}; the training goes on."
            )

    def _confirm(self, step: int, unhealthy_step: int, age: int) -> None:
        """Promote the candidate if it is old enough, drop it if trouble followed."""
        if self._saved_step is None:
            return
        if unhealthy_step >= self._saved_step:
            self._saved_step = None
        elif step - self._saved_step >= age:
            move_onto(self._candidate, self._path)
            self._saved_step = None


def _copy(source: Path, target: Path) -> None:
    """Copy a file so that the target is either whole or untouched."""
    size = source.stat().st_size
    # do not take the last bytes from telemetry only to fail
    if shutil.disk_usage(target.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
    temporary = target.with_name(f"{target.name}.tmp")
    try:
        shutil.copyfile(source, temporary)
        _sync(temporary)
        move_onto(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _sync(file: Path) -> None:
    """Ask the operating system to put a file on the disk before it takes another's name."""
    with file.open("r+b") as stream:  # Windows flushes only what is open for writing
        os.fsync(stream.fileno())
