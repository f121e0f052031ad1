"""``/bots``: each request and its answer as the contract has it, over a real socket."""

import base64
import random
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from calendar_pipeline.bots import store as bots
from calendar_pipeline.bots.model import FILTERABLE
from calendar_pipeline.db.schema import bot, bot_event

CALENDAR = {"platform": "google", "client_id": "c", "client_secret": "s", "refresh_token": "t"}
MEET = "https://meet.google.com/abc-defg-hij"
SOON = "2026-11-22T10:00:00Z"
GOOD = {"bot_name": "Notes", "meeting_url": MEET, "join_at": SOON}
FIELDS = [
    "id",
    "metadata",
    "meeting_url",
    "state",
    "events",
    "transcription_state",
    "recording_state",
    "join_at",
    "deduplication_key",
]
TAKEN = (
    "Deduplication key already in use. A bot in a non-terminal state with this deduplication key already exists. "
    "Please use a different deduplication key or wait for that bot to terminate."
)
WRONG_TIME = (
    "Datetime has wrong format. Use one of these formats instead: YYYY-MM-DDThh:mm[:ss[.uuuuuu]][+HH:MM|-HH:MM|Z]."
)
REQUIRED = ["This field is required."]
NULL = ["This field may not be null."]
BLANK = ["This field may not be blank."]
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n and so on").decode()
EXTRA = "Additional properties are not allowed ('x' was unexpected)"


@pytest.fixture
def client(served: str, tenant) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{served}/api/v1", headers=tenant.headers, trust_env=False, timeout=20) as client:
        yield client


@pytest.fixture
def calendar_id(client) -> str:
    return client.post("/calendars", json=CALENDAR).json()["id"]


@pytest.fixture
def event_id(tenant, calendar_id, events, clock) -> str:
    start = clock() + timedelta(hours=2)
    meeting = {
        "starts_at": start,
        "ends_at": start + timedelta(hours=1),
        "meeting_url": f"{MEET}?authuser=0",
        "meeting_link": MEET,
    }
    [made] = events(tenant.id, calendar_id, [meeting])
    return made


def make(client: httpx.Client, **changes: Any) -> dict[str, Any]:
    answer = client.post("/bots", json=GOOD | changes)
    assert answer.status_code == 201, answer.text
    return answer.json()


def put_in_state(db, bot_id: str, state: str) -> None:
    with db.begin() as conn:
        conn.execute(sa.update(bot).where(bot.c.id == bot_id).values(state=state))


def test_a_scheduled_bot(client) -> None:
    body = make(client, metadata={"a": "ä"}, deduplication_key=" k ")
    assert list(body) == FIELDS
    assert re.fullmatch(r"bot_[A-Za-z0-9]{16}", body["id"])
    assert body == {
        "id": body["id"],
        "metadata": {"a": "ä"},
        "meeting_url": MEET,
        "state": "scheduled",
        "events": [],
        "transcription_state": "not_started",
        "recording_state": "not_started",
        "join_at": SOON,
        "deduplication_key": "k",
    }
    assert client.get(f"/bots/{body['id']}").json() == body
    assert client.get("/bots").json() == {"next": None, "previous": None, "results": [body]}


def test_a_bot_without_a_time_is_on_its_way_at_once(client) -> None:
    body = client.post("/bots", json={"bot_name": "Notes", "meeting_url": MEET}).json()
    assert (body["state"], body["join_at"], body["metadata"], body["deduplication_key"]) == (
        "joining",
        None,
        None,
        None,
    )
    [event] = body["events"]
    assert event == {"type": "join_requested", "created_at": "2026-11-22T08:31:27.366061Z"}
    assert list(event) == ["type", "created_at"]


def test_what_a_bot_was_made_with_is_sealed(client, db, keyring, tenant) -> None:
    rtmp = {"destination_url": "rtmps://live.example.org/app", "stream_key": "hush-key"}
    body = make(client, rtmp_settings=rtmp)
    with db.single() as conn:
        row = conn.execute(sa.select(bot)).one()
        assert b"hush-key" not in row.settings
        assert bots.settings(conn, keyring, tenant.id, body["id"]) == {"rtmp_settings": rtmp}


