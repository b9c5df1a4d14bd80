"""`list`: the names that other commands take."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from yolo_stability.arguments import bare
from yolo_stability.commands.data import EMBEDDED
from yolo_stability.commands.verb import Verb
from yolo_stability.errors import ConfigError, nearest
from yolo_stability.failures import DONE

__all__ = ["VERB"]


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
            raise ConfigError(f"Nothing to list under '{word}'.{nearest(word, KINDS)} There is {' and '.join(KINDS)}.")
    for kind in words or KINDS:
        print(f"{kind}:")
        for name, summary in KINDS[kind]():
            print(f"  {name:<14} {summary}".rstrip())
    return DONE


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


KINDS: dict[str, Callable[[], list[tuple[str, str]]]] = {"data": _data, "scenarios": _scenarios}

VERB = Verb(
    name="list",
    usage="[data|scenarios]",
    summary="the names that other commands take",
    run=run,
    examples=("yolo-stability list", "yolo-stability list scenarios"),
)
