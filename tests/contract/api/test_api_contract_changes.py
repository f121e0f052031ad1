"""The contract's rows that make or change something, each in a project of its own, over HTTP to a server process."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from calendar_pipeline.db.schema import bot as bot_table
from calendar_pipeline.db.schema import calendar as calendar_table

CALENDAR = {"platform": "google", "client_id": "c", "client_secret": "s", "refresh_token": "t"}
MEET = "https://meet.google.com/abc-defg-hij"
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")
CALENDAR_FIELDS = [
    "id",
    "platform",
    "client_id",
    "platform_uuid",
    "state",
    "metadata",
    "deduplication_key",
    "connection_failure_data",
    "created_at",
    "updated_at",
    "last_successful_sync_at",
    "last_attempted_sync_at",
]
EVENT_FIELDS = [
    "id",
    "calendar_id",
    "platform_uuid",
    "meeting_url",
    "start_time",
    "end_time",
    "is_deleted",
    "attendees",
    "ical_uid",
    "name",
    "raw",
    "bots",
    "created_at",
    "updated_at",
]
BOT_FIELDS = [
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


def soon(**later: float) -> str:
    moment = datetime.now(UTC).replace(microsecond=0) + (timedelta(**later) if later else timedelta(hours=3))
    return moment.isoformat().replace("+00:00", "Z")


def made(remote: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = remote.post(path, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def make_calendar(remote: httpx.Client, **change: Any) -> dict[str, Any]:
    return made(remote, "/calendars", CALENDAR | change)


def make_bot(remote: httpx.Client, **change: Any) -> dict[str, Any]:
    return made(remote, "/bots", {"bot_name": "Notes", "meeting_url": MEET, "join_at": soon()} | change)


def test_objects_calendar(remote) -> None:
    body = make_calendar(remote)
    assert list(body) == CALENDAR_FIELDS
    assert re.fullmatch(r"cal_[A-Za-z0-9]{16}", body["id"])
    assert STAMP.fullmatch(body["created_at"])
    plain = {name: body[name] for name in CALENDAR_FIELDS if name not in ("id", "created_at", "updated_at")}
    unset = ("platform_uuid", "metadata", "deduplication_key", "connection_failure_data")
    unsynced = ("last_successful_sync_at", "last_attempted_sync_at")
    assert plain == dict.fromkeys((*unset, *unsynced)) | {"platform": "google", "client_id": "c", "state": "connected"}
    assert "s" not in body.values()
    assert remote.get(f"/calendars/{body['id']}").json() == body
    assert remote.get("/calendars").json() == {"next": None, "previous": None, "results": [body]}


def test_objects_calendar_event(remote, tenant, store, put) -> None:
    calendar = make_calendar(remote)
    [event_id] = put(tenant.id, calendar["id"], [{}])
    [event] = remote.get("/calendar_events").json()["results"]
    assert list(event) == EVENT_FIELDS
    assert re.fullmatch(r"evt_[A-Za-z0-9]{16}", event["id"])
    assert (event["id"], event["calendar_id"], event["is_deleted"]) == (event_id, calendar["id"], False)
    assert event["meeting_url"] == f"{MEET}?authuser=0"
    assert event["attendees"] == [{"email": "ada@example.com", "name": None}]
    assert (event["ical_uid"], event["name"], event["bots"]) == (None, "Weekly", [])
    assert event["raw"] == {"id": "x", "summary": "Weekly"}
    assert all(STAMP.fullmatch(event[name]) for name in ("start_time", "end_time", "created_at", "updated_at"))


def test_objects_bot_scheduled(remote) -> None:
    at = soon()
    body = make_bot(remote, join_at=at, metadata={"a": "ä"}, deduplication_key="k")
    assert list(body) == BOT_FIELDS
    assert re.fullmatch(r"bot_[A-Za-z0-9]{16}", body["id"])
    assert body == {
        "id": body["id"],
        "metadata": {"a": "ä"},
        "meeting_url": MEET,
        "state": "scheduled",
        "events": [],
        "transcription_state": "not_started",
        "recording_state": "not_started",
        "join_at": at,
        "deduplication_key": "k",
    }
    assert remote.get(f"/bots/{body['id']}").json() == body


def test_objects_bot_at_once(remote) -> None:
    body = made(remote, "/bots", {"bot_name": "Notes", "meeting_url": MEET})
    assert (body["state"], body["join_at"], body["metadata"], body["deduplication_key"]) == (
        "joining",
        None,
        None,
        None,
    )
    [event] = body["events"]
    assert (list(event), event["type"]) == (["type", "created_at"], "join_requested")


def test_objects_instants_of_whole_seconds_have_no_fraction(remote) -> None:
    at = soon()
    assert make_bot(remote, join_at=at)["join_at"] == at
    assert make_bot(remote, join_at=at.replace("Z", ".5Z"))["join_at"] == at.replace("Z", ".500000Z")


def test_calendars_post_trims_and_writes_numbers_out(remote) -> None:
    body = make_calendar(remote, client_id="  a b\n", platform_uuid=5, metadata={"a": " x "})
    assert (body["client_id"], body["platform_uuid"], body["metadata"]) == ("a b", "5", {"a": " x "})


def test_calendars_post_deduplication_key_is_free_elsewhere_and_after_delete(remote, new_tenant) -> None:
    first = make_calendar(remote, deduplication_key="k")
    elsewhere = remote.post("/calendars", json=CALENDAR | {"deduplication_key": "k"}, headers=new_tenant().headers)
    assert elsewhere.status_code == 201
    assert remote.delete(f"/calendars/{first['id']}").status_code == 200
    make_calendar(remote, deduplication_key="k")
    assert [make_calendar(remote)["deduplication_key"] for _ in range(2)] == [None, None]


@pytest.mark.parametrize("body", [{}, {"metadata": {"b": "2"}}, {"client_secret": "new"}, {"refresh_token": "new"}])
def test_calendars_patch_asks_for_a_sync(remote, store, body) -> None:
    calendar = make_calendar(remote, metadata={"a": "1"})
    answer = remote.patch(f"/calendars/{calendar['id']}", json=body)
    assert answer.status_code == 200
    assert answer.json()["metadata"] == body.get("metadata", {"a": "1"})
    assert answer.json()["updated_at"] > calendar["updated_at"]
    with store.single() as conn:
        wanted = sa.select(calendar_table.c.requested_gen).where(calendar_table.c.id == calendar["id"])
        assert conn.execute(wanted).scalar_one() == 2


def test_calendars_patch_shows_the_state_before_its_sync(remote, store) -> None:
    calendar = make_calendar(remote)
    failure = {"error": "Google Authentication error: {}", "timestamp": "2026-11-22T08:31:27+00:00"}
    change = {"state": "disconnected", "connection_failure_data": failure}
    with store.begin() as conn:
        conn.execute(sa.update(calendar_table).where(calendar_table.c.id == calendar["id"]).values(**change))
    body = remote.patch(f"/calendars/{calendar['id']}", json={}).json()
    assert (body["state"], body["connection_failure_data"]) == ("disconnected", failure)


def test_calendars_delete(remote, tenant, store, put) -> None:
    """The calendar and its events go, and so do its scheduled bots; others stay."""
    calendar = make_calendar(remote)
    [event_id] = put(tenant.id, calendar["id"], [{}])
    scheduled = made(remote, "/bots", {"bot_name": "x", "calendar_event_id": event_id})
    on_its_way = made(remote, "/bots", {"bot_name": "x", "calendar_event_id": event_id})
    put_in_state(store, on_its_way["id"], "joining")
    answer = remote.delete(f"/calendars/{calendar['id']}")
    assert (answer.status_code, answer.content, answer.headers.get("content-type")) == (200, b"", None)
    assert remote.get(f"/calendars/{calendar['id']}").status_code == 404
    assert remote.get("/calendar_events").json()["results"] == []
    assert remote.get(f"/bots/{scheduled['id']}").status_code == 404
    assert remote.get(f"/bots/{on_its_way['id']}").status_code == 200


def test_calendar_events_of_a_disconnected_calendar_and_deleted_ones_are_listed(remote, tenant, store, put) -> None:
    calendar = make_calendar(remote)
    put(tenant.id, calendar["id"], [{}, {"is_deleted": True}])
    with store.begin() as conn:
        mine = calendar_table.c.id == calendar["id"]
        conn.execute(sa.update(calendar_table).where(mine).values(state="disconnected"))
    listed = remote.get("/calendar_events").json()["results"]
    assert sorted(event["is_deleted"] for event in listed) == [False, True]


def test_bots_post_for_an_event(remote, tenant, store, put) -> None:
    """Its link and time are the event's; the event shows the bots, and there may be several."""
    calendar = make_calendar(remote)
    [event_id] = put(tenant.id, calendar["id"], [{}])
    bots = [made(remote, "/bots", {"bot_name": "x", "calendar_event_id": event_id}) for _ in range(2)]
    [event] = remote.get("/calendar_events").json()["results"]
    assert event["bots"] == bots
    assert (bots[0]["meeting_url"], bots[0]["join_at"], bots[0]["state"]) == (MEET, event["start_time"], "scheduled")


