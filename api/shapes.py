"""The objects of the API, field for field in the order they are sent."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar, cast

import msgspec

from calendar_pipeline.bots import model as bots
from calendar_pipeline.calendars import model as calendars
from calendar_pipeline.event import Platform
from calendar_pipeline.history.read import StoredEvent
from calendar_pipeline.webhooks import model as webhooks

T = TypeVar("T")

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""An aware datetime; the document then says date-time."""


class Calendar(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A followed calendar. Its credentials are never shown."""

    id: str
    platform: Platform
    client_id: str
    platform_uuid: str | None
    state: calendars.State
    metadata: Mapping[str, Any] | None
    deduplication_key: str | None
    connection_failure_data: Mapping[str, Any] | None
    created_at: Instant
    updated_at: Instant
    last_successful_sync_at: Instant | None
    last_attempted_sync_at: Instant | None


class Attendee(msgspec.Struct, kw_only=True, forbid_unknown_fields=False):
    """Somebody invited. What else is known of them is left out."""

    email: str | None = None
    name: str | None = None


class BotEvent(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Something that happened to a bot. `sub_type` is left out unless there is one."""

    type: bots.EventType
    created_at: Instant
    sub_type: str | None = None


class Bot(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A bot that joins a meeting. What else it was made with is never shown."""

    id: str
    metadata: Mapping[str, Any] | None
    meeting_url: str
    state: bots.State
    events: list[BotEvent]
    transcription_state: bots.TranscriptionState
    recording_state: bots.RecordingState
    join_at: Instant | None
    deduplication_key: str | None


class BotDecision(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What was decided about a bot, and why."""

    at: datetime
    decision: str
    reason: str
    event_id: str | None
    event_version: int | None
    old_state: bots.State | None
    new_state: bots.State | None


class BotDecisions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A bot's record, oldest first."""

    results: list[BotDecision]


class CalendarEvent(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An event as it is now, deleted or not."""

    id: str
    calendar_id: str
    platform_uuid: str
    meeting_url: str | None
    start_time: Instant
    end_time: Instant
    is_deleted: bool
    attendees: list[Attendee]
    ical_uid: str | None
    name: str | None
    raw: dict[str, Any]
    bots: list[Bot]
    created_at: Instant
    updated_at: Instant


class Page(msgspec.Struct, Generic[T], kw_only=True, forbid_unknown_fields=True):
    """A page of a listing and the addresses of its neighbours."""

    next: str | None
    previous: str | None
    results: list[T]


_attendees = msgspec.json.Decoder(list[Attendee])
_bot_events = msgspec.json.Decoder(list[BotEvent])


def calendar(row: calendars.Calendar) -> Calendar:
    """A calendar as the API shows it."""
    return Calendar(
        id=row.id,
        platform=row.platform,
        client_id=row.client_id,
        platform_uuid=row.platform_uuid,
        state=row.state,
        metadata=row.metadata,
        deduplication_key=row.deduplication_key,
        connection_failure_data=row.connection_failure_data,
        created_at=row.created_at,
        updated_at=row.updated_at,
        last_successful_sync_at=row.last_successful_sync_at,
        last_attempted_sync_at=row.last_attempted_sync_at,
    )


def bot(row: bots.Bot) -> Bot:
    """A bot as the API shows it."""
    return Bot(
        id=row.id,
        metadata=None if row.metadata is None else cast(Mapping[str, Any], msgspec.Raw(row.metadata)),
        meeting_url=row.meeting_url,
        state=row.state,
        events=_bot_events.decode(row.events),
        transcription_state=row.transcription_state,
        recording_state=row.recording_state,
        join_at=row.join_at,
        deduplication_key=row.deduplication_key,
    )


def decision(row: bots.Decision) -> BotDecision:
    """A decision as the API shows it."""
    return BotDecision(
        at=row.at,
        decision=row.decision,
        reason=row.reason,
        event_id=row.event_id,
        event_version=row.event_version,
        old_state=row.old_state,
        new_state=row.new_state,
    )


def event(row: StoredEvent, *, bots: Sequence[bots.Bot] = ()) -> CalendarEvent:
    """An event and its bots as the API shows them.

    The provider's JSON goes into the answer as stored, without being parsed.
    """
    return CalendarEvent(
        id=row.id,
        calendar_id=row.calendar_id,
        platform_uuid=row.provider_event_id,
        meeting_url=row.meeting_url,
        start_time=row.start_time,
        end_time=row.end_time,
        is_deleted=row.is_deleted,
        attendees=_attendees.decode(row.attendees),
        ical_uid=row.ical_uid,
        name=row.title,
        raw=cast(dict[str, Any], msgspec.Raw(row.raw)),
        bots=[bot(one) for one in bots],
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


class Webhook(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An endpoint that is told of events, and how it fares."""

    id: str
    bot_id: str | None
    url: str
    triggers: list[str]
    content: webhooks.Content
    ordering: webhooks.Ordering
    concurrency: int
    secret: Literal["project", "own"]
    former_secret_until: datetime | None
    state: Literal["enabled", "failing", "disabled"]
    disabled_at: datetime | None
    disabled_reason: str | None
    failing_since: datetime | None
    failures: int
    created_at: datetime
    updated_at: datetime


class NewWebhook(Webhook, kw_only=True, forbid_unknown_fields=True):
    """An endpoint just made. `signing_secret` is shown here and never again; null: the project's, shown before."""

    signing_secret: str | None


class SigningSecret(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A secret just made, shown here and never again. The former one is good until then as well."""

    signing_secret: str
    former_secret_until: datetime | None


class WebhookDelivery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One event for one endpoint."""

    id: str
    webhook_id: str
    trigger: str
    calendar_id: str | None
    bot_id: str | None
    idempotency_key: str
    status: webhooks.DeliveryStatus
    attempts: int
    next_attempt_at: datetime | None
    last_status: int | None
    last_error: str | None
    created_at: datetime
    finished_at: datetime | None


class WebhookAttempt(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One attempt to deliver, with the beginning of what was answered."""

    attempt: int
    started_at: datetime
    milliseconds: int
    outcome: Literal["delivered", "failed"]
    status: int | None
    error: str | None
    excerpt: str | None


class WebhookDeliveryInFull(WebhookDelivery, kw_only=True, forbid_unknown_fields=True):
    """A delivery with what was sent and each attempt. `body` is null once it is past retention."""

    body: dict[str, Any] | None
    attempt_log: list[WebhookAttempt]


class Queued(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How many deliveries are due now that were not."""

    count: int


class Sent(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The delivery that was put into the outbox."""

    id: str


def webhook(row: webhooks.Subscription) -> Webhook:
    """An endpoint as the API shows it."""
    return Webhook(**_webhook(row))


def new_webhook(row: webhooks.Subscription, *, secret: str | None) -> NewWebhook:
    """An endpoint just made, with its secret."""
    return NewWebhook(**_webhook(row), signing_secret=secret)


def _webhook(row: webhooks.Subscription) -> dict[str, Any]:
    state = "disabled" if row.disabled_at is not None else "failing" if row.failures else "enabled"
    return {
        "id": row.id,
        "bot_id": row.bot_id,
        "url": row.url,
        "triggers": list(row.triggers),
        "content": row.content,
        "ordering": row.ordering,
        "concurrency": row.concurrency,
        "secret": "own" if row.has_own_secret else "project",
        "former_secret_until": row.former_secret_until,
        "state": state,
        "disabled_at": row.disabled_at,
        "disabled_reason": row.disabled_reason,
        "failing_since": row.failing_since,
        "failures": row.failures,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def delivery(row: webhooks.Delivery) -> WebhookDelivery:
    """A delivery as listings show it."""
    return WebhookDelivery(**_delivery(row))


def delivery_in_full(row: webhooks.Delivery, attempts: Sequence[webhooks.Attempted]) -> WebhookDeliveryInFull:
    """A delivery with all that is known of it. Its body goes into the answer as it was sent, without being parsed."""
    return WebhookDeliveryInFull(
        **_delivery(row),
        body=cast(dict[str, Any], msgspec.Raw(row.body)) if row.body is not None else None,
        attempt_log=[WebhookAttempt(**{name: getattr(one, name) for name in _ATTEMPT}) for one in attempts],
    )


_ATTEMPT = ("attempt", "started_at", "milliseconds", "outcome", "status", "error", "excerpt")


def _delivery(row: webhooks.Delivery) -> dict[str, Any]:
    return {
        "id": row.id,
        "webhook_id": row.subscription_id,
        "trigger": row.trigger,
        "calendar_id": row.calendar_id,
        "bot_id": row.bot_id,
        "idempotency_key": str(row.idempotency_key),
        "status": row.status,
        "attempts": row.attempts,
        "next_attempt_at": row.next_attempt_at,
        "last_status": row.last_status,
        "last_error": row.last_error,
        "created_at": row.created_at,
        "finished_at": row.finished_at,
    }
