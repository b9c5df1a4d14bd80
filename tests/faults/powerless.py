"""Root without the privilege to ignore permission bits, for this thread and its children."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator

_VERSION = 0x20080522
_DAC = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


@contextlib.contextmanager
def without_power() -> Iterator[str | None]:
    """Be like anybody inside the context; yields why that cannot be, or None."""
    if not sys.platform.startswith("linux"):
        yield "capabilities are Linux'"
        return
    if os.geteuid() != 0:
        yield None
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = _Header(_VERSION, 0), (_Sets * 2)()
    if libc.capget(ctypes.byref(header), sets):
        yield f"capget: {os.strerror(ctypes.get_errno())}"
        return
    before = sets[0].effective
    sets[0].effective = before & ~_DAC
    if libc.capset(ctypes.byref(header), sets):
        yield f"capset: {os.strerror(ctypes.get_errno())}"
        return
    try:
        yield None
    finally:
        sets[0].effective = before
        libc.capset(ctypes.byref(header), sets)
