"""What settings of a bot are held to, and that looking at them takes no longer than reading them."""

import pytest

from calendar_pipeline.bots import options


class Counted(str):
    """A text that counts what it is compared with."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return super().__eq__(other)

    __hash__ = str.__hash__


@pytest.mark.parametrize("name", ["webhooks", "transcription_settings"])
def test_many_mixed_values_are_each_looked_at_a_few_times(name) -> None:
    """Of numbers and texts mixed, each was compared with each: a megabyte of them held its process for an hour."""
    many = [0, *(Counted(f"text {number}") for number in range(2000))]
    value = [{"url": "https://a.example", "triggers": many}] if name == "webhooks" else {"deepgram": {"redact": many}}
    Counted.compared = 0
    assert options.misshapen(name, value) is not None
    assert Counted.compared < 50 * len(many)


@pytest.mark.parametrize(
    ("redact", "message"),
    [
        (["pci", "pii"], None),
        (["pci", "pci"], "['pci', 'pci'] has non-unique elements"),
        ([{"a": 1, "b": 2}, {"b": 2, "a": 1}], "[{'a': 1, 'b': 2}, {'b': 2, 'a': 1}] has non-unique elements"),
        ([1, True], "True is not of type 'string'"),
        ("pci", "'pci' is not of type 'array'"),
    ],
)
def test_a_list_whose_values_are_all_different(redact, message) -> None:
    assert options.misshapen("transcription_settings", {"deepgram": {"redact": redact}}) == message


def test_settings_of_more_values_than_anybody_needs_are_refused() -> None:
    most = options.MOST_VALUES - 1
    assert options.misshapen("kubernetes_settings", {"a": [[0]] * (most // 2 - 1)}) is None
    message = f"Ensure this field has no more than {options.MOST_VALUES} values."
    assert options.misshapen("kubernetes_settings", {"a": [[0]] * (most // 2 + 1)}) == message
    assert options.misshapen("webhooks", [0] * options.MOST_VALUES) == message
