"""YAML that cannot lose or multiply settings."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolo_stability.core.errors import ConfigError
from yolo_stability.core.strict_yaml import load_yaml


def test_plain_settings() -> None:
    text = "a: 1e-3\nb: 2.5E+4\nc: [1, two]\nd: {e: true}\nf: none\ng: 1_000\n"
    assert load_yaml(text, "x.yaml") == {
        "a": 0.001,
        "b": 25000.0,
        "c": [1, "two"],
        "d": {"e": True},
        "f": "none",
        "g": 1000,
    }


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\nb: 2\na: 3\n", "x.yaml, line 3: duplicate key 'a'; keep one."),
        ("a: {b: 1, b: 2}\n", "x.yaml, line 1: duplicate key 'b'; keep one."),
        ("a: &x [1]\nb: *x\n", "x.yaml, line 2: aliases"),
        ("- 1\n- 2\n", "x.yaml must be a mapping of keys to values, not list."),
        ("", "x.yaml must be a mapping of keys to values, not NoneType."),
        ("a: [1\n", "x.yaml, line 2 is not valid YAML"),
        ("a: b: c\n", "x.yaml, line 1 is not valid YAML: mapping values are not allowed here."),
        ("? [1]\n: 2\n", "x.yaml, line 1: a key must be a string."),
        ("a: !!python/object/apply:os.system ['true']\n", "x.yaml, line 1 is not valid YAML"),
    ],
)
def test_mistakes_name_file_and_line(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_yaml(text, "x.yaml")
    assert str(error.value).startswith(complaint)


def test_a_bomb_of_aliases_does_not_go_off() -> None:
    """Each line doubles the one before nine times over: unfolded, gigabytes."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    with pytest.raises(ConfigError, match="line 2: aliases"):
        load_yaml("\n".join(lines), "x.yaml")


@given(st.text(max_size=200))
def test_no_text_raises_anything_else(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(load_yaml(text, "x.yaml"), dict)