@pytest.mark.parametrize(
    ("change", "errors"),
    [
        ({"bot_name": ..., "meeting_url": ...}, {"meeting_url": REQUIRED, "bot_name": REQUIRED}),
        ({"bot_name": "x" * 256}, {"bot_name": ["Ensure this field has no more than 255 characters."]}),
        ({"join_at": ""}, {"join_at": [WRONG_TIME]}),
        ({"join_at": 5}, {"join_at": [WRONG_TIME]}),
        ({"calendar_event_id": None}, {"calendar_event_id": NULL}),
        ({"calendar_event_id": ""}, {"calendar_event_id": BLANK}),
        ({"webhooks": None}, {"webhooks": NULL}),
        ({"webhooks": "x"}, {"webhooks": ["'x' is not of type 'array'"]}),
        ({"webhooks": [{"url": "https://x"}]}, {"webhooks": ["'triggers' is a required property"]}),
        ({"recording_settings": None}, {"recording_settings": NULL}),
        ({"recording_settings": []}, {"recording_settings": ["[] is not of type 'object'"]}),
        ({"recording_settings": {"x": 1}}, {"recording_settings": [EXTRA]}),
        (
            {"recording_settings": {"view": "x"}},
            {"recording_settings": {"view": "View must be speaker_view or gallery_view or speaker_view_no_sidebar"}},
        ),
        (
            {"recording_settings": {"resolution": "4k"}},
            {"recording_settings": ["'4k' is not one of ['1080p', '720p']"]},
        ),
        (
            {"rtmp_settings": {"destination_url": "http://x", "stream_key": "k"}},
            {"rtmp_settings": {"destination_url": "URL must start with rtmp:// or rtmps://"}},
        ),
        ({"rtmp_settings": {"stream_key": "k"}}, {"rtmp_settings": ["'destination_url' is a required property"]}),
        (
            {"websocket_settings": {"audio": {"url": "ws://x"}}},
            {"websocket_settings": {"audio": {"url": "URL must start with wss://"}}},
        ),
        ({"websocket_settings": {"audio": {}}}, {"websocket_settings": ["'url' is a required property"]}),
        ({"google_meet_settings": {"x": 1}}, {"google_meet_settings": [EXTRA]}),
        ({"teams_settings": {"use_login": "yes"}}, {"teams_settings": ["'yes' is not of type 'boolean'"]}),
        ({"zoom_settings": {"meeting_settings": {"x": True}}}, {"zoom_settings": [EXTRA]}),
        ({"automatic_leave_settings": {"x": 1}}, {"automatic_leave_settings": [EXTRA]}),
        ({"transcription_settings": {"deepgram": {"x": 1}}}, {"transcription_settings": [EXTRA]}),
        (
            {"transcription_settings": {"kyutai": {"server_url": "https://x"}}},
            {"transcription_settings": {"kyutai": {"server_url": "URL must start with ws:// or wss://"}}},
        ),
        (
            {"external_media_storage_settings": {}},
            {"external_media_storage_settings": ["'bucket_name' is a required property"]},
        ),
        (
            {"voice_agent_settings": {"url": "http://x"}},
            {"voice_agent_settings": {"url": "URL must start with https://"}},
        ),
        ({"bot_image": {"type": "image/png", "data": "%"}}, {"bot_image": {"data": "Invalid base64-encoded data"}}),
        ({"bot_image": {"type": "image/png", "data": "AAAA"}}, {"bot_image": {"data": "Data is not a PNG image"}}),
        ({"bot_image": {"type": "image/gif", "data": PNG}}, {"bot_image": ["'image/gif' is not one of ['image/png']"]}),
        ({"bot_chat_message": {"to": "everyone"}}, {"bot_chat_message": ["'message' is a required property"]}),
        (
            {"bot_chat_message": {"to": "specific_user", "message": "hi"}},
            {"bot_chat_message": {"to_user_uuid": "This field is required when sending to a specific user."}},
        ),
        ({"debug_settings": {"create_debug_recording": 1}}, {"debug_settings": ["1 is not of type 'boolean'"]}),
        ({"kubernetes_settings": {"a": "\0"}}, {"kubernetes_settings": ["Null characters are not allowed."]}),
        ({"calendar_event_id": "x\0"}, {"error": "Calendar event with id x\0 does not exist in this project."}),
    ],
)
def test_a_refused_bot(shared, change, errors) -> None:
    key = str(change)[:1000]
    body = {key: value for key, value in (GOOD | {"deduplication_key": key} | change).items() if value is not ...}
    answer = shared.post("/bots", json=body)
    assert (answer.status_code, answer.json()) == (400, errors)
    assert shared.get("/bots", params={"deduplication_key": key}).json()["results"] == []


