"""What the runner tells of a bot, by webhooks of its own: where it is to tell it, and what becomes of it.

Each launch has its own address: sealed under our key, it can be neither guessed nor turned to another bot. A report of
a launch that was recalled changes nothing any more, and one that comes twice or late does no harm.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from calendar_pipeline.bots import plan
from calendar_pipeline.bots.model import EVENT_TYPES, STATES, TERMINAL, EventType, State
from calendar_pipeline.db.connect import json_text
from calendar_pipeline.errors import CredentialUnreadable
from calendar_pipeline.secrets.keyring import KeyRing, Place
from calendar_pipeline.webhooks import outbox
from calendar_pipeline.webhooks.model import BotChange

PATH = "/external_webhooks/bot_runner"
PLACE = Place(table="bot", column="report", row="", project="")


def webhooks(base_url: str | None, keyring: KeyRing, bot_id: str, launch: int) -> Sequence[Mapping[str, object]]:
    """The webhook that the runner is to report to; none where we cannot be reached over https, as it demands."""
    if base_url is None or not base_url.startswith("https://"):
        return ()
    return ({"url": f"{base_url}{PATH}/{address(keyring, bot_id, launch)}", "triggers": ["bot.state_change"]},)


def address(keyring: KeyRing, bot_id: str, launch: int) -> str:
    """The last part of the path for reports of this launch."""
    return base64.urlsafe_b64encode(keyring.seal(f"{bot_id}.{launch}", PLACE)).rstrip(b"=").decode()


def addressee(keyring: KeyRing, text: str) -> tuple[str, int] | None:
    """Bot and launch of an address that we made; None for any other."""
    try:
        sealed = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        bot_id, _, launch = keyring.open(sealed, PLACE).partition(".")
        return bot_id, int(launch)
    except (UnicodeError, binascii.Error, ValueError, CredentialUnreadable):
        return None


def is_signed(secret: str, body: Mapping[str, object], signature: str | None) -> bool:
    """Whether ``X-Webhook-Signature`` is the runner's for this body: over its JSON with sorted keys, not escaped."""
    if not signature:
        return False
    try:
        canonical = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return False
    digest = hmac.new(base64.b64decode(secret), canonical, hashlib.sha256).digest()
    return hmac.compare_digest(base64.b64encode(digest), signature.encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A change of state, as the runner tells it."""

    key: str
    event_type: EventType
    event_sub_type: str | None
    event_metadata: Mapping[str, object]
    new_state: State
    at: datetime


def read(body: Mapping[str, Any]) -> Report | None:
    """The report in a ``bot.state_change`` webhook; None if it is none that we understand."""
    data = body.get("data")
    if body.get("trigger") != "bot.state_change" or not isinstance(data, Mapping):
        return None
    kind, state, told = data.get("event_type"), data.get("new_state"), data.get("created_at")
    sub_type, more = data.get("event_sub_type"), data.get("event_metadata")
    if kind not in EVENT_TYPES or state not in STATES or state in ("scheduled", "staged", "ready"):
        return None
    try:
        at = datetime.fromisoformat(str(told))
        at = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return Report(
        key=_text(body.get("idempotency_key", "")),
        event_type=kind,
        event_sub_type=_text(sub_type) if sub_type else None,
        event_metadata=more if isinstance(more, Mapping) and _is_fit(more) else {},
        new_state=state,
        at=at,
    )


def _text(value: object) -> str:
    return str(value).replace("\0", "")[:100]


def _is_fit(metadata: Mapping[str, object]) -> bool:
    """Whether it can be kept: not endless, and without the one character that PostgreSQL has not."""
    encoded = json_text(metadata)
    return len(encoded) <= 10_000 and "\\u0000" not in encoded


_LOCK = sa.text("""
    SELECT state, reported_at, event_id, event_version,
           EXISTS (SELECT FROM bot_event b WHERE b.bot_id = bot.id AND b.decision = 'reported'
                       AND b.details->>'key' = :key) AS is_known
    FROM bot WHERE id = :bot AND launch = :launch AND gone_at IS NULL FOR UPDATE
""")

_APPLY = sa.text("""
    WITH told AS (
        UPDATE bot SET
            state = :state, reported_at = :reported_at, handed_at = COALESCE(handed_at, :now), updated_at = :now,
            events = events || CAST(:event AS jsonb), asked = asked + 1, due_at = :due_at,
            recording_state = COALESCE(:recording, recording_state)
        WHERE id = :bot
        RETURNING id, event_id, event_version
    )
    INSERT INTO bot_event (bot_id, at, decision, reason, event_id, event_version, old_state, new_state, type, sub_type,
                           details)
    SELECT id, :now, 'reported', 'told by the runner', event_id, event_version, :old, :state, :type, :sub_type,
           CAST(:details AS json)
    FROM told
""")

_RECORDING: Mapping[State, str] = {
    "joined_recording": "in_progress",
    "joined_recording_paused": "paused",
    "ended": "complete",
}


def take(connection: Connection, bot_id: str, launch: int, report: Report, *, now: datetime) -> bool:
    """Let the bot be where the runner says; False if that is no news. The caller's transaction.

    A report is kept among the bot's events even if a later one came first; the state is the latest one's. A bot that is
    not in its meeting yet is looked at again: what it was due for may still be to do.
    """
    row = connection.execute(_LOCK, {"bot": bot_id, "launch": launch, "key": report.key}).one_or_none()
    if row is None or row.is_known or (row.state in TERMINAL and report.new_state != "data_deleted"):
        return False
    is_latest = row.reported_at is None or report.at >= row.reported_at
    state: State = report.new_state if is_latest else row.state
    event: dict[str, object] = {"type": report.event_type, "created_at": report.at}
    if report.event_sub_type:
        event["sub_type"] = report.event_sub_type
    connection.execute(
        _APPLY,
        {
            "bot": bot_id,
            "state": state,
            "reported_at": max(report.at, row.reported_at or report.at),
            "recording": _RECORDING.get(state),
            "event": json_text([event]),
            "due_at": now if plan.phase(state, sent=True, handed=True) in ("sent", "handed") else None,
            "now": now,
            "old": row.state,
            "type": report.event_type,
            "sub_type": report.event_sub_type,
            "details": json_text({"key": report.key, **report.event_metadata}),
        },
    )
    outbox.bots_changed(
        connection,
        [
            BotChange(
                bot_id=bot_id,
                event_type=report.event_type,
                event_sub_type=report.event_sub_type,
                event_metadata=report.event_metadata,
                old_state=row.state,
                new_state=state,
                at=report.at,
            )
        ],
        at=now,
    )
    return True
