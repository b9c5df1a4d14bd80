"""What a command declares of its line is what the parser holds it to."""

from __future__ import annotations

from typing import Any

import pytest

from yolo_stability.cli.commands import VERBS
from yolo_stability.cli.grammar import Grammar, Key, Line, is_count
from yolo_stability.cli.help import verb_page
from yolo_stability.cli.parser import arrange, parse
from yolo_stability.core.errors import ConfigError

SUITE = Grammar(
    tasks=("detect", "pose"),
    first="suite",
    keys=(
        Key(name="jobs", is_valid=is_count, valid="a whole number, 1 or more"),
        Key(name="from", keyword="start"),
        Key(name="arms", read=lambda value: value and str(value)),
        Key(name="out", default="runs", read=str),
    ),
    missing="A suite is missing.",
    surplus="Unexpected argument '{word}'.",
    other_task="Not '{word}'.",
)
FOLDER = Grammar(
    keys=(Key(name="sample", is_valid=is_count, valid="1 or more"),),
    unknown_key="Unknown key '{key}'.{hint}",
    one="One folder.",
)
STUDY = Grammar(
    words=("rnn", "clip"), unknown_word="No study '{word}'.{hint}", unknown_key="No key '{key}'."
)


def line(*words: str, **keys: Any) -> Line:
    """Return a line as it is read."""
    return Line(words=list(words), keys=keys)


def test_words_become_task_and_first_key() -> None:
    got = arrange(SUITE, line("pose", "quick", jobs=2, epochs=3))
    assert got.words == []
    assert got.keys == {"suite": "quick", "jobs": 2, "epochs": 3, "out": "runs", "task": "pose"}


def test_values_are_read_and_named_as_in_python() -> None:
    got = arrange(SUITE, line(suite="quick", **{"from": 2, "arms": None, "out": 3, "task": "pose"}))
    assert got.keys == {"suite": "quick", "start": 2, "out": "3", "task": "pose"}


@pytest.mark.parametrize(
    ("grammar", "given", "said"),
    [
        (SUITE, line(jobs=1), "A suite is missing."),
        (SUITE, line(siute="x"), "A suite is missing. Unknown key 'siute'. Did you mean 'suite'?"),
        (SUITE, line("a", "b", jobs=0), "Unexpected argument 'b'."),
        (SUITE, line("a", "segment"), "Not 'segment'."),
        (SUITE, line("a", "pose", task="detect"), "Unexpected argument 'detect'."),
        (SUITE, line("a", jobs=0), "Invalid value jobs=0: expected a whole number, 1 or more."),
        (SUITE, line("a", start=1), "Unknown key 'start'. Did you mean 'from'?"),
        (FOLDER, line(sampel=1), "Unknown key 'sampel'. Did you mean 'sample'?"),
        (FOLDER, line("a", "b", sample=0), "Invalid value sample=0: expected 1 or more."),
        (FOLDER, line("a", "b"), "One folder."),
        (FOLDER, line(), "One folder."),
        (STUDY, line("rn", x=1), "No study 'rn'. Did you mean 'rnn'?"),
        (STUDY, line("rnn", x=1), "No key 'x'."),
    ],
)
def test_the_first_mistake_is_told(grammar: Grammar, given: Line, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        arrange(grammar, given)
    assert str(refused.value) == said


def test_a_free_command_gets_what_was_typed() -> None:
    assert parse(Grammar(free=True), ["a", "=", "b"]) == Line(args=["a", "=", "b"])


@pytest.mark.parametrize("args", [["a", "--json"], ["json", "a,"], ["a", "json=True"]])
def test_a_light_line_reads_as_any_other(args: list[str]) -> None:
    assert parse(Grammar(light=True), args) == parse(Grammar(), args)
    assert parse(Grammar(light=True), args).json


@pytest.mark.parametrize("name", VERBS)
def test_help_and_complaints_name_every_key(name: str) -> None:
    verb = VERBS[name]
    for key in verb.keys:
        assert f"{key.name}=" in verb_page(verb)
        assert not verb.unknown_key or f"{key.name}=" in verb.unknown_key