@pytest.mark.parametrize(
    "given",
    [
        {"bot_image": {"type": "image/png", "data": PNG}},
        {"bot_chat_message": {"to": "specific_user", "to_user_uuid": "u", "message": "hi"}},
        {"recording_settings": {"format": "none", "view": "gallery_view", "resolution": "720p"}},
        {"automatic_leave_settings": {"max_uptime_seconds": None, "bot_keywords": ["notetaker"]}},
        {"transcription_settings": {"openai": {"model": "gpt-4o-transcribe", "chunking_strategy": "auto"}}},
        {
            "transcription_settings": {
                "openai": {"model": "gpt-4o-transcribe-diarize", "chunking_strategy": {"type": "server_vad"}}
            }
        },
        {"transcription_settings": {"custom_async": {"whatever": 1}}},
        {"websocket_settings": {"audio": {"url": "wss://x", "sample_rate": 8000}}},
        {"zoom_settings": {"sdk": "web", "meeting_settings": {"enable_focus_mode": True}}},
        {"webhooks": []},
        {"kubernetes_settings": {"a": 1}},
    ],
)
def test_settings_that_existing_clients_send(shared, given) -> None:
    make(shared, **given)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("2026-11-22T11:00:00+02:00", "2026-11-22T09:00:00Z"),
        ("2026-11-23", "2026-11-23T00:00:00Z"),
        ("2026-11-22 10:00", "2026-11-22T10:00:00Z"),
        ("2026-11-22T10:00:00.5", "2026-11-22T10:00:00.500000Z"),
    ],
)
def test_times_are_read_as_the_contract_says(shared, given, shown) -> None:
    assert make(shared, join_at=given)["join_at"] == shown


def test_a_bot_for_an_event_takes_its_time_and_link(client, event_id) -> None:
    body = client.post("/bots", json={"bot_name": "Notes", "calendar_event_id": event_id}).json()
    assert (body["state"], body["meeting_url"], body["join_at"]) == ("scheduled", MEET, "2026-11-22T10:31:27.366061Z")
    [event] = client.get("/calendar_events").json()["results"]
    assert event["bots"] == [body]


def test_several_bots_for_one_event_are_listed_oldest_first(client, event_id, clock) -> None:
    made = []
    for _ in range(3):
        answer = client.post("/bots", json={"bot_name": "Notes", "calendar_event_id": event_id})
        made.append(answer.json())
        clock.pass_by(seconds=1)
    [event] = client.get("/calendar_events").json()["results"]
    assert event["bots"] == made


def test_no_bot_is_sent_to_an_event_of_a_disconnected_calendar(client, db, event_id) -> None:
    with db.begin() as conn:
        conn.execute(sa.text("UPDATE calendar SET state = 'disconnected'"))
    answer = client.post("/bots", json={"bot_name": "Notes", "calendar_event_id": event_id})
    text = (
        f"The calendar of calendar event with id {event_id} is disconnected. Reconnect it before sending a bot there."
    )
    assert (answer.status_code, answer.json()) == (400, {"error": text})