def test_bots_post_deduplication_key_is_free_once_its_bot_is_over(remote, store) -> None:
    for state in ("ended", "fatal_error", "data_deleted"):
        put_in_state(store, make_bot(remote, deduplication_key="k")["id"], state)
    last = make_bot(remote, deduplication_key="k")
    assert remote.delete(f"/bots/{last['id']}").status_code == 200
    make_bot(remote, deduplication_key="k")


@pytest.mark.parametrize(
    ("given", "add"), [("{}+02:00", 2), ("{}-03:00", -3), ("{}", 0), ("{}Z", 0)], ids=["east", "west", "naive", "utc"]
)
def test_bots_post_join_at_is_turned_into_utc(remote, given, add) -> None:
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
    body = make_bot(remote, join_at=given.format(at.strftime("%Y-%m-%dT%H:%M:%S")))
    assert body["join_at"] == (at - timedelta(hours=add)).strftime("%Y-%m-%dT%H:%M:%SZ")


CHANGES = {
    "metadata": {"metadata": {"b": "2"}},
    "meeting_url": {"meeting_url": "zoom.us/j/5"},
    "bot_name": {"bot_name": "Other"},
    "recording_settings": {"recording_settings": {"format": "mp3"}},
    "nothing": {},
    "unknown keys": {"foo": 1},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_bots_patch_of_a_scheduled_bot(remote, change) -> None:
    body = make_bot(remote)
    answer = remote.patch(f"/bots/{body['id']}", json=change)
    shown = {"metadata": {"b": "2"}} if "metadata" in change else {}
    shown |= {"meeting_url": "https://zoom.us/j/5"} if "meeting_url" in change else {}
    assert (answer.status_code, answer.json()) == (200, body | shown)


def test_bots_patch_of_the_time_of_an_events_bot(remote, tenant, put) -> None:
    [event_id] = put(tenant.id, make_calendar(remote)["id"], [{}])
    body = made(remote, "/bots", {"bot_name": "x", "calendar_event_id": event_id})
    at = soon(hours=5)
    assert remote.patch(f"/bots/{body['id']}", json={"join_at": at}).json() == body | {"join_at": at}


@pytest.mark.parametrize(
    "change", [{"join_at": "2027-11-01T00:00:00Z"}, {"meeting_url": "zoom.us/j/5"}, {"bot_name": "y"}]
)
def test_bots_patch_once_on_its_way(remote, store, change) -> None:
    body = make_bot(remote)
    put_in_state(store, body["id"], "joining")
    answer = remote.patch(f"/bots/{body['id']}", json=change)
    text = (
        "Bot is in state joining but join_at, meeting_url, bot_name, bot_image and recording_settings can only be "
        "updated when in the scheduled state"
    )
    assert (answer.status_code, answer.json()) == (400, {"error": text})
    unchanged = {"join_at": body["join_at"], "bot_name": "Notes", "meeting_url": MEET}
    assert remote.patch(f"/bots/{body['id']}", json=unchanged).status_code == 200
    assert remote.patch(f"/bots/{body['id']}", json={"metadata": {"a": "b"}}).json()["metadata"] == {"a": "b"}
    past = remote.patch(f"/bots/{body['id']}", json={"join_at": "2020-01-01"})
    assert (past.status_code, past.json()) == (400, {"join_at": ["join_at cannot be in the past"]})


def test_bots_delete(remote) -> None:
    body = make_bot(remote)
    answer = remote.delete(f"/bots/{body['id']}")
    assert (answer.status_code, answer.content, answer.headers.get("content-type")) == (200, b"", None)
    assert [remote.request(method, f"/bots/{body['id']}").status_code for method in ("GET", "DELETE")] == [404, 404]


def test_bots_delete_once_on_its_way(remote, store) -> None:
    body = make_bot(remote)
    put_in_state(store, body["id"], "staged")
    answer = remote.delete(f"/bots/{body['id']}")
    text = "Bot is in state staged but can only be deleted when in scheduled state"
    assert (answer.status_code, answer.json()) == (400, {"error": text})


LINKS = {
    "zoom.us/j/123": "https://zoom.us/j/123",
    " https://zoom.us/j/123 ": "https://zoom.us/j/123",
    "https://zoom.com/j/123?pwd=aB1.1&from=addon": "https://zoom.us/j/123?pwd=aB1.1",
    "https://us02web.zoom.us/j/123?tk=x": "https://us02web.zoom.us/j/123?tk=x",
    "https://meet.google.com/abc-defg-hij?authuser=0": MEET,
    "https://teams.live.com/meet/9876?p=Ab1&x=y": "https://teams.live.com/meet/9876?p=Ab1",
    "https://teams.microsoft.com/l/meetup-join/19%3ameeting_x%40thread.v2/0"
    "?context=%7b%22Tid%22%3a%22t%22%2c%22Oid%22%3a%22o%22%7d": (
        'https://teams.microsoft.com/l/meetup-join/19:meeting_x@thread.v2/0?context={"Tid":"t","Oid":"o"}'
    ),
}


TEAMS = 'l/meetup-join/19:meeting_x@thread.v2/0?context={"Tid":"t","Oid":"o"}'
BEYOND = {
    "https://nam02.safelinks.protection.outlook.com/?url=https%3A%2F%2Fzoom.us%2Fj%2F123%3Fpwd%3Dab&data=x": (
        "https://zoom.us/j/123?pwd=ab"
    ),
    "https://www.google.com/url?q=https://meet.google.com/abc-defg-hij&sa=D": MEET,
    "https://zoom.us/my/ada.lovelace": "https://zoom.us/my/ada.lovelace",
    "https://zoomgov.com/j/1601234567": "https://zoomgov.com/j/1601234567",
    "https://teams.microsoft.us/l/meetup-join/19%3ameeting_x%40thread.v2/0"
    "?context=%7b%22Tid%22%3a%22t%22%2c%22Oid%22%3a%22o%22%7d": f"https://teams.microsoft.us/{TEAMS}",
    "https://teams.microsoft.com/l/meetup-join/19%3ameeting_x%40thread.v2/0"
    "?context={&quot;Tid&quot;:&quot;t&quot;,&quot;Oid&quot;:&quot;o&quot;}": f"https://teams.microsoft.com/{TEAMS}",
}
"""What the original refuses and we take, as docs/decisions/0012-meeting-links.md says: wrapped links and more hosts."""


@pytest.mark.parametrize(("given", "shown"), [*LINKS.items(), *BEYOND.items()])
def test_meeting_links_are_normalised(remote, given, shown) -> None:
    body = make_bot(remote, meeting_url=given)
    assert body["meeting_url"] == shown
    assert remote.get("/bots", params={"meeting_url": shown}).json()["results"] == [body]


@pytest.mark.parametrize(("kind", "size"), [("calendars", 25), ("bots", 25)])
def test_pagination_of_what_is_made(remote, kind, size) -> None:
    """Newest calendar first, oldest bot first; `next` is followed word for word."""
    make = make_calendar if kind == "calendars" else make_bot
    ids = [make(remote)["id"] for _ in range(size + 3)]
    pages = walk(remote, f"{remote.base_url}{kind}?page_size=5")
    assert [len(page) for page in pages] == [size, 3]
    walked = [one["id"] for page in pages for one in page]
    assert walked == (ids[::-1] if kind == "calendars" else ids)


@pytest.mark.parametrize("ordering", ["-updated_at", "updated_at", "start_time", "-end_time"])
def test_pagination_of_237_events_that_sort_alike(remote, tenant, put, ordering) -> None:
    ids = put(tenant.id, make_calendar(remote)["id"], [{} for _ in range(237)])
    pages = walk(remote, f"{remote.base_url}calendar_events?ordering={ordering}")
    assert [len(page) for page in pages] == [100, 100, 37]
    assert sorted(one["id"] for page in pages for one in page) == sorted(ids)


def walk(remote: httpx.Client, url: str) -> list[list[dict[str, Any]]]:
    """All pages; links are absolute, on the same host and path, and keep the query."""
    pages, start, query = [], url.partition("?")[0], url.partition("?")[2]
    following: str | None = url
    while following is not None:
        answer = remote.get(following)
        body = answer.json()
        assert (answer.status_code, list(body)) == (200, ["next", "previous", "results"])
        pages.append(body["results"])
        following = body["next"]
        if following is not None:
            assert following.startswith(f"{start}?")
            assert {query} <= set(following.partition("?")[2].split("&"))
            assert "cursor=" in following
    assert body["previous"] is not None
    return pages


def put_in_state(store, bot_id: str, state: str) -> None:
    with store.begin() as conn:
        conn.execute(sa.update(bot_table).where(bot_table.c.id == bot_id).values(state=state))


def test_transport_throttle_of_posts(limited) -> None:
    """Calendars and bots share one budget; other methods have none."""
    remote, budget = limited
    statuses = []
    for number in range(budget + 1):
        path, body = ("/calendars", CALENDAR) if number % 2 else ("/bots", {"bot_name": "x", "meeting_url": MEET})
        answer = remote.post(path, json=body)
        statuses.append(answer.status_code)
    assert statuses == [201] * budget + [429]
    wait = answer.headers["retry-after"]
    assert answer.json() == {"detail": f"Request was throttled. Expected available in {wait} seconds."}
    assert remote.get("/calendars").status_code == 200
