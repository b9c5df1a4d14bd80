"""The help pages: plain text, 80 columns, built from the table of verbs and the table of own keys."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from yolo_stability.cli.commands import VERBS, Verb
from yolo_stability.config import OWN_FLAGS, OWN_KEYS, SWITCHES

__all__ = ["front_page", "verb_page"]

_FIRST = ("guard", "rescue", "fail_on", "fault")  # what the first page has room to explain
EXITS = """\
  0  done; diagnose: stable          3  unstable, failed, damaged or ended early
  1  our mistake: please report it   4  not enough data to say
  2  your input, in one sentence   130  interrupted, everything written
"""


def front_page() -> str:
    """Return the page of `yolo-stability --help`: one screen."""
    verbs = [(verb.name, verb.summary) for verb in VERBS.values()]
    rows = [
        *verbs,
        ("help [VERB]", "this page, or more about one verb"),
        ("version", "versions in use"),
    ]
    return "\n".join(
        [
            "yolo-stability - watches, guards and measures the training of YOLO models",
            "",
            f"{_title('Usage')}  yolo-stability VERB [TASK] key=value ... [PATHS]  (the grammar of 'yolo')",
            "",
            _title("Verbs"),
            *_table(rows),
            "",
            _title("Our keys for train, beside every key of Ultralytics"),
            *_own_keys(_FIRST),
            *_table([("switches", f"{' '.join(f'{key}=' for key in SWITCHES)}")]),
            *_table(
                [
                    (
                        "'help train'",
                        f"{' '.join(f'{k}=' for k in OWN_KEYS if k not in {*_FIRST, *SWITCHES})}",
                    )
                ]
            ),
            "",
            _title("Examples"),
            *(f"  {line}" for line in VERBS["train"].examples),
            "",
            _title("Exit codes"),
            EXITS,
        ]
    )


def verb_page(verb: Verb) -> str:
    """Return the page of `yolo-stability help VERB`.

    Args:
        verb: A verb of the registry.

    Returns:
        The page, ending with a line break.
    """
    lines = [f"yolo-stability {verb.name} - {verb.summary}", "", _title("Usage")]
    lines += [f"  yolo-stability {verb.name} {verb.usage}", ""]
    if verb.details:
        lines += [verb.details]
    if verb.name == "train":
        lines += [_title("Our keys"), *_own_keys(OWN_KEYS), ""]
    if verb.examples:
        lines += [_title("Examples"), *(f"  {line}" for line in verb.examples), ""]
    return "\n".join(lines)


def _own_keys(names: Iterable[str]) -> list[str]:
    """Return the rows of the table of own keys, and the flags."""
    rows = []
    for key in (OWN_KEYS[name] for name in names):
        text = f"{key.help}: {key.valid}" if key.is_choice else key.help
        default = str(key.default).lower() if isinstance(key.default, bool) else key.default
        plain = default is None or default == "default"  # that word is among the choices
        rows.append((f"{key.name}=", text if plain else f"{text} (default {default})"))
    rows += [(f"--{flag}", text) for flag, text in OWN_FLAGS.items()]
    return _table(rows)


def _table(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Lay out rows of name and text."""
    return [f"  {name:<14} {text}" for name, text in rows]


def _title(text: str) -> str:
    """Return a heading, bold on a terminal."""
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return text if plain else f"\033[1m{text}\033[0m"