@pytest.mark.parametrize("bot_id", ["x", "bot_0123456789abcdef", "bot_%00", "cal_0123456789abcdef"])
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_an_unknown_bot(shared, method, bot_id) -> None:
    answer = shared.request(method, f"/bots/{bot_id}")
    assert (answer.status_code, answer.json()) == (404, {"error": "Bot not found"})


def test_a_deduplication_key_is_taken_until_its_bot_is_over(client, db) -> None:
    first = make(client, deduplication_key="k")
    again = client.post("/bots", json=GOOD | {"deduplication_key": "k"})
    assert (again.status_code, again.json()) == (400, {"error": TAKEN})
    for state in ("staged", "joining", "post_processing"):
        put_in_state(db, first["id"], state)
        assert client.post("/bots", json=GOOD | {"deduplication_key": "k"}).status_code == 400
    for state in ("ended", "fatal_error", "data_deleted"):
        put_in_state(db, first["id"], state)
        second = make(client, deduplication_key="k")
        client.delete(f"/bots/{second['id']}")
    put_in_state(db, make(client, deduplication_key="k")["id"], "joined_recording")


def test_of_bots_made_at_once_with_one_key_there_is_one(client) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: client.post("/bots", json=GOOD | {"deduplication_key": "k"}).status_code, range(8))
        )
    assert sorted(answers) == [201] + [400] * 7


def test_the_same_key_in_another_project_is_fine(client, served, stranger) -> None:
    make(client, deduplication_key="k")
    with httpx.Client(base_url=f"{served}/api/v1", headers=stranger.headers, trust_env=False) as theirs:
        make(theirs, deduplication_key="k")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "abc"),
        ("meeting_url=https://zoom.us/j/1", "b"),
        ("meeting_url=zoom.us/j/1", ""),
        ("meeting_url=", "abc"),
        ("meeting_url=%00", ""),
        ("deduplication_key=k", "a"),
        ("deduplication_key=", "abc"),
        ("deduplication_key=K", ""),
        ("states=scheduled", "ab"),
        ("states=staged&states=scheduled", "abc"),
        ("states=connected", ""),
        ("join_at_after=2026-11-22T10:00:00Z", "bc"),
        ("join_at_after=2026-11-22T09:59:59.999999Z", "abc"),
        ("join_at_before=2026-11-22T12:00:00Z", "ab"),
        ("join_at_before=2026-11-22T10:00:00Z", ""),
        ("states=scheduled&join_at_after=2026-11-22T10:00:00Z", "b"),
        ("page_size=1&foo=x", "abc"),
    ],
)
def test_filters(client, db, query, found) -> None:
    made = {
        "a": make(client, deduplication_key="k")["id"],
        "b": make(client, meeting_url="https://zoom.us/j/1", join_at="2026-11-22T11:00:00Z")["id"],
        "c": make(client, join_at="2026-11-22T12:00:00Z")["id"],
    }
    put_in_state(db, made["c"], "staged")
    results = client.get(f"/bots?{query}").json()["results"]
    assert {bot["id"] for bot in results} == {made[name] for name in found}


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("states=foo", f"Invalid state: foo. Valid states are: {', '.join(FILTERABLE)}"),
        ("states=scheduled,staged", f"Invalid state: scheduled,staged. Valid states are: {', '.join(FILTERABLE)}"),
        ("join_at_after=x", "Invalid join_at_after format. Use ISO 8601 format (e.g., 2024-01-18T12:34:56Z)"),
        ("join_at_before=", "Invalid join_at_before format. Use ISO 8601 format (e.g., 2024-01-18T12:34:56Z)"),
        (
            "join_at_after=2026-11-22T10:00:00%2B16:00x",
            "Invalid join_at_after format. Use ISO 8601 format (e.g., 2024-01-18T12:34:56Z)",
        ),
    ],
)
def test_refused_filters(shared, query, text) -> None:
    answer = shared.get(f"/bots?{query}")
    assert (answer.status_code, answer.json()) == (400, {"error": text})


