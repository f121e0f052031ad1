"""An example of every request and every good answer, by the name of its schema. Pure.

They tell one story: a calendar is followed, has a meeting, and a bot is sent there. Tests hold each against its schema.
"""

from api.openapi.parts import Json

CALENDAR_ID, EVENT_ID, BOT_ID = "cal_5hQ8dT2mXw9LrKzP", "evt_7bN3cV6yGf1JsQaW", "bot_2kR9pM4xDh8TzLcE"
WEBHOOK_ID, DELIVERY_ID = "webhook_6jF1sB7nYt3VqGxA", "msg_9wC5zK2rHd6MvPbN"
SECRET = "c2lnbmluZy1zZWNyZXQtc2hvd24tb25jZQ=="  # noqa: S105 - an example, and of no use
BEGAN, ASKED, SYNCED = "2026-11-20T09:14:03.518204Z", "2026-11-24T08:31:27.366061Z", "2026-11-24T08:30:00.120417Z"
STARTS, ENDS = "2026-11-25T13:00:00Z", "2026-11-25T13:30:00Z"
LINK = "https://meet.google.com/abc-defg-hij"

CALENDAR: Json = {
    "id": CALENDAR_ID,
    "platform": "google",
    "client_id": "1234-abc.apps.googleusercontent.com",
    "platform_uuid": "ada@example.com",
    "state": "connected",
    "metadata": {"user": "17"},
    "deduplication_key": "user-17",
    "connection_failure_data": None,
    "created_at": BEGAN,
    "updated_at": SYNCED,
    "last_successful_sync_at": SYNCED,
    "last_attempted_sync_at": SYNCED,
}
BOT: Json = {
    "id": BOT_ID,
    "metadata": {"user": "17"},
    "meeting_url": LINK,
    "state": "scheduled",
    "events": [],
    "transcription_state": "not_started",
    "recording_state": "not_started",
    "join_at": STARTS,
    "deduplication_key": EVENT_ID,
}
RAW: Json = {"id": "4l2k0m", "status": "confirmed", "summary": "Planning", "hangoutLink": LINK}
EVENT: Json = {
    "id": EVENT_ID,
    "calendar_id": CALENDAR_ID,
    "platform_uuid": "4l2k0m",
    "meeting_url": LINK,
    "start_time": STARTS,
    "end_time": ENDS,
    "is_deleted": False,
    "attendees": [{"email": "grace@example.com", "name": "Grace"}],
    "ical_uid": "4l2k0m@google.com",
    "name": "Planning",
    "raw": RAW,
    "bots": [BOT],
    "created_at": BEGAN,
    "updated_at": SYNCED,
}
CONTENT: Json = {name: value for name, value in EVENT.items() if name not in ("bots", "created_at", "updated_at")} | {
    "version": 2,
    "is_all_day": False,
    "start_date": None,
    "end_date": None,
    "starts_at": STARTS,
    "ends_at": ENDS,
    "time_zone": "Europe/Berlin",
    "status": "confirmed",
    "meeting_link": LINK,
    "meeting_platform": "google_meet",
    "meeting_key": "abc-defg-hij",
    "organizer_email": "ada@example.com",
    "own_response": "accepted",
    "attendees": [
        {"email": "grace@example.com", "name": "Grace", "response": "accepted", "is_optional": False, "is_self": False}
    ],
    "series_id": None,
    "original_starts_at": None,
    "location": None,
    "visibility": "default",
    "is_busy": True,
    "event_type": "default",
    "provider_updated_at": SYNCED,
}
VERSION: Json = {
    "sequence": 4711,
    "recorded_at": SYNCED,
    "change": "updated",
    "changed": ["starts_at", "ends_at", "start_time", "end_time"],
    "before": {"start_time": "2026-11-25T12:00:00Z", "end_time": "2026-11-25T12:30:00Z"},
    "event": CONTENT,
}
WEBHOOK: Json = {
    "id": WEBHOOK_ID,
    "bot_id": None,
    "url": "https://app.example.com/hooks",
    "triggers": ["calendar.events_update", "calendar.state_change"],
    "content": "reference",
    "ordering": "none",
    "concurrency": 10,
    "secret": "own",
    "former_secret_until": None,
    "state": "enabled",
    "disabled_at": None,
    "disabled_reason": None,
    "failing_since": None,
    "failures": 0,
    "created_at": BEGAN,
    "updated_at": BEGAN,
}
DELIVERY: Json = {
    "id": DELIVERY_ID,
    "webhook_id": WEBHOOK_ID,
    "trigger": "calendar.events_update",
    "calendar_id": CALENDAR_ID,
    "bot_id": None,
    "idempotency_key": "5f0c6a0e-6d7f-4a43-9d53-1d0f6c9ad2f1",
    "status": "delivered",
    "attempts": 1,
    "next_attempt_at": None,
    "last_status": 204,
    "last_error": None,
    "created_at": SYNCED,
    "finished_at": SYNCED,
}
KEY: Json = {
    "id": "key_8mT4vX1qZc7BnRwS",
    "name": "dashboard",
    "prefix": "cp_live_4f",
    "last_four": "9sQd",
    "scopes": ["bots:read", "events:read"],
    "created_at": BEGAN,
    "last_used_at": ASKED,
    "expires_at": None,
    "revoked_at": None,
}


def _page(item: Json) -> Json:
    return {"next": None, "previous": None, "results": [item]}


