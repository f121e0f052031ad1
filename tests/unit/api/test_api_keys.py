"""What a good API key looks like."""

import random
import re

import pytest

from calendar_pipeline.errors import SetupError
from calendar_pipeline.projects import model


def test_a_generated_key_is_known_by_its_looks() -> None:
    key = model.generate()
    assert re.fullmatch(r"cp_live_[0-9A-Za-z]{38}", key)
    assert model.could_be_key(key)
    assert model.accept(key) == key
    assert model.generate() != key


def test_one_wrong_character_is_noticed() -> None:
    key = model.generate(rng=random.Random(1))
    for place in range(len(model.PREFIX), len(key)):
        wrong = key[:place] + ("a" if key[place] != "a" else "b") + key[place + 1 :]
        assert not model.could_be_key(wrong)


@pytest.mark.parametrize(
    "text", ["cp_live_", "cp_live_x", "cp_live_" + "0" * 38, model.generate(rng=random.Random(1)) + "0"]
)
def test_what_only_looks_generated_is_refused(text) -> None:
    assert not model.could_be_key(text)
    with pytest.raises(SetupError, match="checksum"):
        model.accept(text)


@pytest.mark.parametrize("text", ["", "two words", "ümlaut", "tab\t", "nul\0", "x" * 256])
def test_what_no_client_can_send_is_refused(text) -> None:
    with pytest.raises(SetupError, match="visible ASCII"):
        model.accept(text)


@pytest.mark.parametrize("text", ["x", "a" * 32, "sk_test_1", "x" * 255])
def test_other_keys_are_taken_as_they_are(text) -> None:
    assert model.accept(text) == text
    assert model.could_be_key(text)


def test_secrets_are_in_no_repr() -> None:
    new = model.NewKey(key=None, secret="hush")  # pyright: ignore[reportArgumentType]
    assert "hush" not in repr(new)
