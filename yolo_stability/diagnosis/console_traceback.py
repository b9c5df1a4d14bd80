"""Finds tracebacks in the lines of a console log: type, message and the user's own line."""

from __future__ import annotations

import re

from yolo_stability.core.findings import RunException

__all__ = ["TracebackReader", "is_of_library"]

_PREFIX = re.compile(r"^\[?rank ?\d{1,5}\]?: ?")
_START = re.compile(r"^\s*(?:Original |(\w[\w.]{0,100})\s+)?Traceback \(most recent call last\)")
_FRAME = re.compile(
    r'^\s*File "(?P<path>[^"]{1,1000})", line (?P<line>\d{1,9})'
    r"|^\s*File (?P<path2>[^:\"]{1,1000}|[A-Za-z]:[^:\"]{1,1000}):(?P<line2>\d{1,9})(?:,| in)"
    r"|^\s*(?:Input )?Cell In ?\[(?P<cell>\d{1,6})\], line (?P<line3>\d{1,9})"
    r"|^\s*<ipython-input-(?P<input>\d{1,6})-"
)
_END = re.compile(r"^(?P<type>(?:[A-Za-z_]\w{0,60}\.){0,8}[A-Z]\w{0,60})(?::\s?(?P<text>.*))?$")
_IGNORED = ("Exception ignored in", "Exception in thread", "Error in atexit", "--- Logging error")
_LIBRARIES = frozenset(
    {"site-packages", "dist-packages", "ultralytics", "torch", "torchvision", "yolo_stability"}
)
_STANDARD = re.compile(
    r"/lib(?:64)?/python[\d.]*/|/python[\d.-]*/lib/|/(?:bin|scripts)/[^/.]+(?:\.exe)?$",
    re.IGNORECASE,
)
"""Standard library and commands, on any system."""
_SECONDARY = frozenset({"CalledProcessError", "ChildFailedError", "SystemExit"})
"""Exceptions of a parent process: its child has reported the cause."""
_INTERRUPT = "KeyboardInterrupt"
_FEW = 3
"""Lines within which a traceback follows the line that Python ignored its exception."""
_MOST_LINES = 2000
_LONGEST = 2000


class TracebackReader:
    """Reads lines one by one and keeps the exception that counts.

    That is the last one, but for an exception of a parent process whose child has reported one, and
    for a Ctrl-C after it. What Python ignored or a thread raised did not end the run.

    Attributes:
        exception: The exception; None without one.
    """

    def __init__(self) -> None:
        self.exception: RunException | None = None
        self._reading, self._ignored, self._lines = False, 0, 0
        self._type = ""
        self._where: str | None = None

    def clear(self) -> None:
        """Forget the exception: training continued after it."""
        self.exception, self._reading = None, False

    def read(self, line: str) -> bool:
        """Read a line; return whether it is part of a traceback."""
        text = _PREFIX.sub("", line)
        if text.startswith(_IGNORED):
            self._ignored, self._reading = _FEW, False
            return True
        start = _START.match(text)
        if start is not None:
            self._reading, self._where, self._lines = True, None, 0
            self._type = start[1] or ""
            return True
        if not self._reading:
            self._ignored = max(self._ignored - 1, 0)
            return False
        return self._body(text)

    def _body(self, text: str) -> bool:
        """Read a line of a traceback."""
        self._lines += 1
        if self._lines > _MOST_LINES:
            self._reading = False
            return False
        frame = _FRAME.match(text)
        if frame is not None:
            self._where = _users_line(frame) or self._where
            return True
        if not text or text[0].isspace():
            return True
        end = _END.match(text)
        if end is None or (self._type and end["type"].rpartition(".")[2] != self._type):
            return False  # of another stream, or code in a notebook
        self._reading = False
        kind, message = end["type"].rpartition(".")[2], (end["text"] or "").strip()[:_LONGEST]
        found = RunException(type=kind, message=message, where=self._where)
        if not self._ignored and not self._is_secondary(found):
            self.exception = found
        self._ignored = 0
        return True

    def _is_secondary(self, found: RunException) -> bool:
        """Return whether an exception only follows from the one before."""
        return self.exception is not None and found.type in {*_SECONDARY, _INTERRUPT}


def _users_line(frame: re.Match[str]) -> str | None:
    """Return file and line of a frame of the user's own code; None for any other."""
    if frame["cell"]:
        return f"cell {frame['cell']}:{frame['line3']}"
    if frame["input"]:
        return f"cell {frame['input']}"
    path, line = frame["path"] or frame["path2"], frame["line"] or frame["line2"]
    if is_of_library(path):
        return None
    name = path.replace("\\", "/").rpartition("/")[2]
    return f"{name}:{line}"


def is_of_library(path: str) -> bool:
    r"""Return whether the path of a code file, of any system, is not one of the user's own.

    Example:
        >>> is_of_library("/code/train.py")
        False
        >>> is_of_library(r"C:\Python311\Lib\site-packages\ultralytics\engine\trainer.py")
        True
    """
    path = path.replace("\\", "/")
    if path.startswith("<"):
        return path not in {"<stdin>", "<string>"}
    folders = path.split("/")[:-1]
    return bool(_LIBRARIES.intersection(folders) or _STANDARD.search(path))
