"""What hosted connect needs of a provider: ask a person, redeem the answer, list the account's calendars. Pure.

The port, and the halves of the authorization-code flow that are the same everywhere (RFC 6749, 4.1; RFC 7636).
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from urllib.parse import urlencode

from calendar_pipeline.errors import ContractBroken, TryLater
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

FORM: Mapping[str, str] = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
"""Headers of a request to a token endpoint."""


def asking(
    application: Application, *, state: str, challenge: str, login_hint: str | None, **more: str
) -> dict[str, str]:
    """What the browser carries to the authorize address; `more` is the provider's own."""
    hint = {} if login_hint is None else {"login_hint": login_hint}
    return {
        "client_id": application.client_id,
        "redirect_uri": application.redirect_uri,
        "response_type": "code",
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        **more,
        **hint,
    }


def redeeming(application: Application, code: str, verifier: str) -> str:
    """The body of the request that redeems `code`."""
    return urlencode(
        {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": application.client_id,
            "client_secret": application.client_secret,
            "redirect_uri": application.redirect_uri,
            "code_verifier": verifier,
        }
    )


def read_object(body: bytes) -> Json:
    """An answer's JSON object; raises TryLater for what is no JSON, as proxies on the way send it."""
    try:
        return as_object(json.loads(body))
    except (ValueError, RecursionError):
        raise TryLater("not_json") from None


def main_first(choices: Sequence[Choice]) -> Sequence[Choice]:
    """In the order in which people look for them."""
    return sorted(choices, key=lambda one: (not one.is_primary, one.name.casefold(), one.id))


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
