"""The command line: `yolo-stability VERB [TASK] key=value ...` -> one call -> an exit code."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence

from yolo_stability.cli.commands import ELSEWHERE, VERBS
from yolo_stability.cli.exit_codes import BUG, DONE, judge
from yolo_stability.cli.help import front_page, verb_page
from yolo_stability.cli.parser import KNOWN_TASKS, wants_help
from yolo_stability.core.command_line import bare, find_verb
from yolo_stability.core.errors import ConfigError
from yolo_stability.core.signals import orderly_interrupts
from yolo_stability.core.suggestions import unknown

__all__ = ["main"]

WORDS = (*VERBS, "help", "version")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; never raises.

    Args:
        argv: Arguments after the program's name; those of the process when None.

    Returns:
        Exit code: 0 done, 1 our own mistake, 2 the user's input, 3 unstable, failed or ended early, 4 too little to
        say, 130 interrupted.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    _print_anything()
    with orderly_interrupts(until_exit=argv is None):
        try:
            code = _dispatch(args)
            sys.stdout.flush()
            return code
        except SystemExit as error:  # a library that gives up
            return DONE if error.code in {None, 0} else BUG
        except BaseException as error:
            failed = error
    # out here an impatient further signal is ignored: nothing comes after the last word
    return _report(failed)


def _print_anything() -> None:
    """Let a name that is no valid text (a file name in another encoding) be printed with its odd bytes escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _dispatch(args: list[str]) -> int:
    """Find the verb and run it."""
    verb, rest = find_verb(args, VERBS)
    if not args or wants_help(args):
        return _help(verb, args)
    if verb is not None:
        return VERBS[verb].run(rest)
    words = [word for _, word in bare(args)]
    if any(word in {"version", "-v", "-version"} for word in words[:1]):
        return _version()
    raise ConfigError(_no_verb(words))


def _no_verb(words: Sequence[str]) -> str:
    """Say what is missing from a line without one of our verbs."""
    for word in words:
        if word in ELSEWHERE:
            return ELSEWHERE[word]
    other = [word for word in words if word not in KNOWN_TASKS]
    if not other:
        task = f" before '{words[0]}'" if words else ""
        return f"The verb is missing{task}; write 'yolo-stability train {' '.join([*words, 'model=... data=...'])}'."
    return f"{unknown('verb', other[0], WORDS)} 'yolo-stability help' lists the verbs."


def _help(verb: str | None, args: Sequence[str]) -> int:
    """Print the page of a verb, or the first page."""
    words = [word for i, word in bare(args) if not wants_help([args[i]])]
    if verb is None and words and words[0] not in {"version", *KNOWN_TASKS}:
        raise ConfigError(_no_verb(words))
    print(front_page() if verb is None else verb_page(VERBS[verb]), end="")
    return DONE


def _version() -> int:
    """Print the versions that matter in a report, without importing anything heavy."""
    import importlib.metadata

    for name in ("yolo-stability", "ultralytics", "torch"):
        try:
            print(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            print(f"{name} is not installed")
    return DONE


def _report(error: BaseException) -> int:
    """Say on stderr what went wrong and return the exit code."""
    failure = judge(error)
    if os.environ.get("YOLO_STABILITY_DEBUG") == "1":
        traceback.print_exception(error)
    # the reader of stdout is gone; keep Python from writing to it at exit
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    print(f"yolo-stability: {failure.text}", file=sys.stderr)
    return failure.code


if __name__ == "__main__":
    sys.exit(main())
