"""Opaque cursors of our own listings: which listing, of what, and the position in it, with a checksum.

The checksum tells a damaged cursor from one that is merely old. It is no secret: a cursor grants nothing, since every
statement is limited to the key's project.
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b

import msgspec

from api import identifiers, problems

_SUM = 6


class Position(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """A place in a listing."""

    listing: str
    of: str
    after: str | int
    epoch: str = ""


_decode = msgspec.json.Decoder(Position).decode


def write(position: Position) -> str:
    """The cursor that means `position`."""
    raw = msgspec.json.encode(position)
    return urlsafe_b64encode(_checksum(raw) + raw).rstrip(b"=").decode()


def read(text: str, *, listing: str) -> Position:
    """The position that a cursor means; raises a 400 problem for one that was damaged or is of another listing."""
    try:
        raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        if _checksum(raw[_SUM:]) != raw[:_SUM] or write(position := _decode(raw[_SUM:])) != text:
            raise ValueError(text)
    except (UnicodeError, binascii.Error, msgspec.MsgspecError, ValueError):
        raise _bad() from None
    if position.listing != listing:
        raise _bad()
    return position


def number(position: Position) -> int:
    """Where the position is a number; raises a 400 problem if it is not one that a listing gave out."""
    if not isinstance(position.after, int) or not 0 <= position.after < 2**62:
        raise _bad()
    return position.after


def event(position: Position) -> str:
    """Where the position is an event; raises a 400 problem if it is not one that a listing gave out."""
    if not isinstance(position.after, str) or not identifiers.could_be(position.after, "evt"):
        raise _bad()
    return position.after


def _checksum(raw: bytes) -> bytes:
    return blake2b(raw, digest_size=_SUM, person=b"cp-cursor").digest()


def _bad() -> problems.Problem:
    return problems.error(400, "The cursor is damaged or of another listing: use next_cursor as it was given.")
