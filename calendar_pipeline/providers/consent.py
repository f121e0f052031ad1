"""What hosted connect needs of a provider: ask a person, redeem the answer, list the account's calendars. Pure."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from calendar_pipeline.errors import ContractBroken
from calendar_pipeline.event import Platform
from calendar_pipeline.providers.json_values import Json, as_object
from calendar_pipeline.providers.port import Meter


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """A registered OAuth client."""

    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who allowed it. `id` never changes; `email` is for people."""

    id: str
    email: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What a person allowed."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    """None if the provider gave none: without one nothing can be followed."""
    account: Account
    may_read_calendars: bool
    """False if the person unticked the calendar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A calendar of the account."""

    id: str
    name: str
    is_primary: bool
    time_zone: str | None = None


class ConsentProvider(Protocol):
    """A provider's side of the authorization-code flow. Every method may raise `errors.ProviderError`."""

    @property
    def platform(self) -> Platform:
        """The platform's name in the API."""
        ...

    def authorize_url(self, application: Application, *, state: str, challenge: str, login_hint: str | None) -> str:
        """Where the browser goes to be asked; PKCE with S256."""
        ...

    def redeem(self, application: Application, code: str, verifier: str, *, now: datetime, meter: Meter) -> Consent:
        """What `code` stands for; it works once."""
        ...

    def calendars(self, access_token: str, *, now: datetime, meter: Meter) -> Sequence[Choice]:
        """The account's calendars, the primary one first."""
        ...


MOST_CHOICES = 1000
"""Calendars of one account that are offered."""


def id_token_claims(token: object, *, audience: str, issuers: tuple[str, ...], now: datetime) -> Json:
    """The claims of an id token that came straight from the token endpoint; raises ContractBroken.

    Its signature need not be checked then, since TLS authenticates who sent it (OpenID Connect Core 3.1.3.7, 6.).
    `issuers` are prefixes: Entra names the tenant behind its own.
    """
    try:
        claims = as_object(json.loads(_part(str(token).split(".")[1])))
        expires = claims["exp"]
    except (IndexError, KeyError, ValueError, RecursionError):
        raise ContractBroken("id_token_unreadable") from None
    if claims.get("aud") != audience:
        raise ContractBroken("id_token_for_another_client")
    if not isinstance(claims.get("iss"), str) or not str(claims["iss"]).startswith(issuers):
        raise ContractBroken("id_token_of_another_issuer")
    if not isinstance(expires, int | float) or expires < now.timestamp():
        raise ContractBroken("id_token_expired")
    return claims


def _part(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
