"""Sync and page tokens: opaque to the client, self-contained for us.

A sync token holds the calendar, the change number it was issued at, when, and a digest of the parameters
that must stay the same. It does not hold the window (SIM §1.5), except for the switch that says otherwise.
"""

import hashlib
from datetime import datetime

import msgspec

from sandbox.tokens import opened, sealed


class SyncToken(msgspec.Struct, tag="sync", omit_defaults=True):
    """Where an incremental listing starts."""

    epoch: str
    calendar: str
    generation: int
    seq: int
    issued_at: datetime
    params: str
    low: datetime | None = None
    high: datetime | None = None
    """The window of the first listing: only obeyed under `token_keeps_window`."""


class PageToken(msgspec.Struct, tag="page", omit_defaults=True):
    """Where the next page starts: after the row `after` in the listing's stable order."""

    epoch: str
    calendar: str
    params: str
    seq: int
    """The change number when the first page was read: the sync token at the end must not skip what came since."""
    after: tuple[str, str] = ("", "")
    told_any: bool = False
    pages: int = 0


def write(token: SyncToken | PageToken) -> str:
    """The opaque text."""
    return sealed(token)


def read(text: str) -> SyncToken | PageToken | None:
    """The token; None for anything this sandbox never wrote."""
    return opened(text, SyncToken | PageToken)


def digest(params: dict[str, tuple[str, ...]]) -> str:
    """A short digest of query parameters."""
    return hashlib.blake2b(repr(sorted(params.items())).encode(), digest_size=6).hexdigest()
