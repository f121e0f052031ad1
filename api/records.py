"""Objects of our own paths: events in full, versions, status, keys, the audit log. JSON kept passes through."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Literal, cast

import msgspec

from api import shapes
from api.shapes import Instant
from calendar_pipeline.bots import rules
from calendar_pipeline.event import Platform
from calendar_pipeline.history import versions
from calendar_pipeline.projects import audit
from calendar_pipeline.projects.model import Key

RENAMED = {"title": "name", "provider_event_id": "platform_uuid"}
"""Fields that the API has another name for than the record."""


class Participant(msgspec.Struct, kw_only=True):
    """Somebody invited, with what is known of their answer."""

    email: str | None = None
    name: str | None = None
    response: str | None = None
    is_optional: bool | None = None
    is_self: bool | None = None


class Content(msgspec.Struct, kw_only=True):
    """An event as a version of it has it."""

    id: str
    calendar_id: str
    version: int
    platform_uuid: str
    ical_uid: str | None
    name: str | None
    start_time: Instant
    end_time: Instant
    is_all_day: bool
    start_date: date | None
    end_date: date | None
    starts_at: Instant
    ends_at: Instant
    time_zone: str | None
    status: str
    is_deleted: bool
    meeting_url: str | None
    meeting_link: str | None
    meeting_platform: str | None
    meeting_key: str | None
    organizer_email: str | None
    own_response: str | None
    attendees: list[Participant]
    series_id: str | None
    original_starts_at: Instant | None
    location: str | None
    visibility: str
    is_busy: bool
    event_type: str
    provider_updated_at: Instant | None
    raw: dict[str, Any]


class EventDetails(Content, kw_only=True):
    """An event as it is now, with every field that is kept of it."""

    bots: list[shapes.Bot]
    created_at: Instant
    updated_at: Instant


class EventVersion(msgspec.Struct, kw_only=True):
    """A change of an event: number in the project's feed, what it did, and the event as it became."""

    sequence: int
    recorded_at: Instant
    change: Literal["created", "updated", "deleted", "restored"]
    changed: list[str]
    before: dict[str, Any]
    event: Content


class Versions(msgspec.Struct, kw_only=True):
    """Some versions, and from where to go on."""

    results: list[EventVersion]
    has_more: bool
    next_cursor: str | None


class Changes(msgspec.Struct, kw_only=True):
    """Some changes in commit order. Keep `next_cursor` together with what you made of them; it is never null."""

    results: list[EventVersion]
    has_more: bool
    next_cursor: str


class Sync(msgspec.Struct, kw_only=True):
    """An attempt to sync a calendar."""

    started_at: Instant
    finished_at: Instant
    outcome: str
    error_code: str | None
    mode: str | None
    why: str | None
    requests: int
    items: int
    created: int
    updated: int
    deleted: int
    restored: int
    quarantined: int


class StatusChange(msgspec.Struct, kw_only=True):
    """A change of a calendar's state or of its reason."""

    at: Instant
    state: str
    reason: str | None
    reason_code: str | None


class Channel(msgspec.Struct, kw_only=True):
    """The watch at the provider that tells of changes."""

    state: str
    created_at: Instant
    confirmed_at: Instant | None
    expires_at: Instant
    last_notified_at: Instant | None
    notifications: int
    code: str | None


class Coverage(msgspec.Struct, kw_only=True, rename={"from_": "from"}):
    """The span of time in which every event is held."""

    from_: Instant | None
    until: Instant | None


class CalendarStatus(msgspec.Struct, kw_only=True):
    """How a calendar fares."""

    id: str
    platform: Platform
    state: Literal["connected", "disconnected"]
    reason: str | None
    reason_code: str | None
    reason_since: Instant | None
    age_seconds: float | None
    last_successful_sync_at: Instant | None
    last_attempted_sync_at: Instant | None
    next_sync_at: Instant | None
    is_syncing: bool
    requested_generation: int
    synced_generation: int
    failures: int
    quarantined: int
    coverage: Coverage
    channel: Channel | None
    recent_syncs: list[Sync]
    recent_changes: list[StatusChange]


class SyncRequested(msgspec.Struct, kw_only=True):
    """A sync was asked for. It is done when `synced_generation` in the status is as large as this."""

    calendar_id: str
    requested_generation: int
    synced_generation: int


class ApiKey(msgspec.Struct, kw_only=True):
    """A key, without what it opens with."""

    id: str
    name: str
    prefix: str
    last_four: str
    scopes: list[str]
    created_at: Instant
    last_used_at: Instant | None
    expires_at: Instant | None
    revoked_at: Instant | None


class NewApiKey(ApiKey, kw_only=True):
    """A key just made. `key` is shown this once."""

    key: str


