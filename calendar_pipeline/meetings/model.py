"""The words of this folder: where to look, and what was found."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingLink:
    """A link into a video meeting."""

    found: str
    """As it stood in the event: if a mail filter wrapped it, the wrapped form."""
    url: str
    """Normalised and joinable: always `https`, on a host of the table, with what is needed to join (a passcode) and
    no more."""
    platform: str
    """`zoom`, `google_meet`, `teams`, `webex`, ...; `custom` for a host that the operator named."""
    key: str
    """The same for two links into the same meeting, as `zoom:123456789`."""


@dataclass(frozen=True, slots=True)
class Source:
    """One place of an event to look in."""

    text: str
    kind: Literal["structured", "location", "text", "html"]
    """`structured` is the provider's own conference field; `html` may hold markup, and is read with and without it."""
