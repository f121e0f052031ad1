"""Secrets, one-shot codes, PKCE, and opaque tokens that hold their own meaning: what both providers need."""

import base64
import hashlib
import hmac
from typing import Any

import msgspec

from sandbox.model import Code, State

_SALT = b"calendar sandbox"


def secret(state: State) -> str:
    """The next unguessable text; the same ones in the same order for the same `epoch`."""
    state.made += 1
    return hashlib.sha256(f"{state.epoch}/{state.made}".encode()).hexdigest()[:40]


def code(state: State, made: Code) -> str:
    """A one-shot authorization code."""
    text = f"4/sandbox-{secret(state)}"
    state.codes[text] = made
    return text


def verified(found: Code, verifier: str) -> bool:
    """Whether the verifier is the one whose challenge the code was asked for with (RFC 7636)."""
    if found.method == "S256":
        verifier = base64url(hashlib.sha256(verifier.encode()).digest())
    return hmac.compare_digest(verifier.encode(), (found.challenge or "").encode())


def base64url(raw: bytes) -> str:
    """As tokens on the web are written: without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def sealed(token: msgspec.Struct) -> str:
    """The opaque text of a token."""
    body = msgspec.json.encode(token)
    return base64url(hashlib.blake2b(_SALT + body, digest_size=6).digest() + body)


def opened(text: str, kind: Any) -> Any:
    """The token of this kind; None for anything this sandbox never wrote."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        if hashlib.blake2b(_SALT + raw[6:], digest_size=6).digest() != raw[:6]:
            return None
        return msgspec.json.decode(raw[6:], type=kind)
    except ValueError:
        return None
