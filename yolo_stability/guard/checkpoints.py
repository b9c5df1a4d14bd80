"""Checkpoint files: atomic writes, and one healthy checkpoint that is never overwritten."""

from __future__ import annotations

import errno
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from yolo_stability.core.files import move_onto

__all__ = ["CheckpointPaths", "HealthyCheckpoint", "atomic_checkpoints"]

_STAGING = ".writing"
_CHECK_SHARE = 0.01  # of the time that checks of candidates may take


class CheckpointPaths(Protocol):
    """Locations of a training's checkpoints.

    Attributes:
        wdir: Folder of the checkpoints.
        last: Latest checkpoint.
        best: Best checkpoint.
    """

    wdir: Path
    last: Path
    best: Path


@contextmanager
def atomic_checkpoints(paths: CheckpointPaths, *, copy: bool = False) -> Iterator[None]:
    """Redirect `save_model` or `final_eval` to a staging folder, then move each file into place.

    Ultralytics writes `last.pt` in place: a kill or a full disk during the write destroys the old
    and the new one.

    Args:
        paths: Paths of the training; inside the context they point to the staging folder.
        copy: Whether to start with copies of the last and the best checkpoint, for functions that
            rewrite them.
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
    """Maintains `healthy.pt`: a copy of an earlier `last.pt` that was followed by healthy steps.

    Each saved checkpoint is first a candidate. It becomes `healthy.pt` after enough healthy steps,
    if it passes a check. Where steps are fast the check would be a noticeable share of the time:
    there it waits, at most until the run is closed.

    No method raises if the disk is full or the folder is gone: `error` describes the reason, and
    the next save tries again.

    Args:
        folder: The `stability/` folder of the run.
        age: Healthy steps that must follow.
        problem_of: Returns what is wrong with a candidate, to complete a sentence about it, or
            None; called once for each that is old enough. None to check nothing.
        clock: Returns the time in seconds.

    Attributes:
        error: Reason of the last failure, in one sentence; None without a failure.
    """

    def __init__(
        self,
        folder: Path,
        age: int = 32,
        problem_of: Callable[[Path], str | None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._candidate, self._age = (
            folder / "healthy.pt",
            folder / ".healthy-candidate.pt",
            age,
        )
        self._problem_of, self._clock = problem_of, clock
        self._next_check = -math.inf
        self._saved_step: int | None = None
        self._old_enough = False
        self.error: str | None = None
        with self._soft():
            self._candidate.unlink(missing_ok=True)

    def saved(self, last: Path, *, step: int, unhealthy_step: int, proven: bool = False) -> None:
        """Consider a checkpoint that was just written.

        Args:
            last: The checkpoint.
            step: Number of optimizer steps so far.
            unhealthy_step: Last unhealthy step; -1 if there was none.
            proven: Whether the checkpoint holds a state that is known to be healthy.
        """
        with self._soft():
            self._confirm(step, unhealthy_step, self._age, wait=not proven)
            in_trouble = unhealthy_step >= 0 and step - unhealthy_step <= self._age
            if proven or (self._saved_step is None and not in_trouble):
                _copy(last, self._candidate)
                self._saved_step, self._old_enough = step, False
            if proven:
                self._confirm(step, -1, 0)

    def close(self, *, step: int, unhealthy_step: int, ended: bool) -> None:
        """Confirm or discard the last candidate.

        Args:
            step: Number of optimizer steps so far.
            unhealthy_step: Last unhealthy step; -1 if there was none.
            ended: Whether the run ended normally, so that no later step could reveal trouble.
        """
        with self._soft():
            self._confirm(step, unhealthy_step, 0 if ended else self._age)
            self._candidate.unlink(missing_ok=True)

    @contextmanager
    def _soft(self) -> Iterator[None]:
        """Turn a disk error into a message: a failed copy is no reason to stop a training."""
        try:
            yield
        except OSError as error:
            self._saved_step = None
            self.error = (
                f"healthy.pt could not be written: {error.strerror or error}; the training "
                "continues."
            )

    def _confirm(self, step: int, unhealthy_step: int, age: int, *, wait: bool = False) -> None:
        """Promote the candidate if it is old enough; discard it if trouble followed.

        Args:
            step: Number of optimizer steps so far.
            unhealthy_step: Last unhealthy step; -1 if there was none.
            age: Healthy steps that must follow.
            wait: Whether the check may wait for a later call.
        """
        if self._saved_step is None:
            return
        trouble = unhealthy_step >= self._saved_step
        if not self._old_enough:
            if trouble:
                self._saved_step = None
                return
            self._old_enough = step - self._saved_step >= age
        if self._old_enough and not (wait and not trouble and self._clock() < self._next_check):
            self._promote(self._saved_step)
            self._saved_step = None

    def _promote(self, saved_step: int) -> None:
        """Make the candidate `healthy.pt` if it passes the check."""
        problem = self._check()
        if problem is None:
            move_onto(self._candidate, self._path)
        else:
            self.error = (
                f"the checkpoint of step {saved_step} {problem}, so it does not become healthy.pt."
            )

    def _check(self) -> str | None:
        """Return what is wrong with the candidate, and when the next one may be checked."""
        if self._problem_of is None:
            return None
        start = self._clock()
        problem = self._problem_of(self._candidate)
        now = self._clock()
        self._next_check = now + (now - start) / _CHECK_SHARE
        return problem


def _copy(source: Path, target: Path) -> None:
    """Copy a file so that the target is either complete or unchanged."""
    size = source.stat().st_size
    # leave the last bytes of the disk to telemetry if the copy would fail anyway
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
    """Flush a file to disk before it replaces another one."""
    with file.open("r+b") as stream:  # Windows flushes only files open for writing
        os.fsync(stream.fileno())
