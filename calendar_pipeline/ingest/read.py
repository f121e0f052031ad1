"""Reading one calendar from its provider, with no transaction open."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from calendar_pipeline.db.connect import Database
from calendar_pipeline.errors import OperatorMustAct
from calendar_pipeline.event import Event, Item, Platform
from calendar_pipeline.history import persons, redact
from calendar_pipeline.history import store as history
from calendar_pipeline.history.diff import Held, Told, missing, sort
from calendar_pipeline.history.redact import Person
from calendar_pipeline.ingest import grants, plan
from calendar_pipeline.ingest.guard import Guard
from calendar_pipeline.ingest.store import Claim
from calendar_pipeline.providers.port import (
    CalendarProvider,
    Cursor,
    Grant,
    Known,
    Meter,
    News,
    Window,
)
from calendar_pipeline.secrets.keyring import KeyRing

EDGE = timedelta(days=1)


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
    safety_poll: timedelta = timedelta(hours=6)
    """Age at which a calendar is due again whose push can be relied on."""
    push_window: timedelta = timedelta(seconds=3)
    """Least time between two syncs of a calendar that notifications ask for."""
    guard: Guard = field(default_factory=Guard)
    run_id: str | None = None
    """The Dagster run on whose behalf this is, for the sync record."""
    leaves_red: bool = False
    """A failure that nobody would try again soon is found once more, at once, by an ordinary run, which turns its
    partition red. Others are so anyhow."""
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

    See `grants.with_grant` for what becomes of a refused access token.
    """
    provider = ingest.providers.get(claimed.platform)
    if provider is None:
        raise OperatorMustAct("no_provider", f"this installation has no provider for {claimed.platform}")

    erased = persons.open_(ingest.keyring, claimed.erased or (), project=claimed.project_id)

    def act(grant: Grant, claimed: Claim) -> Reading:
        return _read_with(ingest, claimed, provider, grant, meter, erased, full=full, now=now)

    reading, kind = grants.with_grant(ingest, claimed, provider, meter, act, now=now)
    return replace(reading, token_kind=kind)


def _read_with(
    ingest: Ingest,
    claimed: Claim,
    provider: CalendarProvider,
    grant: Grant,
    meter: Meter,
    erased: Sequence[Person],
    *,
    full: bool,
    now: datetime,
) -> Reading:
    """One read.

    A listing is made twice before it is believed that would delete more than half of what we hold, or an event that
    the provider still has for that time.
    """
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
    reading = _compare(ingest, claimed, replace(news, why=why) if why and news.why == "asked" else news, erased)
    if news.complete is None:
        return reading
    live = [row for row in reading.held if not row.is_deleted and news.complete.overlaps(row.starts_at, row.ends_at)]
    lost = missing(reading.told, reading.held, news.complete)
    is_suspicious = plan.is_suspicious(deletes=len(lost), live=len(live))
    found = [] if is_suspicious else _look_up(provider, grant, claimed, reading, lost, meter)
    if is_suspicious or any(_is_listed(item, news.complete) for item in found):
        again = provider.news(grant, claimed.platform_uuid, since=None, window=window, meter=meter)
        again = replace(again, why=reading.news.why, announced=reading.news.announced)
        reading = _compare(ingest, claimed, again, erased)
        lost = missing(reading.told, reading.held, news.complete)
        found = _look_up(provider, grant, claimed, reading, lost, meter)
    away = [item for item in found if not _is_listed(item, news.complete)]
    return replace(reading, told=_sorted(claimed, [*reading.news.items, *away], erased)) if away else reading


def _look_up(
    provider: CalendarProvider, grant: Grant, claimed: Claim, reading: Reading, lost: Sequence[Held], meter: Meter
) -> Sequence[Item]:
    """What became of the events that a listing did not name."""
    if not lost:
        return ()
    asked = [
        Known(
            provider_event_id=row.provider_event_id,
            series_id=row.series_id,
            starts_at=row.starts_at,
            ends_at=row.ends_at,
        )
        for row in lost
    ]
    zone = reading.news.cursor.time_zone
    return provider.look_up(grant, claimed.platform_uuid, asked, time_zone=zone, meter=meter)


def _is_listed(item: Item, window: Window) -> bool:
    """Whether the listing should have named this event. If not, it is among deleted items or in another calendar.

    This near to the window's edges that cannot be said: providers differ on where days begin that have no hours.
    """
    inner = Window(start=window.start + EDGE, end=window.end - EDGE)
    return isinstance(item, Event) and inner.overlaps(item.starts_at, item.ends_at)


def _compare(ingest: Ingest, claimed: Claim, news: News, erased: Sequence[Person]) -> Reading:
    told = _sorted(claimed, news.items, erased)
    if not told.named and news.complete is None:
        return Reading(news, told, ())
    with ingest.db.single() as connection:
        held = history.held(connection, claimed.id, told.named, series=told.gone_series, window=news.complete)
    return Reading(news, told, held)


def _sorted(claimed: Claim, told: Iterable[Item], erased: Sequence[Person]) -> Told:
    """What was told, without persons whose content was erased: providers go on telling of them."""
    return sort(redact.items(told, project=claimed.project_id, persons=erased) if erased else told)
