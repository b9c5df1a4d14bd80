"""What README and documentation print for a reader to type, in the order of reading."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[1]
PAGES = REPO / "docs" / "pages"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:yolo-stability|yolo|make|pytest|python|pip)\s[^`]+)`")
_ANY = re.compile(f"{FENCE.pattern}|{INLINE.pattern}", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Printed:
    """One line for the shell, or one block of Python.

    Attributes:
        page: `README.md`, or the page's path under `docs/pages/`.
        text: What it says; a line that goes on is joined, its comment is left out.
        python: Whether it is Python.
        word: First word of the output that is shown for it, such as `failed`; empty where none is shown.
    """

    page: str
    text: str
    python: bool = False
    word: str = ""


def pages_in_order() -> list[str]:
    """Return README and all written pages as the navigation lists them."""
    nav = tomllib.loads((REPO / "docs" / "zensical.toml").read_text(encoding="utf-8"))["project"][
        "nav"
    ]
    listed = [name for entry in nav for name in leaves(entry)]
    return ["README.md", *(name for name in listed if not name.startswith("generated/"))]


def leaves(entry: dict[str, Any]) -> Iterator[str]:
    """Yield the pages of an entry of the navigation."""
    for value in entry.values():
        if isinstance(value, str):
            yield value
        else:
            for inner in value:
                yield from leaves(inner)


def read_page(name: str) -> str:
    """Return the text of a page as `pages_in_order` names it."""
    return ((REPO if name == "README.md" else PAGES) / name).read_text(encoding="utf-8")


def printed_on(page: str, text: str) -> list[Printed]:
    """Return what a page prints to be typed: console blocks, inline code beyond a mere verb, blocks of Python."""
    found: list[Printed] = []
    for language, body, inline in _ANY.findall(text):
        if language == "console":
            found += _console(page, body)
        elif language == "python":
            found.append(Printed(page, body, python=True))
        elif language == "text" and found:
            found[-1] = _with_output(found[-1], body)
        elif inline and (len(inline.split()) > 2 or inline.split()[0] == "make"):
            found.append(Printed(page, _plain(inline)))
    return found


def _console(page: str, body: str) -> list[Printed]:
    """Return the lines of a console block; where some begin with `$ `, the others are output."""
    lines = body.replace("\\\n", " ").splitlines()
    if not any(line.startswith("$ ") for line in lines):
        return [Printed(page, _plain(line)) for line in lines if line.strip()]
    found: list[Printed] = []
    output: list[str] = []
    for line in [*lines, "$ "]:
        if not line.startswith("$ "):
            output.append(line)
            continue
        if found and output:
            found[-1] = _with_output(found[-1], "\n".join(output))
        output = []
        found += [Printed(page, _plain(line[2:]))] if line[2:] else []
    return found


def _with_output(line: Printed, output: str) -> Printed:
    word = re.match(r"(\w+):", output)
    return Printed(line.page, line.text, line.python, word[1] if word else "")


def _plain(line: str) -> str:
    return " ".join(re.sub(r"\s#\s.*", "", line).split())
