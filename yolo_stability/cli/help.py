"""The help pages: plain text, 80 columns, built from the tables of verbs and options."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from yolo_stability.cli.commands import VERBS, Verb
from yolo_stability.config import OWN_FLAGS, OWN_KEYS, SWITCHES

__all__ = ["front_page", "verb_page"]

_FIRST = ("guard", "rescue", "fail_on", "fault")  # the options that fit on the first page
EXITS = """\
  0  success; diagnose: stable       3  unstable, failed, damaged or ended early
  1  internal error: please report   4  not enough data for a verdict
  2  invalid input, explained      130  interrupted, everything written
"""


def front_page() -> str:
    """Return the page of `yolo-stability --help`: one screen."""
    verbs = [(verb.name, verb.summary) for verb in VERBS.values()]
    rows = [
        *verbs,
        ("help [VERB]", "show this page, or the page of one verb"),
        ("version", "show the installed versions"),
    ]
    return "\n".join(
        [
            "yolo-stability - record, guard and diagnose the training of YOLO models",
            "",
            f"{_title('Usage')}  yolo-stability VERB [TASK] key=value ... [PATHS]  (the grammar of "
            "'yolo')",
            "",
            _title("Verbs"),
            *_table(rows),
            "",
            _title("Options for train, in addition to every Ultralytics key"),
            *_option_rows(_FIRST),
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
        lines += [_title("Options"), *_option_rows(OWN_KEYS), ""]
    if verb.examples:
        lines += [_title("Examples"), *(f"  {line}" for line in verb.examples), ""]
    return "\n".join(lines)


def _option_rows(names: Iterable[str]) -> list[str]:
    """Return the lines of the table of options and flags."""
    rows = []
    for key in (OWN_KEYS[name] for name in names):
        text = f"{key.help}: {key.valid}" if key.is_choice else key.help
        default = str(key.default).lower() if isinstance(key.default, bool) else key.default
        plain = default is None or default == "default"  # the choices already show `default`
        rows.append((f"{key.name}=", text if plain else f"{text} (default {default})"))
    rows += [(f"--{flag}", text) for flag, text in OWN_FLAGS.items()]
    return _table(rows)


def _table(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Align names and texts in two columns."""
    return [f"  {name:<14} {text}" for name, text in rows]


def _title(text: str) -> str:
    """Return a heading, in bold on a terminal."""
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return text if plain else f"\033[1m{text}\033[0m"
