"""Sections of docstrings."""

from __future__ import annotations

from yolo_stability.core.docstrings import attribute_texts, prose_of


class Documented:
    """First line.

    More that is
    wrapped.

    Attributes:
        one: A number, with a second line
            below it.
        two: Another one: with a colon.

    Example:
        >>> not_an_attribute: 1
    """


class Child(Documented):
    pass


def test_prose_and_attributes_are_separated() -> None:
    assert prose_of(Documented.__doc__) == ["First line.", "More that is wrapped."]
    assert attribute_texts(Documented) == {
        "one": "A number, with a second line below it.",
        "two": "Another one: with a colon.",
    }


def test_a_class_without_a_docstring_has_none_of_its_base() -> None:
    assert attribute_texts(Child) == {}
    assert prose_of(Child.__doc__ if "__doc__" in vars(Child) else None) == []
