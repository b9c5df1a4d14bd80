"""The `list` verb: prints the names that other commands take."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from yolo_stability.cli.commands.data import EMBEDDED
from yolo_stability.cli.commands.verb import Verb
from yolo_stability.cli.exit_codes import DONE
from yolo_stability.cli.grammar import Key, Line
from yolo_stability.cli.output import print_names, stdout_to_stderr
from yolo_stability.core.errors import ConfigError
from yolo_stability.core.suggestions import nearest
from yolo_stability.interventions.clips import CLIPS
from yolo_stability.interventions.faults import FAULTS
from yolo_stability.interventions.inits import INITS
from yolo_stability.interventions.norms import NORMS

__all__ = ["VERB"]


def call(line: Line) -> int:
    """Print the names of the given kinds, or of all kinds.

    Args:
        line: Kinds, and `out`.

    Returns:
        Exit code 0.

    Raises:
        ConfigError: If there is no such kind.
    """
    out = line.keys.get("out")
    if out is not None and line.words != ["schema"]:
        raise ConfigError(_NO_KEYS)
    for word in line.words:
        if word not in KINDS:
            raise ConfigError(
                f"Unknown list '{word}'.{nearest(word, KINDS)} Choose from {', '.join(KINDS)}."
            )
    found = {kind: KINDS[kind]() for kind in line.words or KINDS}
    if line.json:
        print(
            json.dumps(
                {kind: [{"name": n, "summary": text} for n, text in found[kind]] for kind in found}
            )
        )
    for kind in () if line.json else found:
        print(f"{kind}:")
        print_names(found[kind])
    if out is not None:
        with stdout_to_stderr() if line.json else nullcontext():
            _write_schemas(Path(str(out)))
    return DONE


def _data() -> list[tuple[str, str]]:
    """Return the embedded datasets."""
    return [(name, f"embedded, for {task}") for name, task in EMBEDDED.items()]


def _scenarios() -> list[tuple[str, str]]:
    """Return the built-in scenarios with their descriptions, sorted by name."""
    import yaml

    from yolo_stability.core.resources import resource

    rows = []
    for file in sorted(resource("configs", "scenarios").glob("*.yaml")):
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        rows.append((file.stem, " ".join(str(content.get("description", "")).split())))
    return rows


def _interventions() -> list[tuple[str, str]]:
    """Return the interventions as typed, with the first sentence of their module docstrings."""
    summaries = [
        line for registry in (CLIPS, NORMS, INITS, FAULTS) for line in registry.summaries.values()
    ]
    parts = [line.strip("`").partition("`: ") for line in summaries]
    return [(setting, text[:1].upper() + text[1:]) for setting, _, text in parts]


def _suites() -> list[tuple[str, str]]:
    """Return the built-in suites with their descriptions."""
    from yolo_stability.benchmarks.suite import load_suite, suite_names

    return [(name, load_suite(name).description) for name in suite_names()]


def _rules() -> list[tuple[str, str]]:
    """Return the diagnosis rules with the first sentence of their module docstrings."""
    from yolo_stability.diagnosis.rules import RULES

    return list(RULES.summaries.items())


def _executors() -> list[tuple[str, str]]:
    """Return the executors that can run a suite."""
    from yolo_stability.benchmarks.executors import EXECUTORS

    return list(EXECUTORS.summaries.items())


def _sinks() -> list[tuple[str, str]]:
    """Return the logger sinks with the first sentence of their module docstrings."""
    from yolo_stability.trainer.loggers import SINKS

    return list(SINKS.summaries.items())


def _schema() -> list[tuple[str, str]]:
    """Return the JSON Schemas for editors."""
    from yolo_stability.benchmarks.suite import schemas

    return [
        (f"{kind}.json", f"schema of {kind} files; 'list schema out=FOLDER' writes it")
        for kind in schemas()
    ]


def _write_schemas(folder: Path) -> None:
    """Write the JSON Schemas into a folder and print their paths."""
    from yolo_stability.benchmarks.suite import schemas

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kind, content in schemas().items():
            file = folder / f"{kind}.json"
            file.write_text(
                json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
            )
            print(f"written: {file}")
    except OSError as error:
        raise ConfigError(
            f"out={folder} cannot be written: {error.strerror}. Name another folder."
        ) from None


KINDS: dict[str, Callable[[], list[tuple[str, str]]]] = {
    "data": _data,
    "interventions": _interventions,
    "scenarios": _scenarios,
    "suites": _suites,
    "rules": _rules,
    "executors": _executors,
    "sinks": _sinks,
    "schema": _schema,
}

_NO_KEYS = (
    f"'list' takes no key=value but 'list schema out=FOLDER'; write 'list {'|'.join(KINDS)}'."
)

VERB = Verb(
    name="list",
    usage="[data|interventions|scenarios|suites|rules|executors|sinks|schema] [--json]",
    summary="list the names that other commands take",
    call=call,
    keys=(Key(name="out"),),
    unknown_key=_NO_KEYS,
    light=True,
    examples=(
        "yolo-stability list",
        "yolo-stability list interventions",
        "yolo-stability list schema out=.",
    ),
    details="""\
  'list schema out=FOLDER' writes the JSON Schemas of suite and scenario files.
  Editors then complete and validate YAML files that start with the line
  # yaml-language-server: $schema=FOLDER/suite.json
""",
)
