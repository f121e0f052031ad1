"""Reading one calendar from its provider, with no transaction open."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from calendar_pipeline.db.connect import Database
from calendar_pipeline.errors import LeaseLost, OperatorMustAct, TokenRefused
from calendar_pipeline.event import Platform
from calendar_pipeline.history import store as history
from calendar_pipeline.history.diff import Held, Told, missing, sort
from calendar_pipeline.ingest import clients, plan, store
from calendar_pipeline.ingest.guard import Guard
from calendar_pipeline.ingest.store import Claim
from calendar_pipeline.providers.port import (
    CalendarProvider,
    Credentials,
    Cursor,
    Grant,
    Known,
    Meter,
    News,
    is_fresh,
)
from calendar_pipeline.secrets.keyring import KeyRing, Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingest:
    """What a sync needs; safe to share among threads."""

    db: Database
    providers: Mapping[Platform, CalendarProvider]
    keyring: KeyRing
    clock: Callable[[], datetime]
    interval: timedelta
    buffer: timedelta
    lease: timedelta
    guard: Guard = field(default_factory=Guard)
    run_id: str | None = None
    """The Dagster run on whose behalf this is, for the sync record."""
    crash: Callable[[str], None] = field(default=lambda _point: None)
    """Called at each named step; tests kill the process there."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a provider told, sorted, and what we hold of it."""

    news: News
    told: Told
    held: Sequence[Held]
    token_kind: str = "cached"  # noqa: S105 - not a token
    """Whether the read was made with a ``cached`` or a ``fresh`` access token."""


def read(ingest: Ingest, claimed: Claim, meter: Meter, *, full: bool, now: datetime) -> Reading:
    """What is new in a claimed calendar; raises ProviderError, CredentialUnreadable or LeaseLost.

    An access token that is refused before its time is replaced once, and once more if the provider says what it wants
    the next one to be asked for with.
    """
    provider = ingest.providers.get(claimed.platform)
    if provider is None:
        raise OperatorMustAct("no_provider", f"this installation has no provider for {claimed.platform}")
    claims: str | None = None
    grant = _stored_grant(ingest, claimed, now=now)
    if grant is not None:
        try:
            return _read_with(ingest, claimed, provider, grant, meter, full=full, now=now)
        except TokenRefused as refused:
            claims = refused.claims
    grant, claimed = _new_grant(ingest, claimed, provider, meter, claims=claims, now=now)
    try:
        reading = _read_with(ingest, claimed, provider, grant, meter, full=full, now=now)
    except TokenRefused as refused:
        if claims is not None or refused.claims is None:
            raise
        grant, claimed = _new_grant(ingest, claimed, provider, meter, claims=refused.claims, now=now)
        reading = _read_with(ingest, claimed, provider, grant, meter, full=full, now=now)
    return replace(reading, token_kind="fresh")  # noqa: S106 - not a token


def _read_with(
    ingest: Ingest,
    claimed: Claim,
    provider: CalendarProvider,
    grant: Grant,
    meter: Meter,
    *,
    full: bool,
    now: datetime,
) -> Reading:
    """One read; a listing that would delete more than half of what we hold is made twice before it is believed."""
    window = plan.horizon(claimed.id, now=now, buffer=ingest.buffer).window
    why = plan.needs_listing(
        full=full,
        token=claimed.sync_token,
        parameters=claimed.sync_parameters,
        current_parameters=provider.parameters,
        held_until=claimed.held_until,
        relist_at=claimed.relist_at,
        now=now,
    )
    since = None
    if claimed.sync_token is not None and claimed.sync_parameters == provider.parameters:
        since = Cursor(
            token=claimed.sync_token,
            parameters=provider.parameters,
            time_zone=claimed.time_zone,
            window=claimed.held,
        )
    news = provider.news(grant, claimed.platform_uuid, since=since, window=window, relist=why is not None, meter=meter)
    reading = _compare(ingest, claimed, replace(news, why=why) if why and news.why == "asked" else news)
    if news.complete is None:
        return reading
    live = [row for row in reading.held if not row.is_deleted and news.complete.overlaps(row.starts_at, row.ends_at)]
    lost = missing(reading.told, reading.held, news.complete)
    if plan.is_suspicious(deletes=len(lost), live=len(live)):
        again = provider.news(grant, claimed.platform_uuid, since=None, window=window, meter=meter)
        reading = _compare(ingest, claimed, replace(again, why=reading.news.why, announced=reading.news.announced))
        lost = missing(reading.told, reading.held, news.complete)
    if not lost:
        return reading
    asked = [
        Known(
            provider_event_id=row.provider_event_id,
            series_id=row.series_id,
            starts_at=row.starts_at,
            ends_at=row.ends_at,
        )
        for row in lost
    ]
    found = provider.look_up(grant, claimed.platform_uuid, asked, time_zone=reading.news.cursor.time_zone, meter=meter)
    return replace(reading, told=sort([*reading.news.items, *found])) if found else reading


def _compare(ingest: Ingest, claimed: Claim, news: News) -> Reading:
    told = sort(news.items)
    if not told.named and news.complete is None:
        return Reading(news, told, ())
    with ingest.db.single() as connection:
        held = history.held(connection, claimed.id, told.named, series=told.gone_series, window=news.complete)
    return Reading(news, told, held)


def _place(claimed: Claim, column: str) -> Place:
    return Place(table="calendar", column=column, row=claimed.id, project=claimed.project_id)


def _stored_grant(ingest: Ingest, claimed: Claim, *, now: datetime) -> Grant | None:
    """The cached access token, if it lasts long enough for a read."""
    if claimed.access_token is None or claimed.access_token_expires_at is None:
        return None
    token = ingest.keyring.open(claimed.access_token, _place(claimed, "access_token"))
    grant = Grant(access_token=token, expires_at=claimed.access_token_expires_at)
    return grant if is_fresh(grant, now=now) else None


def _new_grant(
    ingest: Ingest, claimed: Claim, provider: CalendarProvider, meter: Meter, *, claims: str | None, now: datetime
) -> tuple[Grant, Claim]:
    """A fresh access token, kept in its own transaction before it is used; and the claim with what was rotated.

    Nothing is kept if the calendar is not ours any more or was given other credentials meanwhile: LeaseLost.
    """
    refresh_token = ingest.keyring.open(claimed.refresh_token, _place(claimed, "refresh_token"))
    credentials = Credentials(
        client_id=claimed.client_id,
        client_secret=ingest.keyring.open(claimed.client_secret, _place(claimed, "client_secret")),
        refresh_token=refresh_token,
    )
    grant = provider.authorize(credentials, now=now, meter=meter, claims=claims)
    rotated = grant.refresh_token
    sealed = ingest.keyring.seal(rotated, _place(claimed, "refresh_token")) if rotated else claimed.refresh_token
    with ingest.db.single() as connection:
        kept = store.save_grant(
            connection,
            claimed,
            access_token=ingest.keyring.seal(grant.access_token, _place(claimed, "access_token")),
            expires_at=grant.expires_at,
            refresh_token=sealed,
            account=grant.account or _nameless(refresh_token),
        )
        if kept and ingest.guard.grant_is_news(claimed.client, now=now):
            clients.granted(connection, claimed.platform, claimed.client_id, now=now)
    if not kept:
        raise LeaseLost
    ingest.crash("granted")
    return grant, replace(claimed, refresh_token=sealed)


def _nameless(refresh_token: str) -> str:
    """Stands for an account that its provider does not name: calendars with the same grant are the same user's."""
    return "grant:" + hashlib.blake2b(refresh_token.encode(), digest_size=12).hexdigest()
