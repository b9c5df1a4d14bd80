"""`sitecustomize.py` of a process and its children that logs every network access.

Python's audit events are raised below every library written in Python, and no library can disable
them. Each line of the log is one attempt: event, target, and whether this package or Ultralytics is
nearer to it on the stack.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

LOG = os.environ.get("NETWORK_LOG", "")
REACHING = (
    "socket.connect",
    "socket.sendto",
    "socket.sendmsg",
    "socket.getaddrinfo",
    "socket.gethostbyname",
)
INSTALLERS = ("pip", "uv", "conda", "curl", "wget", "apt-get")


def _owner() -> str:
    """Return which of the two packages is nearest to the event; `other` where neither is."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_globals.get("__name__", "").partition(".")[0]
        if name in {"yolo_stability", "ultralytics"}:
            return name
        frame = frame.f_back  # type: ignore[assignment]
    return "other"


def _is_local(arguments: tuple[Any, ...]) -> bool:
    """Return whether a socket only connects processes of one machine."""
    return bool(arguments) and getattr(arguments[0], "family", None) == 1  # AF_UNIX


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event in REACHING:
        if not _is_local(arguments):
            where = (
                arguments[1]
                if event.startswith(("socket.connect", "socket.send"))
                else arguments[0]
            )
            _write({"event": event, "where": str(where), "owner": _owner()})
    elif event in {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"}:
        words = str(arguments[:2])
        if any(
            word in words.replace("/", " ").replace("'", " ").replace('"', " ").split()
            for word in INSTALLERS
        ):
            _write({"event": "install", "where": words[:200], "owner": _owner()})


def _write(entry: dict[str, str]) -> None:
    with open(LOG, "a", encoding="utf-8") as file:  # noqa: PTH123 - nothing else is imported here
        file.write(json.dumps(entry) + "\n")


if LOG and __name__ == "sitecustomize":
    sys.addaudithook(_note)
