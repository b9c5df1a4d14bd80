"""What an anonymizer leaves of a text, and what it takes away."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolo_stability.core.anonymize import Anonymizer, known_words

PUBLIC = (
    "model.23.one2one_cv3 Detect cls",
    "the gradient norm rose to 9.95e7 at step 3, 5e3 times the highest before",
    "yolo26n-pose.yaml",
    "norm:10",
    "model.2.cv1.conv.weight",
    "optimizer=AdamW lr0=0.002",
)
PRIVATE = (
    "/srv/eve.zimmermann/clinic/data.yaml",
    r"C:\Users\Zimmermann\clinic",
    "~/clinic",
    "Zimmermann",
    "zimmermann@clinic.example",
    "s3://zimmermann-bucket/clinic",
    "https://zimmermann.example/hook?k=hunter2",
    "ZimmermannGate",
    "zimmermann_0001.jpg",
    "Циммерман",
    "\u202ezimmermann",
    "hunter2",
    "4111111111111111",
)


@pytest.mark.parametrize("text", PUBLIC)
def test_what_everybody_knows_stays(text: str) -> None:
    assert Anonymizer().text(text) == text


@pytest.mark.parametrize("text", PRIVATE)
def test_what_names_somebody_goes(text: str) -> None:
    hidden = Anonymizer().text(f"no image in '{text}' of model.3")
    for word in ("zimmermann", "clinic", "hunter2", "Циммерман", "4111111111111111", "\u202e"):
        assert word.lower() not in hidden.lower()
    assert hidden.startswith("no image in ")
    assert hidden.endswith(" of model.3")


def test_a_name_is_the_same_within_and_another_one_elsewhere() -> None:
    one, other = Anonymizer(), Anonymizer()
    assert one.text("Zimmermann") == one.text("Zimmermann")
    assert one.text("Zimmermann") != one.text("Mustermann")
    assert one.text("Zimmermann") != other.text("Zimmermann")


def test_keys_texts_and_secrets_of_a_table() -> None:
    hidden = Anonymizer().value(
        {
            "zimmermann": [1, 2.5, None, True],
            "notify": "https://zimmermann.example",
            "api_key": "hunter2",
            "batch": {"names": ["zimmermann"]},
        }
    )
    assert [1, 2.5, None, True] in hidden.values()
    assert hidden["notify"] == hidden["api_key"] == "dropped"
    assert "zimmermann" not in str(hidden)
    assert list(hidden)[-1] == "batch"


@given(st.text(max_size=200))
def test_every_word_that_stays_is_known(text: str) -> None:
    hidden = Anonymizer().text(text)
    assert hidden.isprintable() or hidden == ""
    for word in hidden.replace("_", " ").split():
        letters = "".join(c if c.isalnum() else " " for c in word).split()
        for part in letters:
            plain = part.lower()
            assert (
                plain in known_words()
                or part in {"path", "name"}
                or not plain.isalpha()
                or len(plain) == 8
            )
