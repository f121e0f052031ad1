"""What a platform's rules say of a link: how to write it and by what key to know the meeting."""

from typing import NamedTuple


class Place(NamedTuple):
    """A meeting's whereabouts."""

    platform: str
    url: str
    key: str
