"""Replaces what could be private in texts: every word that this package itself does not know."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import secrets
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["Anonymizer", "known_words"]

DROPPED = "dropped"
_SECRET = re.compile(
    r"token|secret|passw|api_?key|credential|auth|notify|webhook|cookie|private", re.IGNORECASE
)
_PATH = re.compile(r"\S*[/\\~]\S*")
_RUN = re.compile(r"[^\s\"'`()\[\]{},;:=<>|!?*%&$#^]+")
_PARTS = re.compile(r"[._@+-]")
_NUMBER = re.compile(r"[+-]?(\d{1,12}(\.\d*)?|\.\d+)(e[+-]?\d{1,3})?[x%]?", re.IGNORECASE)
_MODEL = re.compile(r"(yolov?\d{1,2}[a-z]?u?|rtdetr|sam\d?)", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_LAYER = re.compile(r"^class (\w+)|self\.(\w+)", re.MULTILINE)
_HEX = 8


class Anonymizer:
    """Replaces private words by names that are the same within one anonymizer and differ between two.

    A word stays if the sources of this package hold it, or if it names a layer, its part or a shipped configuration
    of Ultralytics or torch; numbers stay. Everything else, such as paths and the names of people, files, projects
    and custom layers, becomes `path-1f2e3d4c` or `name-1f2e3d4c`. The hash has a random salt, so that a name cannot
    be found by trying.

    Example:
        >>> text = Anonymizer(salt=b"fixed").text("no image in /srv/eve/cats of model.3 EveBlock")
        >>> text.startswith("no image in path-"), "eve" in text.lower(), "of model.3 name-" in text
        (True, False, True)
    """

    def __init__(self, salt: bytes | None = None) -> None:
        """Choose the salt.

        Args:
            salt: Bytes that the hashes begin with; random if None.
        """
        self._salt = secrets.token_bytes(16) if salt is None else salt
        self.replaced: set[str] = set()

    def text(self, text: str) -> str:
        """Return a text with every path and every unknown word replaced."""
        plain = "".join(c if c.isprintable() else " " for c in text)
        return _RUN.sub(self._run, _PATH.sub(lambda found: self._name("path", found[0]), plain))

    def value(self, value: Any) -> Any:
        """Return a JSON value with its texts and keys replaced, and with what looks like a secret dropped."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {
                self.text(str(key)): DROPPED
                if _SECRET.search(str(key)) and item is not None
                else self.value(item)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value

    def _run(self, found: re.Match[str]) -> str:
        run = found[0]
        core = run.strip(".-+_@")
        if not core or _NUMBER.fullmatch(core) or core.startswith(("path-", "name-")):
            return run
        parts = [part for part in _PARTS.split(core) if part]
        if all(part.isascii() and self._known(part) for part in parts):
            return run
        return run.replace(core, self._name("name", core))

    def _known(self, part: str) -> bool:
        number = _NUMBER.fullmatch(part) or _MODEL.fullmatch(part)
        return bool(number) or part.lower() in known_words()

    def _name(self, kind: str, text: str) -> str:
        self.replaced.add(text)
        digest = hashlib.blake2b(self._salt + text.encode("utf-8", "replace"), digest_size=4)
        return f"{kind}-{digest.hexdigest()[:_HEX]}"


@cache
def known_words() -> frozenset[str]:
    """Return the words that name nobody: those of this package's sources, and public names of layers."""
    here = Path(__file__).resolve().parents[1]
    words = {
        word.lower()
        for file in here.rglob("*.py")
        if file != Path(__file__)  # its example has names
        for word in _WORD.findall(file.read_text(encoding="utf-8"))
    }
    ultralytics, torch = _place("ultralytics"), _place("torch")
    for file in [*(ultralytics / "nn").rglob("*.py"), *(torch / "nn" / "modules").glob("*.py")]:
        text = file.read_text(encoding="utf-8", errors="replace")
        words |= {name.lower() for pair in _LAYER.findall(text) for name in pair if name}
    default = ultralytics / "cfg" / "default.yaml"
    if default.is_file():
        words |= {
            word.lower()
            for word in re.findall(r"^(\w+):", default.read_text(encoding="utf-8"), re.M)
        }
    for file in (ultralytics / "cfg").rglob("*.yaml"):
        words |= {part.lower() for part in _PARTS.split(file.stem) if part}
    return frozenset(words)


def _place(package: str) -> Path:
    """Return the folder of a package, without importing it."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else Path("/nonexistent")
