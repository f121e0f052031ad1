"""What the controls answer: the same words for the world, the HTTP side and the client."""

from datetime import datetime
from typing import Any

import msgspec

from sandbox.faults import Provider

Json = dict[str, Any]


class Credentials(msgspec.Struct):
    """What an application needs to follow a calendar."""

    calendar_id: str
    account: str
    client_id: str
    client_secret: str
    refresh_token: str
    scope: str
    provider: Provider = "google"


class Seen(msgspec.Struct):
    """A request that was answered; never its tokens."""

    at: datetime
    method: str
    path: str
    query: list[str]
    """The names in the query, not the values."""
    endpoint: str
    status: int
    bytes: int


class Arrived(msgspec.Struct):
    """A webhook that arrived."""

    number: int
    name: str
    """Of the receiver: the last part of its address."""
    at: datetime
    message: str
    """Its `webhook-id`, the same each time it is sent."""
    verdict: str
    """`verified`, `not verified` (no secret is known), or `refused: …`."""
    again: bool
    """It has arrived before."""
    headers: dict[str, str]
    body: str


class Stats(msgspec.Struct):
    """How much was asked for since the last reset."""

    requests: dict[str, int]
    bytes: dict[str, int]


class Loaded(msgspec.Struct):
    """What came of an .ics file."""

    calendar_id: str
    events: int
    skipped: list[str]
    """What was left out, and why."""
    shifted_weeks: int