ANSWERS: dict[str, Json] = {
    "Calendar": CALENDAR,
    "CalendarPage": _page(CALENDAR),
    "CalendarStatus": {
        "id": CALENDAR_ID,
        "platform": "google",
        "state": "connected",
        "reason": None,
        "reason_code": None,
        "reason_since": None,
        "age_seconds": 87.2,
        "last_successful_sync_at": SYNCED,
        "last_attempted_sync_at": SYNCED,
        "next_sync_at": "2026-11-24T09:00:00Z",
        "is_syncing": False,
        "requested_generation": 3,
        "synced_generation": 3,
        "failures": 0,
        "quarantined": 0,
        "coverage": {"from": "2026-11-23T08:30:00Z", "until": "2026-12-30T08:30:00Z"},
        "channel": None,
        "recent_syncs": [],
        "recent_changes": [],
    },
    "SyncRequested": {"calendar_id": CALENDAR_ID, "requested_generation": 4, "synced_generation": 3},
    "CalendarEventPage": _page(EVENT),
    "EventDetails": CONTENT | {"bots": [BOT], "created_at": BEGAN, "updated_at": SYNCED},
    "Versions": {"results": [VERSION], "has_more": False, "next_cursor": None},
    "Changes": {"results": [VERSION], "has_more": False, "next_cursor": "b3BhcXVl"},
    "Bot": BOT,
    "BotPage": _page(BOT),
    "BotDecisions": {
        "results": [
            {
                "at": SYNCED,
                "decision": "moved",
                "reason": "the event starts at another time",
                "event_id": EVENT_ID,
                "event_version": 2,
                "old_state": "scheduled",
                "new_state": "scheduled",
            }
        ]
    },
    "BotRules": {
        "bot": {"name": "Notes", "metadata": {"made_by": "rules"}, "settings": ["recording_settings"]},
        "project": {"external_only": True, "title_excludes": ["lunch"]},
        "calendars": {CALENDAR_ID: "none"},
    },
    "BotOverride": {"event_id": EVENT_ID, "answer": "yes"},
    "Webhook": WEBHOOK,
    "NewWebhook": WEBHOOK | {"signing_secret": SECRET},
    "WebhookPage": _page(WEBHOOK),
    "SigningSecret": {"signing_secret": SECRET, "former_secret_until": "2026-11-25T08:31:27Z"},
    "WebhookDeliveryPage": _page(DELIVERY),
    "WebhookDeliveryInFull": DELIVERY
    | {
        "body": {"trigger": "calendar.events_update", "calendar_id": CALENDAR_ID},
        "attempt_log": [
            {
                "attempt": 1,
                "started_at": SYNCED,
                "milliseconds": 41,
                "outcome": "delivered",
                "status": 204,
                "error": None,
                "excerpt": None,
            }
        ],
    },
    "Sent": {"id": DELIVERY_ID},
    "Queued": {"count": 12},
    "ConnectLink": {"url": "https://calendars.example.com/connect/go/0a1b2c", "expires_at": "2026-11-24T08:41:27Z"},
    "NewApiKey": KEY | {"key": "cp_live_4f…9sQd", "last_used_at": None},
    "ApiKeys": {"results": [KEY]},
    "AuditLog": {
        "results": [
            {
                "sequence": 12,
                "at": ASKED,
                "actor": KEY["id"],
                "action": "POST /api/v1/bots",
                "subject": BOT_ID,
                "request_id": "req_3dG7hJ9kLm2NpQrS",
                "status": 201,
            }
        ],
        "has_more": False,
        "next_cursor": None,
    },
}
"""By the name of the schema."""

REQUESTS: dict[str, Json] = {
    "CreateCalendar": {
        "platform": "google",
        "client_id": "1234-abc.apps.googleusercontent.com",
        "client_secret": "GOCSPX-…",
        "refresh_token": "1//0g…",
        "deduplication_key": "user-17",
        "metadata": {"user": "17"},
    },
    "PatchCalendar": {"refresh_token": "1//0g…"},
    "CreateBot": {"bot_name": "Notes", "calendar_event_id": EVENT_ID, "deduplication_key": EVENT_ID},
    "PatchBot": {"bot_name": "Notes of the team"},
    "PutBotRules": {
        "bot": {
            "name": "Notes",
            "metadata": {"made_by": "rules"},
            "settings": {"recording_settings": {"format": "mp3"}},
        },
        "project": {"external_only": True, "title_excludes": ["lunch"]},
        "calendars": {CALENDAR_ID: "none"},
    },
    "PutBotOverride": {"answer": "yes"},
    "CreateWebhook": {
        "url": "https://app.example.com/hooks",
        "triggers": ["calendar.events_update", "calendar.state_change"],
        "secret": "own",
    },
    "PatchWebhook": {"enabled": True},
    "RotateSecret": {"overlap_hours": 24},
    "Recover": {"since": SYNCED},
    "Nothing": {},
    "CreateConnectLink": {
        "platform": "google",
        "return_url": "https://app.example.com/connected",
        "state": "a-value-of-this-session",
        "deduplication_key": "user-17",
    },
    "CreateApiKey": {"name": "dashboard", "scopes": ["bots:read", "events:read"]},
}
"""By the name of the schema."""


def give(told: Json) -> None:
    """Put the examples into an operation."""
    body = told.get("requestBody", {}).get("content", {})
    if kind := body.get("application/json"):
        body["application/json"] = kind | {"example": REQUESTS[_name(kind)]}
    for status, answer in told["responses"].items():
        kind = answer.get("content", {}).get("application/json")
        if kind and status.startswith("2"):
            answer["content"] = answer["content"] | {"application/json": kind | {"example": ANSWERS[_name(kind)]}}


def _name(kind: Json) -> str:
    return kind["schema"]["$ref"].rsplit("/", 1)[1]