def test_a_wide_offset_is_an_instant_like_any_other(client) -> None:
    """The reference answers offsets beyond 15:59 with 500."""
    assert client.get("/bots", params={"join_at_after": "2026-11-22T10:00:00+23:59"}).status_code == 200


def test_a_walk_meets_each_bot_once_oldest_first(client, clock) -> None:
    made = []
    for number in range(60):
        made.append(make(client)["id"])
        if number % 3 == 0:
            clock.pass_by(microseconds=1)
    seen, url = [], "/bots?states=scheduled&states=staged"
    while url:
        page = client.get(url).json()
        seen.append([bot["id"] for bot in page["results"]])
        url = page["next"]
    assert [len(ids) for ids in seen] == [25, 25, 10]
    assert sorted(bot_id for ids in seen for bot_id in ids) == sorted(made)
    assert seen[0][0] == made[0]
    back = client.get(page["previous"]).json()
    assert [bot["id"] for bot in back["results"]] == seen[1]


def test_a_scheduled_bot_is_changed(client, db, keyring, tenant) -> None:
    body = make(client, recording_settings={"format": "mp3"}, zoom_settings={"sdk": "web"})
    change = {
        "join_at": "2026-11-22T12:00:00Z",
        "meeting_url": "zoom.us/j/5",
        "metadata": {"b": "c"},
        "bot_name": "Other",
        "recording_settings": {"view": "gallery_view"},
        "foo": "is ignored",
        "deduplication_key": "is ignored too",
    }
    answer = client.patch(f"/bots/{body['id']}", json=change)
    changed = body | {
        "join_at": "2026-11-22T12:00:00Z",
        "meeting_url": "https://zoom.us/j/5",
        "metadata": {"b": "c"},
    }
    assert (answer.status_code, answer.json()) == (200, changed)
    assert client.get(f"/bots/{body['id']}").json() == changed
    with db.single() as conn:
        assert bots.settings(conn, keyring, tenant.id, body["id"]) == {
            "recording_settings": {"view": "gallery_view"},
            "zoom_settings": {"sdk": "web"},
        }
        assert conn.execute(sa.select(bot.c.name)).scalar() == "Other"


@pytest.mark.parametrize(
    ("change", "errors"),
    [
        ({"join_at": None}, {"join_at": NULL}),
        ({"join_at": "2026-11-22T08:00:00Z"}, {"join_at": ["join_at cannot be in the past"]}),
        ({"meeting_url": None}, {"meeting_url": NULL}),
        ({"meeting_url": "x"}, {"meeting_url": ["Invalid meeting URL"]}),
        ({"metadata": None}, {"metadata": NULL}),
        ({"bot_name": ""}, {"bot_name": BLANK}),
        (
            {"recording_settings": {"format": "x"}},
            {"recording_settings": {"format": "Format must be mp4 or mp3 or 'none'"}},
        ),
        ({"bot_image": None, "foo": 1}, {"bot_image": NULL}),
    ],
)
def test_a_refused_change(shared, change, errors) -> None:
    body = make(shared)
    answer = shared.patch(f"/bots/{body['id']}", json=change)
    assert (answer.status_code, answer.json()) == (400, errors)
    assert shared.get(f"/bots/{body['id']}").json() == body


