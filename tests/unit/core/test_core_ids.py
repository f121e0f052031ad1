"""Public ids: a prefix and sixteen characters that anyone can write in a URL."""

import random
import re

import pytest

from calendar_pipeline import ids


@pytest.mark.parametrize("prefix", ["cal", "evt", "bot", "proj", "key", "webhook"])
def test_an_id_is_its_prefix_and_sixteen_letters_or_digits(prefix: ids.Prefix) -> None:
    assert re.fullmatch(rf"{prefix}_[A-Za-z0-9]{{16}}", ids.new(prefix))


def test_ids_do_not_repeat() -> None:
    assert len({ids.new("evt") for _ in range(10_000)}) == 10_000


def test_every_character_of_the_alphabet_is_used() -> None:
    assert set("".join(ids.new("evt")[4:] for _ in range(1000))) == set(ids.ALPHABET)


def test_given_randomness_decides_the_id() -> None:
    assert ids.new("cal", rng=random.Random(1)) == ids.new("cal", rng=random.Random(1))
