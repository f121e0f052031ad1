"""A claimed calendar's access token: the cached one, or a fresh one. Syncs and channels come by it in the same way."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Literal, Protocol, TypeVar

from calendar_pipeline.db.connect import Database
from calendar_pipeline.errors import LeaseLost, TokenRefused
from calendar_pipeline.ingest import clients, store
from calendar_pipeline.ingest.guard import Guard, Pause
from calendar_pipeline.ingest.store import Claim
from calendar_pipeline.providers.port import CalendarProvider, Credentials, Grant, Meter, is_fresh
from calendar_pipeline.secrets.keyring import KeyRing, Place

T = TypeVar("T")


class Needs(Protocol):
    """What it takes; `read.Ingest` has it."""

    @property
    def db(self) -> Database:
        """Where tokens are kept."""
        ...

    @property
    def keyring(self) -> KeyRing:
        """What opens and seals them."""
        ...

    @property
    def guard(self) -> Guard:
        """What knows how OAuth clients fare."""
        ...

    @property
    def crash(self) -> Callable[[str], None]:
        """Called when a fresh token has been kept."""
        ...


def with_grant(
    needs: Needs,
    claimed: Claim,
    provider: CalendarProvider,
    meter: Meter,
    act: Callable[[Grant, Claim], T],
    *,
    now: datetime,
) -> tuple[T, Literal["cached", "fresh"]]:
    """`act` with an access token, and of which kind that was.

    A token that is refused before its time is replaced once, and once more if the provider says what it wants the
    next one to be asked for with.
    """
    claims: str | None = None
    grant = _stored(needs, claimed, now=now)
    if grant is not None:
        try:
            return act(grant, claimed), "cached"
        except TokenRefused as refused:
            claims = refused.claims
    grant, claimed = _fresh(needs, claimed, provider, meter, claims=claims, now=now)
    try:
        return act(grant, claimed), "fresh"
    except TokenRefused as refused:
        if claims is not None or refused.claims is None:
            raise
        grant, claimed = _fresh(needs, claimed, provider, meter, claims=refused.claims, now=now)
        return act(grant, claimed), "fresh"


def paused(needs: Needs, claimed: Claim, *, now: datetime) -> Pause | None:
    """The pause of its client that holds the calendar now, as far as this process knows."""
    return needs.guard.paused(
        claimed.client, project=claimed.project_id, credentials_at=claimed.credentials_at, now=now
    )


def _place(claimed: Claim, column: str) -> Place:
    return Place(table="calendar", column=column, row=claimed.id, project=claimed.project_id)


def _stored(needs: Needs, claimed: Claim, *, now: datetime) -> Grant | None:
    """The cached access token, if it lasts long enough for a read."""
    if claimed.access_token is None or claimed.access_token_expires_at is None:
        return None
    token = needs.keyring.open(claimed.access_token, _place(claimed, "access_token"))
    grant = Grant(access_token=token, expires_at=claimed.access_token_expires_at)
    return grant if is_fresh(grant, now=now) else None


def _fresh(
    needs: Needs, claimed: Claim, provider: CalendarProvider, meter: Meter, *, claims: str | None, now: datetime
) -> tuple[Grant, Claim]:
    """A fresh access token, kept in its own transaction before it is used; and the claim with what was rotated.

    Nothing is kept if the calendar is not ours any more or was given other credentials meanwhile: LeaseLost.
    """
    refresh_token = needs.keyring.open(claimed.refresh_token, _place(claimed, "refresh_token"))
    credentials = Credentials(
        client_id=claimed.client_id,
        client_secret=needs.keyring.open(claimed.client_secret, _place(claimed, "client_secret")),
        refresh_token=refresh_token,
    )
    grant = provider.authorize(credentials, now=now, meter=meter, claims=claims)
    rotated = grant.refresh_token
    sealed = needs.keyring.seal(rotated, _place(claimed, "refresh_token")) if rotated else claimed.refresh_token
    with needs.db.single() as connection:
        kept = store.save_grant(
            connection,
            claimed,
            access_token=needs.keyring.seal(grant.access_token, _place(claimed, "access_token")),
            expires_at=grant.expires_at,
            refresh_token=sealed,
            account=grant.account or _nameless(refresh_token),
        )
        if kept and needs.guard.grant_is_news(claimed.client, project=claimed.project_id, now=now):
            clients.granted(connection, claimed, now=now)
    if not kept:
        raise LeaseLost
    needs.crash("granted")
    return grant, replace(claimed, refresh_token=sealed)


def _nameless(refresh_token: str) -> str:
    """Stands for an account that its provider does not name: calendars with the same grant are the same user's."""
    return "grant:" + hashlib.blake2b(refresh_token.encode(), digest_size=12).hexdigest()
