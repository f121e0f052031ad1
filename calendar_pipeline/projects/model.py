"""What a project and its API keys are, and what a good key looks like. Pure.

A generated key is ``cp_live_`` + 32 random characters + 6 characters of checksum, all of ``[0-9A-Za-z]``: secret
scanners recognise it, and a mistyped one is refused without asking the database. Keys that an operator brings along
(from another installation, say) may look otherwise. Only the SHA-256 of a key is ever stored: a key is 190 bits of
randomness, so a slow hash would protect nothing.
"""

import binascii
import hashlib
import random
import string
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

from calendar_pipeline.errors import SetupError

PREFIX = "cp_live_"
RANDOM = 32
CHECKSUM = 6
BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
SIGNING_SECRET_BYTES = 32
LONGEST_KEY = 255
SHOWN = len(PREFIX) + 4
"""How much of a generated key's beginning is kept to recognise it by."""

Scope = Literal[
    "calendars:read",
    "calendars:write",
    "events:read",
    "bots:read",
    "bots:write",
    "webhooks:manage",
    "keys:manage",
    "audit:read",
]
SCOPES: tuple[Scope, ...] = get_args(Scope)
EVERYTHING = "*"
"""A scope that grants all others, those of later versions too."""
READ_ONLY: tuple[Scope, ...] = ("calendars:read", "events:read", "bots:read")

_system = random.SystemRandom()


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A tenant: the application whose users' calendars are followed."""

    id: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An API key as it is kept: recognisable by its beginning and its last four characters, useless for signing in."""

    id: str
    project_id: str
    name: str = ""
    prefix: str = ""
    """How it begins; empty for keys brought along."""
    last_four: str
    scopes: frozenset[str] = frozenset({EVERYTHING})
    created_at: datetime
    last_used_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def may(self, scope: str) -> bool:
        """Whether it was given `scope`."""
        return scope in self.scopes or EVERYTHING in self.scopes


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key just made. `secret` is shown once and stored nowhere."""

    key: Key
    secret: str = field(repr=False)


def generate(*, rng: random.Random = _system) -> str:
    """A fresh key; `rng` defaults to the operating system's randomness."""
    body = "".join(rng.choices(BASE62, k=RANDOM))
    return f"{PREFIX}{body}{checksum(body)}"


def checksum(body: str) -> str:
    """The CRC-32 of `body` as six base-62 digits."""
    number = zlib.crc32(body.encode())
    digits: list[str] = []
    for _ in range(CHECKSUM):
        number, digit = divmod(number, len(BASE62))
        digits.append(BASE62[digit])
    return "".join(reversed(digits))


def could_be_key(text: str) -> bool:
    """False if `text` cannot be anyone's key: it claims to be one of ours and its checksum is wrong."""
    if not text.startswith(PREFIX):
        return True
    body = text[len(PREFIX) : -CHECKSUM]
    return len(body) == RANDOM and text[-CHECKSUM:] == checksum(body)


def accept(text: str) -> str:
    """`text` as a key an operator brings along; raises SetupError if no client could ever send it."""
    if not 0 < len(text) <= LONGEST_KEY or not all("!" <= character <= "~" for character in text):
        raise SetupError(f"An API key is 1 to {LONGEST_KEY} visible ASCII characters without spaces.")
    if not could_be_key(text):
        raise SetupError(f"A key that starts with {PREFIX} must have been generated: its checksum is wrong.")
    return text


def grant(scopes: Iterable[str]) -> frozenset[str]:
    """These scopes; raises SetupError for an unknown one, or for none at all."""
    wanted = frozenset(scopes)
    if unknown := sorted(wanted - {*SCOPES, EVERYTHING}):
        raise SetupError(f"Unknown scope: {', '.join(unknown)}. Known are: {', '.join(SCOPES)}, and * for all.")
    if not wanted:
        raise SetupError("A key without any scope may do nothing: name at least one.")
    return wanted


def shown(key: str) -> str:
    """The beginning of a generated key, which is no secret; empty for others, which may be short."""
    return key[:SHOWN] if key.startswith(PREFIX) else ""


def digest(key: str) -> bytes:
    """What is stored and looked up instead of the key."""
    return hashlib.sha256(key.encode()).digest()


def new_signing_secret(*, rng: random.Random = _system) -> str:
    """A fresh secret for signing webhooks: base64 of 32 random bytes."""
    return b64encode(rng.randbytes(SIGNING_SECRET_BYTES)).decode()


def accept_signing_secret(text: str) -> str:
    """`text` as a secret to sign with; raises SetupError if it is not base64 of at least 16 bytes."""
    try:
        strong = len(b64decode(text, validate=True)) >= 16
    except (binascii.Error, ValueError):
        strong = False
    if not strong:
        raise SetupError("A webhook secret is base64 of 16 bytes or more.")
    return text
