"""Encryption at rest: AES-256-GCM under a ring of named keys.

A sealed value is ``version | len(kid) | kid | nonce | ciphertext+tag``. The associated data binds it to the
version, the key's name and the place it stands in (table, column, row, project): a value copied to another
row, column or project does not open. Nonces are 96 random bits; retire a key long before 2**32 seals.
"""

import base64
import binascii
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from calendar_pipeline.errors import CredentialUnreadable, SetupError

VERSION = 1
NONCE = 12
KEY = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a secret stands. It opens nowhere else."""

    table: str
    column: str
    row: str
    project: str

    def aad(self, kid: str) -> bytes:
        """Associated data: fields cannot run into one another, since each is preceded by its length."""
        parts = (str(VERSION), kid, self.table, self.column, self.row, self.project)
        return b"".join(len(raw := part.encode()).to_bytes(2, "big") + raw for part in parts)


class KeyRing:
    """Named keys; the first seals, any of them opens."""

    def __init__(self, keys: Mapping[str, bytes], *, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        if not keys:
            raise SetupError("The key ring is empty: set CALENDAR_PIPELINE_KEYS to kid:base64-of-32-bytes.")
        self._ciphers = {kid: AESGCM(key) for kid, key in keys.items()}
        self._active = next(iter(keys))
        self._random_bytes = random_bytes

    def __repr__(self) -> str:
        return f"KeyRing(active={self._active!r}, kids={sorted(self._ciphers)!r})"

    @classmethod
    def parse(cls, text: str) -> "KeyRing":
        """A ring from ``kid:base64[,kid:base64]``, each key 32 bytes."""
        keys: dict[str, bytes] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            kid, _, encoded = part.partition(":")
            try:
                key = base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                key = b""
            if not kid or len(kid.encode()) > 255 or len(key) != KEY or kid in keys:
                raise SetupError(
                    "CALENDAR_PIPELINE_KEYS must read kid:base64[,kid:base64], every kid once, every key 32 bytes."
                )
            keys[kid] = key
        return cls(keys)

    @property
    def active(self) -> str:
        """Name of the key that seals."""
        return self._active

    @property
    def kids(self) -> frozenset[str]:
        """Names of all keys that open."""
        return frozenset(self._ciphers)

    def seal(self, secret: str, place: Place) -> bytes:
        """`secret` encrypted under the active key, bound to `place`."""
        kid = self._active.encode()
        nonce = self._random_bytes(NONCE)
        sealed = self._ciphers[self._active].encrypt(nonce, secret.encode(), place.aad(self._active))
        return bytes((VERSION, len(kid))) + kid + nonce + sealed

    def open(self, sealed: bytes, place: Place) -> str:
        """The secret again; raises CredentialUnreadable if its key is missing, or it was changed or moved."""
        kid = kid_of(sealed)
        cipher = self._ciphers.get(kid)
        if cipher is None:
            raise CredentialUnreadable(f"no key named {kid!r} in CALENDAR_PIPELINE_KEYS")
        rest = sealed[2 + len(kid.encode()) :]
        try:
            return cipher.decrypt(rest[:NONCE], rest[NONCE:], place.aad(kid)).decode()
        except (InvalidTag, ValueError):
            raise CredentialUnreadable(
                f"value in {place.table}.{place.column} does not open with key {kid!r}"
            ) from None


def kid_of(sealed: bytes) -> str:
    """The name of the key that sealed a value; raises CredentialUnreadable if it is not a sealed value."""
    if len(sealed) < 2 or sealed[0] != VERSION or len(sealed) < 2 + sealed[1] + NONCE:
        raise CredentialUnreadable("not a sealed value of a known version")
    try:
        return sealed[2 : 2 + sealed[1]].decode()
    except UnicodeDecodeError:
        raise CredentialUnreadable("not a sealed value of a known version") from None


def generate(kid: str, *, random_bytes: Callable[[int], bytes] = os.urandom) -> str:
    """A new key as it is written in CALENDAR_PIPELINE_KEYS; raises SetupError for a name that cannot be read back."""
    if not re.fullmatch(r"[\w.-]{1,64}", kid):
        raise SetupError("Name the key with up to 64 letters, digits, dots, dashes and underscores.")
    return f"{kid}:{base64.b64encode(random_bytes(KEY)).decode()}"