class ApiKeys(msgspec.Struct, kw_only=True):
    """All keys of the project."""

    results: list[ApiKey]


class AuditEntry(msgspec.Struct, kw_only=True):
    """A write that was asked for; `status` is null if no answer was recorded, 0 for a command."""

    sequence: int
    at: Instant
    actor: str
    action: str
    subject: str | None
    request_id: str
    status: int | None


class AuditLog(msgspec.Struct, kw_only=True):
    """Some writes, and from where to go on."""

    results: list[AuditEntry]
    has_more: bool
    next_cursor: str | None


class RulesTemplate(msgspec.Struct, kw_only=True):
    """What the bots are that rules make. Of their settings, which may hold secrets, only the names are shown."""

    name: str
    metadata: dict[str, Any] | None
    settings: list[str]


class BotRules(msgspec.Struct, kw_only=True):
    """Which meetings a project wants a bot for by rules."""

    bot: RulesTemplate
    project: rules.Which
    calendars: dict[str, rules.Which]


Answer = Literal["yes", "no", "unset"]


class BotOverride(msgspec.Struct, kw_only=True):
    """Whether a bot joins one event, whatever the rules say; `unset` leaves it to them."""

    event_id: str
    answer: Answer


_shallow = msgspec.json.Decoder(dict[str, msgspec.Raw])
_syncs = msgspec.json.Decoder(list[Sync])
_changes = msgspec.json.Decoder(list[StatusChange])
_channel = msgspec.json.Decoder(Channel)


def details(row: versions.Row, *, bots: list[shapes.Bot]) -> EventDetails:
    """An event in full."""
    return EventDetails(
        **_content(row, event_id=row.id), bots=bots, created_at=row.created_at, updated_at=row.updated_at
    )


def version(row: versions.Row) -> EventVersion:
    """A version of an event."""
    before = {RENAMED.get(name, name): value for name, value in _shallow.decode(row.before).items()}
    return EventVersion(
        sequence=row.seq,
        recorded_at=row.recorded_at,
        change=row.change,
        changed=[RENAMED.get(name, name) for name in cast(list[str], row.changed)],
        before=cast(dict[str, Any], before),
        event=Content(**_content(row, event_id=row.event_id)),
    )


def _content(row: versions.Row, *, event_id: str) -> Mapping[str, Any]:
    fields: dict[str, Any] = {RENAMED.get(name, name): getattr(row, name) for name in versions.FIELDS}
    return fields | {
        "id": event_id,
        "calendar_id": row.calendar_id,
        "version": row.version,
        "is_all_day": row.start_date is not None,
        "attendees": msgspec.Raw(row.attendees),
        "raw": msgspec.Raw(row.raw),
    }


def status(row: versions.Row, *, now: datetime) -> CalendarStatus:
    """A calendar's status as of `now`."""
    fresh = row.last_successful_sync_at
    return CalendarStatus(
        id=row.id,
        platform=row.platform,
        state=row.state,
        reason=row.reason,
        reason_code=row.reason_code,
        reason_since=row.reason_since,
        age_seconds=None if fresh is None else max(0.0, (now - fresh).total_seconds()),
        last_successful_sync_at=fresh,
        last_attempted_sync_at=row.last_attempted_sync_at,
        next_sync_at=row.next_sync_at,
        is_syncing=row.is_syncing,
        requested_generation=row.requested_gen,
        synced_generation=row.synced_gen,
        failures=row.failures,
        quarantined=row.quarantined,
        coverage=Coverage(from_=row.held_from, until=row.held_until),
        channel=None if row.channel is None else _channel.decode(row.channel),
        recent_syncs=_syncs.decode(row.syncs),
        recent_changes=_changes.decode(row.changes),
    )


def api_key(key: Key) -> ApiKey:
    """A key as its project sees it."""
    return ApiKey(**_key(key))


def new_api_key(key: Key, secret: str) -> NewApiKey:
    """A key when it is made."""
    return NewApiKey(**_key(key), key=secret)


def _key(key: Key) -> Mapping[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "last_four": key.last_four,
        "scopes": sorted(key.scopes),
        "created_at": key.created_at,
        "last_used_at": key.last_used_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    }


def bot_rules(kept: rules.Rules) -> BotRules:
    """Rules as their project sees them."""
    template = RulesTemplate(name=kept.bot.name, metadata=kept.bot.metadata, settings=sorted(kept.bot.settings))
    return BotRules(bot=template, project=kept.project, calendars=kept.calendars)


def audit_entry(entry: audit.Entry) -> AuditEntry:
    """A line of the audit log."""
    return AuditEntry(
        sequence=entry.sequence,
        at=entry.at,
        actor=entry.actor,
        action=entry.action,
        subject=entry.subject,
        request_id=entry.request_id,
        status=entry.status,
    )
