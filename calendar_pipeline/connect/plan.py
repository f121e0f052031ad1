"""Hosted connect's rules: tokens, PKCE, return addresses, cookies, and who may reconnect what. Pure.

A token is ``connect_<id>.<43 characters>``, 256 random bits; the database holds its SHA-256 only. Each stage of a
connection has a token of its own, so none of them can be used twice or at another stage.
"""

import base64
import hashlib
import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlencode, urlsplit, urlunsplit

from calendar_pipeline.calendars.model import Calendar
from calendar_pipeline.errors import SetupError
from calendar_pipeline.event import Platform

Trouble = Literal[
    "used_or_expired",
    "other_browser",
    "denied",
    "calendar_not_allowed",
    "no_refresh_token",
    "other_account",
    "other_platform",
    "calendar_gone",
    "no_such_calendar",
    "provider_busy",
    "provider_refused",
    "operator",
]
"""Why a connection goes no further. Each has its own page that says what to do."""

_TOKEN = re.compile(r"connect_[A-Za-z0-9]{16}\.[A-Za-z0-9_-]{43}", re.ASCII)
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\U0010ffff\\\"<>^`{|}]")
LONGEST_URL = 2048
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What an application asks for when it sends a person to connect a calendar."""

    platform: Platform
    return_url: str
    return_state: str | None = None
    user_label: str | None = None
    login_hint: str | None = None
    calendar_id: str | None = None
    deduplication_key: str | None = None
    metadata: dict[str, object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cookie:
    """What binds a connection to the browser that began it."""

    name: str
    value: str = field(repr=False)
    is_secure: bool


def could_be_token(text: str) -> bool:
    """False if `text` cannot be a token of ours; such a one is not looked up."""
    return _TOKEN.fullmatch(text) is not None


def token(flow: str, random: bytes) -> str:
    """The token of connection `flow` from 32 random bytes."""
    return f"{flow}.{_base64url(random)}"


def flow_of(text: str) -> str:
    """The connection that a token belongs to."""
    return text.partition(".")[0]


def digest(text: str) -> bytes:
    """What is stored and looked up instead of a token or a cookie."""
    return hashlib.sha256(text.encode()).digest()


def challenge(verifier: str) -> str:
    """PKCE's S256 (RFC 7636, 4.2)."""
    return _base64url(hashlib.sha256(verifier.encode()).digest())


def cookie_name(flow: str, base_url: str) -> str:
    """One cookie for each connection, so that two tabs do not disturb each other.

    Browsers keep a ``__Host-`` cookie to this very host and to https; only plain http on loopback does without.
    """
    name = flow.replace("_", "-")
    return f"__Host-{name}" if is_secure(base_url) else name


def is_secure(base_url: str) -> bool:
    """Whether browsers reach us by https; raises SetupError for plain http beyond this machine."""
    parts = urlsplit(base_url)
    if parts.scheme == "https":
        return True
    if parts.scheme == "http" and (parts.hostname or "") in LOOPBACK:
        return False
    raise SetupError("Hosted connect needs https: set PUBLIC_BASE_URL to the address that browsers reach the API at.")


def redirect_uri(base_url: str, platform: Platform) -> str:
    """The one address that is registered at the provider, letter for letter."""
    return f"{base_url}/connect/{platform}/callback"


def check_return_url(text: str) -> str:
    """`text` if it may be registered as a return address; raises SetupError with what is wrong.

    https, or http on loopback; no user, no fragment, no query, nothing that browsers read differently than we do.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise SetupError(f"{text!r} is not an address.") from None
    host = parts.hostname or ""
    if len(text) > LONGEST_URL or _UNSAFE.search(text) or not host or port == 0:
        raise SetupError("A return URL is an absolute address in plain ASCII, such as https://app.example/connected.")
    if parts.username is not None or parts.password is not None or "#" in text or "?" in text:
        raise SetupError("A return URL has no user, no query and no fragment; hand things through in `state`.")
    if parts.scheme == "http" and host in LOOPBACK:
        return text
    if parts.scheme != "https":
        raise SetupError("A return URL begins with https://; http:// is for localhost and 127.0.0.1 only.")
    return text


def back(return_url: str, *, state: str | None, calendar_id: str | None = None, error: str | None = None) -> str:
    """The application's address with what it is told."""
    told = {"calendar_id": calendar_id, "error": error, "state": state}
    query = urlencode({name: value for name, value in told.items() if value is not None})
    return urlunsplit(urlsplit(return_url)._replace(query=query))


def origin(url: str) -> str:
    """Scheme, host and port, as a content security policy names them."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def reconnecting(calendar: Calendar, *, platform: Platform, known_account: str | None, account: str) -> Trouble | None:
    """Why `account` may not reconnect `calendar`; None if it may.

    A calendar whose account was never seen (its credentials came by the API) takes the first one that shows up.
    """
    if calendar.platform != platform:
        return "other_platform"
    if known_account is not None and known_account != account:
        return "other_account"
    return None


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
