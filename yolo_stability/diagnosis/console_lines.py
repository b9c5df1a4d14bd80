r"""Reads the lines of a console log: bounded in memory and time, without the codes of a terminal.

A progress bar redraws its line with a carriage return, so that `\r` ends a line as `\n` does.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from yolo_stability.core.errors import TraceError

__all__ = ["console_lines"]

_HEAD, _TAIL = 4 << 20, 60 << 20
"""Bytes that are read from the start and from the end of a log: it is the end that matters."""
_CHUNK = 1 << 20
_LONGEST = 8192
"""Characters of a line that are kept."""
_ENDS = re.compile(r"[\r\n]+")
_CODES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # colors, cursor
    r"|\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # titles, links
    r"|[@-Z\\^_])"
)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),  # PowerShell's `>`
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def console_lines(file: Path) -> Iterator[str]:
    """Yield the lines of a log without empty ones; the middle of a huge file is skipped.

    Args:
        file: The log, in UTF-8 or UTF-16; bytes that are neither are replaced.

    Raises:
        TraceError: The file cannot be read.
    """
    try:
        with file.open("rb") as stream:
            start = stream.read(3)
            mark, encoding = next((m for m in _MARKS if start.startswith(m[0])), (b"", "utf-8"))
            stream.seek(len(mark))
            size = os.fstat(stream.fileno()).st_size
            if size <= _HEAD + _TAIL:
                yield from _lines(stream, size, encoding)
                return
            yield from _lines(stream, _HEAD, encoding)
            stream.seek(size - _TAIL + (size - _TAIL - len(mark)) % 2)  # a whole UTF-16 unit
            yield from _lines(stream, _TAIL, encoding)
    except OSError as error:
        raise TraceError(f"'{file}' cannot be read: {error.strerror or error}.") from error


def _lines(stream: BinaryIO, length: int, encoding: str) -> Iterator[str]:
    """Yield the lines of a part of a file."""
    decoder, rest, left = codecs.getincrementaldecoder(encoding)("replace"), "", length
    while left > 0 and (chunk := stream.read(min(_CHUNK, left))):
        left -= len(chunk)
        *whole, rest = _ENDS.split(rest + decoder.decode(chunk))
        rest = rest[:_LONGEST]
        yield from _without_codes(whole)
    yield from _without_codes([rest])


def _without_codes(lines: list[str]) -> Iterator[str]:
    """Yield lines that hold something, without codes of a terminal."""
    for line in lines:
        text = line[:_LONGEST]
        if "\x1b" in text:
            text = _CODES.sub("", text)
        if text and not text.isspace():
            yield text
