"""The contract row by row: one request, one answer, over HTTP to a server process.

A row is what an Attendee client can see: transport (1), objects (2), endpoints (3), pagination (4), fields (5) and
meeting links (6). Rows of this module look or are refused; those that change something are in the module beside it.
"""

from dataclasses import dataclass, field
from typing import Any

import pytest

from calendar_pipeline.bots.model import FILTERABLE

CALENDAR = {"platform": "google", "client_id": "c", "client_secret": "s", "refresh_token": "t"}
MEET = "https://meet.google.com/abc-defg-hij"
BOT = {"bot_name": "Notes", "meeting_url": MEET, "join_at": "{soon}"}
JSON = {"Content-Type": "application/json"}

MISSING = {"detail": "Missing Authorization header"}
INVALID = {"detail": "Invalid Authorization header. Should have this format: Token <api_key>"}
UNKNOWN = {"detail": "Invalid or disabled API key"}
NOT_FOUND = {"error": "Not found"}
NO_CALENDAR = {"error": "Calendar not found"}
NO_BOT = {"error": "Bot not found"}
BAD_CURSOR = {"detail": "Invalid cursor"}
NOT_JSON = {"detail": "Could not satisfy the request Accept header."}
REQUIRED = ["This field is required."]
NULL = ["This field may not be null."]
BLANK = ["This field may not be blank."]
NOT_TEXT = ["Not a valid string."]
NO_OBJECT = ["Metadata must be an object not an array or other type"]
LONG = ["Metadata must be less than 1000 characters"]
EMPTY = ["Metadata must have at least one key"]
WRONG_TIME = [
    "Datetime has wrong format. Use one of these formats instead: YYYY-MM-DDThh:mm[:ss[.uuuuuu]][+HH:MM|-HH:MM|Z]."
]
PAST = ["join_at cannot be in the past"]
FAR = ["join_at cannot be more than 3 years in the future"]
COLLECTION = "GET, POST, HEAD, OPTIONS"
ITEM = "GET, PATCH, DELETE, HEAD, OPTIONS"
READ_ONLY = "GET, HEAD, OPTIONS"
CALENDAR_FIELDS = "client_id, client_secret, deduplication_key, metadata, platform, platform_uuid, refresh_token"
BOT_FIELDS = (
    "automatic_leave_settings, bot_chat_message, bot_image, bot_name, calendar_event_id, callback_settings,"
    " debug_settings, deduplication_key, external_media_storage_settings, google_meet_settings, join_at,"
    " kubernetes_settings, meeting_url, metadata, recording_settings, rtmp_settings, teams_settings,"
    " transcription_settings, voice_agent_settings, webhooks, websocket_settings, zoom_settings"
)
BOT_TAKEN = (
    "Deduplication key already in use. A bot in a non-terminal state with this deduplication key already exists. "
    "Please use a different deduplication key or wait for that bot to terminate."
)
ORDERINGS = "-updated_at, updated_at, start_time, -start_time, end_time, -end_time, created_at, -created_at"
ABSENT = {"calendars": "cal_0123456789abcdef", "bots": "bot_0123456789abcdef"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One request and what is answered; a body of None is not compared."""

    id: str
    method: str = "GET"
    path: str
    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


def not_allowed(method: str, path: str, allow: str) -> Row:
    return Row(
        id=f"transport/405 {method} {path}",
        method=method,
        path=path,
        status=405,
        body={"detail": f'Method "{method}" not allowed.'},
        headers={"allow": allow},
    )


def key_refused(name: str, header: str | None, body: Any, **more: Any) -> Row:
    """The client's own header is taken away by an empty one."""
    options = {"headers": {"Authorization": "" if header is None else header}} | more
    return Row(
        id=f"transport/{name}",
        path="/calendars",
        status=401,
        body=body,
        headers={"www-authenticate": "Token", "content-type": "application/json"},
        options=options,
    )


def accept(name: str, value: str, status: int) -> Row:
    body = NOT_JSON if status == 406 else None
    options = {"headers": {"Accept": value}}
    return Row(id=f"transport/accept {name}", path="/calendars", status=status, body=body, options=options)


def malformed(name: str, text: bytes) -> Row:
    options = {"content": text, "headers": JSON}
    return Row(id=f"transport/json {name}", method="POST", path="/calendars", status=400, options=options)


TRANSPORT = [
    key_refused("no key", None, MISSING),
    key_refused("wrong scheme", "Basic {key}", INVALID),
    key_refused("missing value", "Token", INVALID),
    key_refused("three words", "Token {key} more", INVALID),
    key_refused("unknown key", "Token nobody-has-this-key", UNKNOWN),
    key_refused("key before body", None, MISSING),
    *[
        Row(
            id=f"transport/scheme {scheme}",
            path="/calendars",
            status=200,
            headers={"content-type": "application/json"},
            options={"headers": {"Authorization": f"{scheme} {{key}}"}},
        )
        for scheme in ("Token", "token", "TOKEN")
    ],
    *[
        Row(id=f"transport/no route {path}", path=path, status=404, body=NOT_FOUND)
        for path in ("/nothing", "/calendars/", "/bots/", "/calendar_events/", "/calendars/{calendar}/")
    ],
    Row(
        id="transport/no route without a key",
        path="/nothing",
        status=404,
        body=NOT_FOUND,
        options={"headers": {"Authorization": ""}},
    ),
    not_allowed("PUT", "/calendars", COLLECTION),
    not_allowed("DELETE", "/calendars", COLLECTION),
    not_allowed("PUT", "/calendars/{calendar}", ITEM),
    not_allowed("POST", "/calendars/{calendar}", ITEM),
    not_allowed("PUT", "/bots", COLLECTION),
    not_allowed("POST", "/bots/{bot}", ITEM),
    not_allowed("POST", "/calendar_events", READ_ONLY),
    *[
        Row(id=f"transport/options {path}", method="OPTIONS", path=path, status=200, headers={"allow": allow})
        for path, allow in (
            ("/calendars", COLLECTION),
            ("/calendars/{calendar}", ITEM),
            ("/bots", COLLECTION),
            ("/bots/{bot}", ITEM),
            ("/calendar_events", READ_ONLY),
        )
    ],
    *[
        Row(id=f"transport/head {path}", method="HEAD", path=path, status=200, body=b"")
        for path in ("/calendars", "/calendars/{calendar}", "/bots", "/bots/{bot}", "/calendar_events")
    ],
    accept("anything", "*/*", 200),
    accept("json", "application/json", 200),
    accept("a family", "application/*", 200),
    accept("excludes json", "text/html", 406),
    accept("json at nought", "application/json;q=0", 406),
    *[
        Row(
            id=f"transport/content type {path}",
            method="POST",
            path=path,
            status=415,
            body={"detail": 'Unsupported media type "text/plain" in request.'},
            options={"content": b"hello", "headers": {"Content-Type": "text/plain"}},
        )
        for path in ("/calendars", "/bots")
    ],
    malformed("truncated", b"{"),
    malformed("two values", b"{} {}"),
    malformed("not utf-8", b'{"client_id": "\xff"}'),
    *[
        Row(
            id=f"transport/array as body {method} {path}",
            method=method,
            path=path,
            status=400,
            body={"non_field_errors": ["Invalid data. Expected a dictionary, but got list."]},
            options={"json": []},
        )
        for method, path in (("POST", "/calendars"), ("POST", "/bots"), ("PATCH", "/calendars/{calendar}"))
    ],
    *[
        Row(id=f"transport/unknown query {path}", path=f"{path}?page_size=1&foo=x", status=200)
        for path in ("/calendars", "/bots", "/calendar_events")
    ],
]

LOOKED_UP = [
    *[
        Row(id=f"{kind}/{method.lower()} {what}", method=method, path=f"/{kind}/{thing}", status=404, body=body)
        for kind, body, their in (("calendars", NO_CALENDAR, "{their calendar}"), ("bots", NO_BOT, "{their bot}"))
        for method in ("GET", "PATCH", "DELETE")
        for what, thing in (("unknown", ABSENT[kind]), ("no id", "x"), ("another project's", their))
    ],
    *[
        Row(id=f"pagination/bad cursor {path}", path=f"{path}?cursor=x", status=404, body=BAD_CURSOR)
        for path in ("/calendars", "/bots", "/calendar_events")
    ],
]


def filtered(kind: str, name: str, query: str, found: int) -> Row:
    return Row(id=f"{kind}/filter {name}", path=f"/{kind}?{query}", status=200, body=found)


def bad_query(kind: str, name: str, query: str, text: str) -> Row:
    return Row(id=f"{kind}/bad {name}", path=f"/{kind}?{query}", status=400, body={"error": text})


def bad_instant(name: str, value: str, *, told: str | None = None, at: str = "10:30:00") -> Row:
    text = f"Invalid {told or name} format. Use ISO 8601 format (e.g., 2025-01-13T{at}Z)"
    return bad_query("calendar_events", f"{name} {value or 'empty'}", f"{name}={value}", text)


def bad_bot_instant(name: str, value: str) -> Row:
    text = f"Invalid {name} format. Use ISO 8601 format (e.g., 2024-01-18T12:34:56Z)"
    return bad_query("bots", f"{name} {value or 'empty'}", f"{name}={value}", text)


QUERIES = [
    filtered("calendars", "deduplication_key", "deduplication_key=taken", 1),
    filtered("calendars", "empty deduplication_key", "deduplication_key=", 0),
    filtered("calendars", "other deduplication_key", "deduplication_key=TAKEN", 0),
    filtered("calendar_events", "none", "", 4),
    filtered("calendar_events", "calendar_id", "calendar_id={calendar}", 4),
    filtered("calendar_events", "unknown calendar_id", "calendar_id=cal_0123456789abcdef", 0),
    filtered("calendar_events", "another project's calendar_id", "calendar_id={their calendar}", 0),
    filtered("calendar_events", "empty calendar_id", "calendar_id=", 0),
    filtered("calendar_events", "calendar_deduplication_key", "calendar_deduplication_key=taken", 4),
    filtered("calendar_events", "event_id", "event_id={event}", 1),
    filtered("calendar_events", "another project's event_id", "event_id={their event}", 0),
    filtered("calendar_events", "updated_at_gte", "updated_at_gte=9000-01-01", 0),
    filtered("calendar_events", "updated_after", "updated_after=9000-01-01", 0),
    filtered("calendar_events", "updated_at_gte over updated_after", "updated_at_gte=2000-01-01&updated_after=x", 4),
    filtered("calendar_events", "empty updated_at_gte", "updated_at_gte=", 4),
    filtered("calendar_events", "start_time_gte", "start_time_gte={past}", 4),
    filtered("calendar_events", "start_time_gte later", "start_time_gte={soon}", 0),
    filtered("calendar_events", "end_time_lte", "end_time_lte={soon}", 4),
    filtered("calendar_events", "and", "event_id={event}&start_time_gte={soon}", 0),
    *[filtered("calendar_events", f"ordering {name}", f"ordering={name}", 4) for name in ORDERINGS.split(", ")],
    *[
        filtered("calendar_events", f"date as {value}", f"start_time_gte={value}", 4)
        for value in (
            "2020-01-13T10:30:00Z",
            "2020-01-13 10:30:00",
            "2020-01-13T10:30",
            "2020-01-13T10:30:00.123456Z",
            "2020-01-13T10:30:00%2B02:00",
            "2020-01-13T10:30:00-02:00",
            "2020-01-13",
        )
    ],
    *[bad_instant(name, "nonsense") for name in ("updated_at_gte", "start_time_gte")],
    bad_instant("updated_after", "nonsense", told="updated_at_gte"),
    bad_instant("end_time_lte", "nonsense", at="18:00:00"),
    bad_instant("updated_after", "", told="updated_at_gte"),
    bad_instant("start_time_gte", ""),
    bad_instant("end_time_lte", "", at="18:00:00"),
    bad_instant("start_time_gte", "2020-01-13T10:30:00+02:00"),
    *[
        bad_query(
            "calendar_events",
            f"ordering {value or 'empty'}",
            f"ordering={value}",
            f"Invalid ordering. Allowed values: {ORDERINGS}",
        )
        for value in ("name", "")
    ],
    filtered("bots", "none", "", 1),
    filtered("bots", "meeting_url", f"meeting_url={MEET}", 1),
    filtered("bots", "meeting_url not normalised", "meeting_url=meet.google.com/abc-defg-hij", 0),
    filtered("bots", "empty meeting_url", "meeting_url=", 1),
    filtered("bots", "deduplication_key", "deduplication_key=taken", 1),
    filtered("bots", "empty deduplication_key", "deduplication_key=", 1),
    filtered("bots", "states", "states=ended&states=scheduled", 1),
    filtered("bots", "other states", "states=ended&states=connected", 0),
    filtered("bots", "join_at_after", "join_at_after={past}", 1),
    filtered("bots", "join_at_after is strict", "join_at_after={soon}", 0),
    filtered("bots", "join_at_before", "join_at_before={in four years}", 1),
    filtered("bots", "join_at_before is strict", "join_at_before={soon}", 0),
    *[
        bad_query(
            "bots",
            f"states {value}",
            f"states={value}",
            f"Invalid state: {value}. Valid states are: {', '.join(FILTERABLE)}",
        )
        for value in ("foo", "ready,scheduled")
    ],
    *[bad_bot_instant(name, value) for name in ("join_at_after", "join_at_before") for value in ("nonsense", "")],
]


def calendar(name: str, errors: Any, **change: Any) -> Row:
    options = {"json": CALENDAR | change}
    return Row(id=f"calendars/post {name}", method="POST", path="/calendars", status=400, body=errors, options=options)


def calendar_patch(name: str, errors: Any, **change: Any) -> Row:
    return Row(
        id=f"calendars/patch {name}",
        method="PATCH",
        path="/calendars/{calendar}",
        status=400,
        body=errors,
        options={"json": change},
    )


def bot(name: str, errors: Any, **change: Any) -> Row:
    options = {"json": BOT | change}
    return Row(id=f"bots/post {name}", method="POST", path="/bots", status=400, body=errors, options=options)


def for_event(name: str, errors: Any, event: str, **change: Any) -> Row:
    return bot(name, errors, calendar_event_id=event, **({"meeting_url": ..., "join_at": ...} | change))


def bot_patch(name: str, errors: Any, **change: Any) -> Row:
    return Row(
        id=f"bots/patch {name}", method="PATCH", path="/bots/{bot}", status=400, body=errors, options={"json": change}
    )


def not_beside_event(name: str, what: str) -> dict[str, str]:
    return {
        "error": f"{name} should not be provided when calendar_event_id is specified. "
        f"The {what} will be taken from the calendar event."
    }


METADATA = [
    ("null", None, NULL),
    ("array", ["a"], NO_OBJECT),
    ("string", "a", NO_OBJECT),
    ("number", 1, NO_OBJECT),
    ("empty", {}, EMPTY),
    ("value no string", {"a": 1}, ["Value for key 'a' must be a string"]),
    ("too long", {"a": "x" * 992}, LONG),
    ("too long when escaped", {"a": "é" * 200}, LONG),
]
TEXTS = [
    ("null", None, NULL),
    ("empty", "", BLANK),
    ("white space", " \t\n", BLANK),
    ("boolean", True, NOT_TEXT),
    ("array", ["x"], NOT_TEXT),
    ("object", {"a": "x"}, NOT_TEXT),
]

FIELDS = [
    *[
        make(f"metadata {name}", {"metadata": errors}, metadata=value)
        for make in (calendar, calendar_patch, bot, bot_patch)
        for name, value, errors in METADATA
    ],
    *[
        make(f"{text} {name}", {text: errors}, **{text: value})
        for make, texts in (
            (calendar, ("client_id", "client_secret", "refresh_token", "platform_uuid", "deduplication_key")),
            (calendar_patch, ("client_secret", "refresh_token")),
            (bot, ("bot_name", "meeting_url", "deduplication_key")),
            (bot_patch, ("bot_name", "meeting_url")),
        )
        for text in texts
        for name, value, errors in TEXTS
    ],
    *[calendar(f"without {name}", {name: REQUIRED}, **{name: ...}) for name in CALENDAR],
    calendar(
        "with all fields wrong at once", {"client_id": NULL, "client_secret": BLANK}, client_id=None, client_secret=""
    ),
    calendar("platform unknown", {"platform": ['"apple" is not a valid choice.']}, platform="apple"),
    calendar("platform in capitals", {"platform": ['"Google" is not a valid choice.']}, platform="Google"),
    calendar(
        "unknown keys",
        {"non_field_errors": [f"Unexpected field(s): bar, foo. Allowed fields are: {CALENDAR_FIELDS}"]},
        foo=1,
        bar=2,
    ),
    calendar("unknown key beside a wrong field", {"client_id": BLANK}, foo=1, client_id=""),
    calendar(
        "deduplication_key taken",
        {"deduplication_key": ["A calendar with this deduplication key already exists in this project."]},
        deduplication_key="taken",
    ),
    calendar(
        "client_id too long", {"client_id": ["Ensure this field has no more than 255 characters."]}, client_id="x" * 256
    ),
    *[
        calendar(
            f"{name} too long", {name: ["Ensure this field has no more than 1024 characters."]}, **{name: "x" * 1025}
        )
        for name in ("platform_uuid", "deduplication_key")
    ],
    *[
        calendar_patch(
            f"unknown key {name}",
            {
                "non_field_errors": [
                    f"Unexpected field(s): {name}. Allowed fields are: client_secret, metadata, refresh_token"
                ]
            },
            **{name: "x"},
        )
        for name in ("client_id", "platform", "deduplication_key")
    ],
    bot("without bot_name", {"bot_name": REQUIRED}, bot_name=...),
    bot("without meeting_url", {"meeting_url": REQUIRED}, meeting_url=...),
    bot(
        "emoji in bot_name",
        {"bot_name": ["Bot name cannot contain emojis or rare script characters."]},
        bot_name="a 😀",
    ),
    *[
        make(f"join_at {name}", {"join_at": errors}, join_at=value)
        for make in (bot, bot_patch)
        for name, value, errors in (
            ("null", None, NULL),
            ("malformed", "tomorrow", WRONG_TIME),
            ("in the past", "{past}", PAST),
            ("too far ahead", "{in four years}", FAR),
        )
    ],
    bot(
        "unknown keys",
        {"non_field_errors": [f"Unexpected field(s): a, b. Allowed fields are: {BOT_FIELDS}"]},
        b=1,
        a=2,
    ),
    bot("unknown key beside a wrong field", {"bot_name": NULL}, a=1, bot_name=None),
    bot("deduplication_key taken", {"error": BOT_TAKEN}, deduplication_key="taken"),
    bot(
        "webhook that is not https",
        {"webhooks": ["'http://x' does not match '^https://.*'"]},
        webhooks=[{"url": "http://x", "triggers": ["bot.state_change"]}],
    ),
    bot(
        "webhook without triggers",
        {"webhooks": ["[] should be non-empty"]},
        webhooks=[{"url": "https://x.example", "triggers": []}],
    ),
    bot(
        "webhook with a trigger twice",
        {"webhooks": ["['bot.state_change', 'bot.state_change'] has non-unique elements"]},
        webhooks=[{"url": "https://x.example", "triggers": ["bot.state_change"] * 2}],
    ),
    bot(
        "three webhooks",
        {"error": "You have reached the maximum number of webhooks for a single bot"},
        webhooks=[{"url": f"https://x.example/{n}", "triggers": ["bot.state_change"]} for n in range(3)],
    ),
    bot(
        "one webhook twice",
        {"error": "URL already subscribed for this bot"},
        webhooks=[{"url": "https://x.example", "triggers": ["bot.state_change"]}] * 2,
    ),
    bot(
        "recording format",
        {"recording_settings": {"format": "Format must be mp4 or mp3 or 'none'"}},
        recording_settings={"format": "gif"},
    ),
    *[
        for_event(f"event {name}", {"error": f"Calendar event with id {event} does not exist in this project."}, event)
        for name, event in (("unknown", "evt_0123456789abcdef"), ("another project's", "{their event}"))
    ],
    for_event("event and meeting_url", not_beside_event("meeting_url", "meeting URL"), "{event}", meeting_url=MEET),
    for_event("event and join_at", not_beside_event("join_at", "join time"), "{event}", join_at="{soon}"),
    for_event("event without a link", {"meeting_url": NULL}, "{event without a link}"),
    for_event("event under way", {"join_at": PAST}, "{event under way}"),
    for_event(
        "deleted event",
        {"error": "Calendar event with id {deleted event} is cancelled. No bot can be sent to it."},
        "{deleted event}",
    ),
]

NO_MEETING = [
    ("other domain", "https://example.org/j/123"),
    ("Meet without a code", "https://meet.google.com/"),
    ("Teams without p", "https://teams.microsoft.com/meet/9876"),
    ("Zoom's registration page", "https://zoom.us/meeting/register/tJ123"),
    ("Zoom's recording", "https://zoom.us/rec/share/123"),
    ("link in a link", "https://zoom.us/j/123?u=https://zoom.us/j/456"),
]

LINKS = [
    bot(f"meeting_url {name}", {"meeting_url": ["Invalid meeting URL"]}, meeting_url=link) for name, link in NO_MEETING
]

ROWS = [*TRANSPORT, *LOOKED_UP, *QUERIES, *FIELDS, *LINKS]


@pytest.mark.parametrize("row", [pytest.param(row, id=row.id) for row in ROWS])
def test_row(scene, row: Row) -> None:
    answer = scene.ask(row.method, row.path, **row.options)
    assert answer.status_code == row.status, answer.text
    assert {name: answer.headers[name] for name in row.headers} == row.headers
    match row.body:
        case None:
            pass
        case bytes():
            assert answer.content == row.body
        case int():
            assert list(answer.json()) == ["next", "previous", "results"]
            assert len(answer.json()["results"]) == row.body
        case _:
            assert answer.json() == scene.fill(row.body)


def test_no_row_has_the_name_of_another() -> None:
    assert len({row.id for row in ROWS}) == len(ROWS)
