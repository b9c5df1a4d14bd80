"""`list`: the names that other commands take."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

from yolo_stability.arguments import bare
from yolo_stability.commands.data import EMBEDDED
from yolo_stability.commands.verb import Verb
from yolo_stability.errors import ConfigError, nearest
from yolo_stability.failures import DONE
from yolo_stability.interventions.registries import CLIPS, FAULTS, INITS, NORMS

__all__ = ["VERB"]

WIDTH = 80


def run(args: Sequence[str]) -> int:
    """Print the names of one kind, or of all.

    Args:
        args: What the user typed, without the verb.

    Returns:
        Exit code 0.

    Raises:
        ConfigError: If there is no such kind.
    """
    words = [word for _, word in bare(args)]
    if len(words) < len(args):
        raise ConfigError(f"'list' takes no key=value; write 'list {'|'.join(KINDS)}'.")
    for word in words:
        if word not in KINDS:
            raise ConfigError(f"Nothing to list under '{word}'.{nearest(word, KINDS)} There is {', '.join(KINDS)}.")
    for kind in words or KINDS:
        print(f"{kind}:")
        _show(KINDS[kind]())
    return DONE


def _show(rows: Sequence[tuple[str, str]]) -> None:
    """Print rows of name and summary within 80 columns."""
    width = max([14, *(len(name) for name, _ in rows)])
    for name, summary in rows:
        first, *more = textwrap.wrap(summary, WIDTH - width - 3, break_long_words=False) or [""]
        print(f"  {name:<{width}} {first}".rstrip())
        for line in more:
            print(f"{'':{width + 3}}{line}")


def _data() -> list[tuple[str, str]]:
    """Return the embedded sets."""
    return [(name, f"embedded, for {task}") for name, task in EMBEDDED.items()]


def _scenarios() -> list[tuple[str, str]]:
    """Return the scenarios that ship with the package, by name, with the first sentence of their description."""
    import yaml

    from yolo_stability.resources import resource

    rows = []
    for file in sorted(resource("configs", "scenarios").glob("*.yaml")):
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        rows.append((file.stem, " ".join(str(content.get("description", "")).split())))
    return rows


def _interventions() -> list[tuple[str, str]]:
    """Return what is chosen by name, as one writes it, with the first sentence of its file."""
    summaries = [line for registry in (CLIPS, NORMS, INITS, FAULTS) for line in registry.summaries.values()]
    parts = [line.strip("`").partition("`: ") for line in summaries]
    return [(setting, text[:1].upper() + text[1:]) for setting, _, text in parts]


def _suites() -> list[tuple[str, str]]:
    """Return the suites that ship with the package, with their descriptions."""
    from yolo_stability.suite import load_suite, suite_names

    return [(name, load_suite(name).description) for name in suite_names()]


def _executors() -> list[tuple[str, str]]:
    """Return where the runs of a suite can happen."""
    from yolo_stability.executors import EXECUTORS

    return list(EXECUTORS.summaries.items())


KINDS: dict[str, Callable[[], list[tuple[str, str]]]] = {
    "data": _data,
    "interventions": _interventions,
    "scenarios": _scenarios,
    "suites": _suites,
    "executors": _executors,
}

VERB = Verb(
    name="list",
    usage="[data|interventions|scenarios|suites|executors]",
    summary="the names that other commands take",
    run=run,
    examples=("yolo-stability list", "yolo-stability list interventions"),
)
