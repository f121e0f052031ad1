"""Graph's ids: opaque, case-sensitive, in two formats, and made out of the sandbox's own. Pure.

Immutable ones (`Prefer: IdType="ImmutableId"`) are short and stay; mutable ones are long and name the folder too.
Either is taken wherever an id is read.
"""

import base64
import hashlib

_IMMUTABLE, _MUTABLE = b"\x00\x09\x0b\x47", b"\x00\x0c\x8d\x3a"
_FOLDER = 58
"""Bytes of a mutable id that name mailbox and folder."""
EXCHANGE_UID = "040000008200E00074C5B7101A82E008"
"""How an iCalUId begins that Exchange made; the day of the instance follows."""


def calendar_id(account: str, number: int) -> str:
    """The id of the `number`-th calendar made, which lies in this account's mailbox."""
    mailbox = hashlib.blake2b(account.encode(), digest_size=33).digest()
    folder = hashlib.blake2b(f"{account}/{number}".encode(), digest_size=25).digest()
    return _text(b"\x00\x0c\x8d\x3b" + mailbox + folder)


def event_id(calendar: str, own_id: str, *, immutable: bool = True) -> str:
    """What Graph calls the event of this calendar."""
    own = own_id.encode()
    if immutable:
        return _text(_IMMUTABLE + _check(calendar, own) + own)
    folder = hashlib.blake2b(calendar.encode(), digest_size=_FOLDER).digest()
    return _text(_MUTABLE + folder + _check(calendar, own) + own)


def own_id(calendar: str, told: str) -> str | None:
    """The sandbox's own id of what Graph calls `told`; None for what is no id of this calendar."""
    try:
        raw = base64.b64decode(told + "=" * (-len(told) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    kind, rest = raw[:4], raw[4:]
    if kind == _MUTABLE:
        rest = rest[_FOLDER:]
    elif kind != _IMMUTABLE:
        return None
    own = rest[6:]
    return own.decode("utf-8", "replace") if rest[:6] == _check(calendar, own) else None


def well_formed(told: str) -> bool:
    """Whether this could be an id of anything."""
    try:
        raw = base64.b64decode(told + "=" * (-len(told) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return False
    return raw[:1] == b"\x00" and len(raw) > 16


def _check(calendar: str, own: bytes) -> bytes:
    return hashlib.blake2b(calendar.encode() + b"/" + own, digest_size=6).digest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def ical_uid(calendar: str, own_id: str) -> str:
    """A new event's iCalUId."""
    digest = hashlib.blake2b(f"{calendar}/{own_id}".encode(), digest_size=16).hexdigest().upper()
    return f"{EXCHANGE_UID}{'0' * 40}10000000{digest}"
