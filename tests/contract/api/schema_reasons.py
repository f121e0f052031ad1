"""What schemathesis is told beside the document: why a request that the document calls good may be refused with 400.

The document cannot say what is past, taken, unknown or too long as JSON text. So each such refusal has a reason here,
and a refusal without one is a finding. Hosts of webhooks become this machine: no made-up name is looked up.
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import schemathesis
from schemathesis.generation.meta import TestPhase

ADDRESS = r"url: (A webhook URL .*|This is not a URL\.|Webhooks do not go to port \d+\.|The host .*|An IPv4 address .*)"
METADATA = r"metadata: Metadata must be less than 1000 characters"
DAMAGED = r"The cursor is damaged or of another listing.*"
UNKNOWN_EVENT = r"Calendar event with id .* does not exist in this project\."
JOIN_AT = r"join_at: join_at cannot be (in the past|more than 3 years in the future)"
LINK = r"meeting_url: (Invalid meeting URL|This field may not be null\.)"
NAME = r"bot_name: Bot name cannot contain emojis or rare script characters\."
SETTING = r"\w+: (\{.*\}|Null characters are not allowed\.)"
STATE = r"Bot is in state \w+ but .*"

REASONS: dict[str, tuple[str, ...]] = {
    "createCalendar": (METADATA, r"deduplication_key: A calendar with this deduplication key already exists .*"),
    "patchCalendar": (METADATA,),
    "createBot": (
        *(METADATA, UNKNOWN_EVENT, JOIN_AT, LINK, NAME, SETTING),
        *(r"Deduplication key already in use\..*", r"URL already subscribed for this bot"),
        ADDRESS.replace("url:", "webhooks:"),
    ),
    "patchBot": (METADATA, JOIN_AT, LINK, NAME, STATE, SETTING),
    "deleteBot": (STATE,),
    "createWebhook": (ADDRESS, r"A project has 50 webhooks at most\..*"),
    "patchWebhook": (ADDRESS,),
    "createConnectLink": (
        METADATA,
        r"return_url: (Not one of the return URLs registered for this project\.|A return URL .*)",
        r"calendar_id: No such calendar in this project\.",
    ),
    "createApiKey": (r"expires_at: This instant is past\.",),
    "listAuditLog": (DAMAGED,),
    "getEventHistory": (DAMAGED,),
    "listEventsAsOf": (DAMAGED, r"as_of is not in the past: .*"),
    "listEventChanges": (DAMAGED, r"start and cursor exclude each other\."),
    "putBotRules": (
        METADATA.replace("metadata:", "bot.metadata:"),
        r"calendars: The project has no calendar .*",
        r"Null characters are not allowed\.",
        r"The rules cannot be read: (`from` must be before `to`|no time zone is called|a policy without a condition).*",
        r"bot\.settings\.\w+: .*",
    ),
}
"""By operation: patterns of `field: message`, or of the message alone."""


@schemathesis.hook
def before_call(ctx: Any, case: Any, kwargs: Any) -> None:
    """The host of a good webhook's URL is this machine's, which the server lets through.

    No chain of requests repeats an Idempotency-Key: it would be answered with what has been deleted meanwhile.
    """
    body, meta = case.body, case.meta
    if meta is not None and meta.phase.name == TestPhase.STATEFUL and case.headers:
        case.headers.pop("Idempotency-Key", None)
    if meta is None or not meta.generation.mode.is_positive or not isinstance(body, dict):
        return
    url = body.get("url")
    if isinstance(url, str) and url.startswith("https://"):
        parts = urlsplit(url)
        case.body = body | {"url": urlunsplit(parts._replace(netloc="127.0.0.1"))}


@schemathesis.check
def refused_for_a_reason(ctx: Any, response: Any, case: Any) -> None:
    """A good request is refused with 400 only for what the document cannot say."""
    meta = case.meta
    if response.status_code != 400 or meta is None or not meta.generation.mode.is_positive:
        return
    operation = case.operation.definition.raw["operationId"]
    for message in told(response.json()):
        assert any(re.fullmatch(reason, message, re.DOTALL) for reason in REASONS.get(operation, ())), (
            f"{operation} has no such reason to refuse what its document calls good: {message}"
        )


def told(body: dict[str, Any]) -> Iterator[str]:
    """The messages of any of our five shapes, those of fields with the field's name."""
    match body:
        case {"errors": dict(errors)}:
            yield from told(errors)
        case {"status": 400, "detail": str(detail)}:
            yield detail
        case _:
            for name, messages in body.items():
                for message in messages if isinstance(messages, list) else [messages]:
                    yield message if name in ("detail", "error", "non_field_errors") else f"{name}: {message}"
