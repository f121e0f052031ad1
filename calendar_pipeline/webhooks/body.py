"""What a webhook says. Pure.

Instants are written as the API writes them, but for `created_at` of a bot's change, which ends in ``+00:00``.
"""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from calendar_pipeline.webhooks.model import DISABLED, TEST, BotChange


def calendar(
    *,
    key: UUID,
    calendar_id: str,
    deduplication_key: str | None,
    metadata: Mapping[str, object] | None,
    trigger: str,
    data: Mapping[str, object],
) -> Mapping[str, object]:
    """The body of a calendar's webhook."""
    return {
        "idempotency_key": str(key),
        "calendar_id": calendar_id,
        "calendar_deduplication_key": deduplication_key,
        "calendar_metadata": metadata,
        "trigger": trigger,
        "data": data,
    }


def calendar_data(
    *,
    state: str,
    connection_failure_data: Mapping[str, object] | None,
    last_successful_sync_at: datetime | None,
    last_attempted_sync_at: datetime | None,
) -> Mapping[str, object]:
    """How a calendar stands."""
    return {
        "state": state,
        "connection_failure_data": connection_failure_data,
        "last_successful_sync_at": instant(last_successful_sync_at),
        "last_attempted_sync_at": instant(last_attempted_sync_at),
    }


def bot(
    *, key: UUID, bot_id: str, metadata: Mapping[str, object] | None, trigger: str, data: Mapping[str, object]
) -> Mapping[str, object]:
    """The body of a bot's webhook."""
    return {
        "idempotency_key": str(key),
        "bot_id": bot_id,
        "bot_metadata": metadata,
        "trigger": trigger,
        "data": data,
    }


def bot_data(change: BotChange) -> Mapping[str, object]:
    """From which state to which, and why."""
    return {
        "event_type": change.event_type,
        "event_sub_type": change.event_sub_type,
        "event_metadata": change.event_metadata,
        "old_state": change.old_state,
        "new_state": change.new_state,
        "created_at": change.at.isoformat(),
    }


def instant(at: datetime | None) -> str | None:
    """In UTC with ``Z``, with microseconds only where there are any."""
    return None if at is None else at.isoformat().replace("+00:00", "Z")


def disabled(
    *,
    key: UUID,
    subscription: str,
    url: str,
    reason: str,
    failures: int,
    failing_since: datetime | None,
    at: datetime,
) -> Mapping[str, object]:
    """That an endpoint was given up; what is due to it is held until it is enabled."""
    return {
        "idempotency_key": str(key),
        "trigger": DISABLED,
        "data": {
            "webhook_id": subscription,
            "url": url,
            "reason": reason,
            "failures": failures,
            "failing_since": instant(failing_since),
            "disabled_at": instant(at),
        },
    }


def test(*, key: UUID, subscription: str, at: datetime) -> Mapping[str, object]:
    """What a test delivery says."""
    return {
        "idempotency_key": str(key),
        "trigger": TEST,
        "data": {"webhook_id": subscription, "created_at": instant(at)},
    }
