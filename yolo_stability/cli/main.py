"""The entry point of the command line, `yolo-stability VERB [TASK] key=value ...`."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence

from yolo_stability.cli.commands import ELSEWHERE, VERBS
from yolo_stability.cli.exit_codes import BUG, DONE, classify_exception
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
        argv: Arguments after the program name; None for the arguments of the process.

    Returns:
        Exit code: 0 success, 1 internal error, 2 invalid input, 3 unstable, failed or ended early,
        4 not enough data for a verdict, 130 interrupted.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    _print_anything()
    with orderly_interrupts(until_exit=argv is None):
        try:
            code = _dispatch(args)
            sys.stdout.flush()
            return code
        except SystemExit as error:  # raised by a library
            return DONE if error.code in {None, 0} else BUG
        except BaseException as error:
            failed = error
    # outside the block a further signal is ignored, so that the message is printed completely
    return _report(failed)


def _print_anything() -> None:
    """Print undecodable bytes, such as file names in another encoding, as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _dispatch(args: list[str]) -> int:
    """Run the verb of the line."""
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
    """Return the message for a line without a known verb."""
    for word in words:
        if word in ELSEWHERE:
            return ELSEWHERE[word]
    other = [word for word in words if word not in KNOWN_TASKS]
    if not other:
        task = f" before '{words[0]}'" if words else ""
        line = " ".join(["yolo-stability train", *words, "model=... data=..."])
        return f"The verb is missing{task}: write '{line}'."
    return f"{unknown('verb', other[0], WORDS)} 'yolo-stability help' lists the verbs."


def _help(verb: str | None, args: Sequence[str]) -> int:
    """Print the help page of a verb, or the first page."""
    words = [word for i, word in bare(args) if not wants_help([args[i]])]
    if verb is None and words and words[0] not in {"version", *KNOWN_TASKS}:
        raise ConfigError(_no_verb(words))
    print(front_page() if verb is None else verb_page(VERBS[verb]), end="")
    return DONE


def _version() -> int:
    """Print the versions needed in a bug report, without importing the packages."""
    import importlib.metadata

    for name in ("yolo-stability", "ultralytics", "torch"):
        try:
            print(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            print(f"{name} is not installed")
    return DONE


def _report(error: BaseException) -> int:
    """Print the message for an exception to stderr and return the exit code."""
    failure = classify_exception(error)
    if os.environ.get("YOLO_STABILITY_DEBUG") == "1":
        traceback.print_exception(error)
    # stdout was closed by its reader; keep Python from writing to it at exit
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    print(f"yolo-stability: {failure.text}", file=sys.stderr)
    return failure.code


if __name__ == "__main__":
    sys.exit(main())
