"""Seeded mutants of files, and what a reader may do with one: give a result, or one sentence."""

from __future__ import annotations

import copy
import json
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from yolo_stability.core.errors import StabilityError

ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2**31,
        2**63,
        -(2**64),
        10**400,
        0.5,
        -0.0,
        1e308,
        float("nan"),
        float("inf"),
    ),
    *(
        "",
        "x",
        "../../x",
        "/etc/passwd",
        "C:\\x",
        "\x1b[31m",
        "\u202egnp",
        "<script>alert(1)</script>",
        "a\nb",
        "\ud800",
    ),
    *(
        "__import__('os').system('true')",
        "!!python/name:os.system",
        "9" * 5000,
        "nan",
        "1e999",
        "x" * 100_000,
    ),
    *(
        [],
        {},
        [[]],
        [{}],
        {"": None},
        {"__class__": "x"},
        ["x"] * 1000,
        [None],
        [0, -1],
        {"a": {"b": {"c": []}}},
    ),
)
TOKENS = (
    b"\x00",
    b"\xff\xfe",
    b"{",
    b"}",
    b"[" * 2000,
    b'"',
    b"\n",
    b"NaN",
    b"1e999",
    b"-",
    b"&a ",
    b"*a",
    b"!!python/",
)


def seeded(number: int) -> random.Random:
    """Return a generator for one mutant."""
    return random.Random(f"mutant {number}")


def of_bytes(content: bytes, number: int) -> bytes:
    """Return a mutant with 1 to 4 changes of its bytes; number 0 is unchanged."""
    if number == 0:
        return content
    draw, found = seeded(number), bytearray(content)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(found) + 1)
        end = min(len(found), at + draw.choice((1, 2, 8, 64, 1024)))
        match draw.randrange(7):
            case 0 if found:
                at = min(at, len(found) - 1)
                found[at] ^= 1 << draw.randrange(8)
            case 1:
                found[at:end] = draw.randbytes(end - at)
            case 2:
                del found[at:end]
            case 3:
                found[at:at] = found[at:end]
            case 4:
                found[at:at] = draw.choice(TOKENS)
            case 5:
                del found[at:]
            case _:
                found[at:end] = bytes(end - at)
    return bytes(found)


def of_value(content: Any, number: int) -> Any:
    """Return a mutant with 1 to 3 changes of its JSON values; number 0 is unchanged."""
    if number == 0:
        return content
    draw, found = seeded(number), json.loads(json.dumps(content))
    for _ in range(draw.randint(1, 3)):
        places = list(_places(found))
        if not places:
            return draw.choice(ODD)
        node, key = draw.choice(places)
        match draw.randrange(5):
            case 0:
                del node[key]
            case 1 if isinstance(node, list):
                node.insert(0, copy.deepcopy(node[key]))
            case 2 if isinstance(node, dict):
                node[f"{key}x"] = node.pop(key)
            case _:
                node[key] = copy.deepcopy(
                    draw.choice(ODD)
                )  # or a later change would hit all of them, or close a ring
    return found


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield container and key of every value."""
    for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
        yield node, key
        if isinstance(value, dict | list):
            yield from _places(value)


def as_json(value: Any) -> bytes:
    """Return JSON; NaN, Inf and surrogates as Python writes them."""
    return json.dumps(value).encode("utf-8")


def outcomes(tries: int, read: Callable[[int], object]) -> dict[str, int]:
    """Let a reader read mutants.

    Args:
        tries: Number of mutants.
        read: Reads the mutant with a given number.

    Returns:
        The number of results and of one-sentence errors (both must occur), and the longest time
        in seconds.
    """
    counts, slowest = {"read": 0, "refused": 0}, 0.0
    for number in range(tries):
        start = time.monotonic()
        try:
            read(number)
            counts["read"] += 1
        except StabilityError as error:
            text = str(error)
            assert text.rstrip().endswith((".", "?", "!")), f"mutant {number}: {text!r}"
            assert "\x1b" not in text
            assert len(text) < 5000, f"mutant {number}: a sentence of {len(text)} characters"
            counts["refused"] += 1
        except BaseException as error:
            pytest.fail(
                f"mutant {number}: {type(error).__name__}: {str(error)[:300]}\n{_where(error)}",
                pytrace=False,
            )
        slowest = max(slowest, time.monotonic() - start)
    assert all(counts.values()), counts
    return {**counts, "seconds": round(slowest)}


def _where(error: BaseException) -> str:
    """Return where an error arose."""
    import traceback

    return "".join(traceback.format_tb(error.__traceback__)[-6:])