@pytest.mark.parametrize("state", ["staged", "joining", "joined_recording", "fatal_error", "ended"])
def test_once_on_its_way_only_the_metadata_of_a_bot_changes(client, db, state) -> None:
    body = make(client, recording_settings={"format": "mp3"})
    put_in_state(db, body["id"], state)
    text = (
        f"Bot is in state {state} but join_at, meeting_url, bot_name, bot_image and recording_settings can only be "
        "updated when in the scheduled state"
    )
    for change in (
        {"join_at": "2026-11-22T12:00:00Z"},
        {"meeting_url": "zoom.us/j/5"},
        {"bot_name": "x"},
        {"recording_settings": {}},
        {"recording_settings": {"format": "mp4"}},
        {"bot_image": {"type": "image/png", "data": PNG}},
    ):
        answer = client.patch(f"/bots/{body['id']}", json=change)
        assert (answer.status_code, answer.json()) == (400, {"error": text})
    past = client.patch(f"/bots/{body['id']}", json={"join_at": "2020-01-01"})
    assert past.json() == {"join_at": ["join_at cannot be in the past"]}
    assert client.patch(f"/bots/{body['id']}", json={"metadata": {"a": "b"}}).json()["metadata"] == {"a": "b"}
    same = {"join_at": SOON, "meeting_url": f"{MEET}?x=y", "bot_name": "Notes"}
    same |= {"recording_settings": {"format": "mp3"}}
    assert client.patch(f"/bots/{body['id']}", json=same).status_code == 200
    refused = client.delete(f"/bots/{body['id']}")
    assert (refused.status_code, refused.json()) == (
        400,
        {"error": f"Bot is in state {state} but can only be deleted when in scheduled state"},
    )


def test_a_deleted_bot_is_gone_and_stays_on_record(client, db) -> None:
    body = make(client, deduplication_key="k", metadata={"a": "b"}, zoom_settings={"sdk": "web"})
    answer = client.delete(f"/bots/{body['id']}")
    assert (answer.status_code, answer.content, answer.headers.get("content-type")) == (200, b"", None)
    assert client.get(f"/bots/{body['id']}").status_code == 404
    assert client.delete(f"/bots/{body['id']}").status_code == 404
    assert client.get("/bots").json()["results"] == []
    make(client, deduplication_key="k")
    with db.single() as conn:
        row = conn.execute(sa.select(bot).where(bot.c.id == body["id"])).one()
        assert (row.gone_because, row.settings, row.metadata) == ("deleted", None, None)
        told = conn.execute(sa.select(bot_event.c.decision).where(bot_event.c.bot_id == body["id"])).scalars()
        assert list(told) == ["made", "deleted"]


def test_a_deleted_calendar_takes_its_scheduled_bots_with_it(client, db, calendar_id, event_id) -> None:
    ours = [client.post("/bots", json={"bot_name": "x", "calendar_event_id": event_id}).json() for _ in range(2)]
    other = make(client)
    put_in_state(db, ours[1]["id"], "joined_recording")
    assert client.delete(f"/calendars/{calendar_id}").status_code == 200
    assert client.get(f"/bots/{ours[0]['id']}").status_code == 404
    left = client.get("/bots").json()["results"]
    assert {bot["id"] for bot in left} == {ours[1]["id"], other["id"]}


def test_bots_are_embedded_with_one_statement_for_the_page(client, db, tenant, calendar_id, events, event_id) -> None:
    events(tenant.id, calendar_id, [{} for _ in range(60)])
    client.get("/calendar_events")

    def statements() -> int:
        before = db.statements
        assert client.get("/calendar_events").status_code == 200
        return db.statements - before

    without = statements()
    for _ in range(5):
        client.post("/bots", json={"bot_name": "x", "calendar_event_id": event_id})
    assert statements() == without <= 3


def test_forms_are_read_too(client) -> None:
    form = GOOD | {"metadata": '{"a": "b"}', "zoom_settings": '{"sdk": "web"}'}
    answer = client.post("/bots", data=form)
    assert (answer.status_code, answer.json()["metadata"]) == (201, {"a": "b"})


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("meeting_url", f"https://meet.jit.si/{random.Random(1).randbytes(2000).hex()}", "Invalid meeting URL"),
        ("deduplication_key", "".join(chr(0x4E00 + number * 7) for number in range(1000)), "2048 bytes"),
    ],
)
def test_what_no_index_would_hold_is_refused_and_not_to_be_tried_again(client, field, value, told) -> None:
    """PostgreSQL refused it, and the answer was 503: later, it may do."""
    answer = client.post("/bots", json=GOOD | {field: value})
    assert answer.status_code == 400
    assert told in answer.json()[field][0]
