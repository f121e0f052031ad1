"""``/calendar_events``: each request and its answer as the contract has it."""

import json
from base64 import urlsafe_b64encode
from datetime import timedelta

import pytest

from api import pagination
from calendar_pipeline.db.keyset import Seek

FIELDS = [
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
GOOD = {"platform": "google", "client_id": "c", "client_secret": "s", "refresh_token": "t"}
ORDERINGS = "-updated_at, updated_at, start_time, -start_time, end_time, -end_time, created_at, -created_at"
MINUTE = timedelta(minutes=1)


@pytest.fixture
def calendar_id(client) -> str:
    return client.post("/calendars", json=GOOD | {"deduplication_key": "mine"}).json()["id"]


def ids(response) -> list[str]:
    assert response.status_code == 200, response.text
    return [event["id"] for event in response.json()["results"]]


def test_an_event(client, tenant, calendar_id, events, clock) -> None:
    people = [
        {"email": "a@example.org", "name": None, "response": "accepted", "is_optional": False, "is_self": True},
        {"email": None, "name": "Ö", "response": None, "is_optional": True, "is_self": False},
    ]
    changes = {
        "provider_event_id": "abc_20261122",
        "ical_uid": "abc@google.com",
        "meeting_url": "https://meet.google.com/abc-defg-hij",
        "starts_at": clock(),
        "start_time": clock().replace(microsecond=0),
        "attendees": people,
        "raw": {"z": 1, "a": {"b": ["é", None, 1.0, 10**20]}},
        "updated_at": clock() + MINUTE,
    }
    (event_id,) = events(tenant.id, calendar_id, [changes])
    (body,) = client.get("/calendar_events").json()["results"]
    assert list(body) == FIELDS
    assert body == {
        "id": event_id,
        "calendar_id": calendar_id,
        "platform_uuid": "abc_20261122",
        "meeting_url": "https://meet.google.com/abc-defg-hij",
        "start_time": "2026-11-22T08:31:27Z",
        "end_time": "2026-11-22T09:31:27.366061Z",
        "is_deleted": False,
        "attendees": [{"email": "a@example.org", "name": None}, {"email": None, "name": "Ö"}],
        "ical_uid": "abc@google.com",
        "name": "Weekly",
        "raw": {"z": 1, "a": {"b": ["é", None, 1.0, 10**20]}},
        "bots": [],
        "created_at": "2026-11-22T08:31:27.366061Z",
        "updated_at": "2026-11-22T08:32:27.366061Z",
    }


def test_the_providers_json_is_passed_on_as_stored(client, tenant, calendar_id, events, db) -> None:
    events(tenant.id, calendar_id, [{}])
    exact = '{"b": 1.50, "a" : 1, "a": 123456789012345678901234567890, "nul": "\\u0000"}'
    with db.begin() as conn:
        conn.exec_driver_sql("UPDATE calendar_event SET raw = %s", (exact,))
    assert f'"raw":{exact}' in client.get("/calendar_events").text


def test_deleted_events_and_events_of_disconnected_calendars_are_listed(
    client, tenant, calendar_id, events, db
) -> None:
    events(tenant.id, calendar_id, [{"is_deleted": True}])
    with db.begin() as conn:
        conn.exec_driver_sql("UPDATE calendar SET state = 'disconnected'")
    (body,) = client.get("/calendar_events").json()["results"]
    assert (body["is_deleted"], body["attendees"]) == (True, [])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, "abc"),
        ({"calendar_id": "{calendar}"}, "abc"),
        ({"calendar_id": ""}, ""),
        ({"calendar_id": "cal_0123456789abcdef"}, ""),
        ({"calendar_id": "nonsense\0"}, ""),
        ({"calendar_deduplication_key": "mine"}, "abc"),
        ({"calendar_deduplication_key": ""}, ""),
        ({"calendar_deduplication_key": "\0"}, ""),
        ({"event_id": "{b}"}, "b"),
        ({"event_id": "\0"}, ""),
        ({"event_id": ""}, ""),
        ({"calendar_id": "{calendar}", "event_id": "{b}"}, "b"),
        ({"calendar_deduplication_key": "other", "event_id": "{b}"}, ""),
        ({"updated_at_gte": "2026-11-22T10:01:00Z"}, "bc"),
        ({"updated_after": "2026-11-22T10:01:00Z"}, "bc"),
        ({"updated_at_gte": "2026-11-22T10:01:00.000001Z"}, "c"),
        ({"updated_at_gte": "2026-11-22T10:02:00Z", "updated_after": "2026-11-22"}, "c"),
        ({"updated_at_gte": "2026-11-22T10:02:00Z", "updated_after": "nonsense"}, "c"),
        ({"updated_at_gte": "", "updated_after": "2026-11-22T10:01:00Z"}, "bc"),
        ({"updated_at_gte": ""}, "abc"),
        ({"start_time_gte": "2026-11-22T12:01"}, "bc"),
        ({"end_time_lte": "2026-11-22T14:01:00+01:00"}, "ab"),
        ({"start_time_gte": "2026-11-22 12:01:00", "end_time_lte": "2026-11-22T13:01Z"}, "b"),
        ({"updated_at_gte": "0001-01-01T00:00:00Z"}, "abc"),
        ({"end_time_lte": "9999-12-31T23:59:59.999999Z"}, "abc"),
        ({"cursor": ""}, "abc"),
        ({"page_size": "1", "foo": "bar"}, "abc"),
        ({"event_id": ["{a}", "{b}"]}, "b"),
    ],
)
def test_filters(client, tenant, calendar_id, events, clock, query, found) -> None:
    clock.now = clock.now.replace(hour=10, minute=0, second=0, microsecond=0)
    rows = [
        {
            "updated_at": clock() + n * MINUTE,
            "starts_at": clock() + timedelta(hours=2) + n * MINUTE,
            "ends_at": clock() + timedelta(hours=3) + n * MINUTE,
        }
        for n in range(3)
    ]
    names = dict(zip(events(tenant.id, calendar_id, rows), "abc", strict=True))
    known = {name: event_id for event_id, name in names.items()} | {"calendar": calendar_id}

    def fill(value: object) -> object:
        return value.format(**known) if isinstance(value, str) else [fill(item) for item in value]

    response = client.get("/calendar_events", params={name: fill(value) for name, value in query.items()})
    assert sorted(names[event_id] for event_id in ids(response)) == list(found)


BAD = [
    "nonsense",
    "2026-13-01",
    "2026-02-30",
    "2026-11-22T25:00",
    "2026-11-22T10:30:00 02:00",
    "2026-11-22T10:30:00+25:00",
]
BAD += [
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-15:59",
    "2026-11-22T10:30\0",
    "1700000000",
    "٢٠٢٦-11-22",
    "\0",
    " ",
]


@pytest.mark.parametrize("value", [*BAD, ""])
@pytest.mark.parametrize("name", ["updated_at_gte", "updated_after", "start_time_gte", "end_time_lte"])
def test_bad_instants(client, name, value) -> None:
    if name == "updated_at_gte" and not value:
        return
    told = "updated_at_gte" if name == "updated_after" else name
    example = "2025-01-13T18:00:00Z" if name == "end_time_lte" else "2025-01-13T10:30:00Z"
    response = client.get("/calendar_events", params={name: value})
    error = {"error": f"Invalid {told} format. Use ISO 8601 format (e.g., {example})"}
    assert (response.status_code, response.json()) == (400, error)


@pytest.mark.parametrize("value", ["", "name", "updated_at,created_at", "-UPDATED_AT", "\0", "--updated_at"])
def test_bad_orderings(client, value) -> None:
    response = client.get("/calendar_events", params={"ordering": value})
    assert (response.status_code, response.json()) == (400, {"error": f"Invalid ordering. Allowed values: {ORDERINGS}"})


@pytest.mark.parametrize("query", ["%FF=%FE", "calendar_id=%FF", "&&&=&", "calendar_id=%", "a" * 5000, "a=1&" * 999])
def test_odd_queries_are_survived(client, query) -> None:
    assert client.get(f"/calendar_events?{query}").status_code == 200


def test_too_many_parameters_are_refused(client) -> None:
    response = client.get(f"/calendar_events?{'a=1&' * 1001}")
    assert (response.status_code, response.json()) == (400, {"error": "Too many query parameters"})


def encoded(text: str) -> str:
    return urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


HERE = "calendar_events -updated_at"
HUGE = json.dumps([HERE, "after", 10**18 * 9, "evt_x"])
CURSORS = ["x", "bad cursor", "é", "%%%", "W10", "bnVsbA", "\0", "a" * 5000]
CURSORS += [encoded(text) for text in (HUGE, "{}", f'["{HERE}","after",0]', f'["{HERE}","after",0,"evt_\\u0000"]')]
CURSORS += [encoded(f'["{HERE}","sideways",0,"evt_x"]'), encoded(f'["{HERE}","after",{10**40},"evt_x"]')]


@pytest.mark.parametrize("path", ["/calendars", "/calendar_events"])
@pytest.mark.parametrize("cursor", CURSORS)
def test_bad_cursors_are_not_found(client, path, cursor) -> None:
    response = client.get(path, params={"cursor": cursor})
    assert (response.status_code, response.json()) == (404, {"detail": "Invalid cursor"})


def test_a_cursor_is_good_for_its_own_listing_only(client, clock) -> None:
    cursor = pagination.write_cursor(Seek(step="after", at=clock(), id="evt_x"), listing=HERE)
    assert client.get("/calendar_events", params={"cursor": cursor}).status_code == 200
    for query in ({"ordering": "updated_at", "cursor": cursor}, {"ordering": "-created_at", "cursor": cursor}):
        assert client.get("/calendar_events", params=query).status_code == 404
    assert client.get("/calendars", params={"cursor": cursor}).status_code == 404


def test_another_projects_events_are_unknown(client, tenant, stranger, events, calendar_id) -> None:
    theirs = client.post("/calendars", json=GOOD, headers=stranger.headers).json()["id"]
    (event_id,) = events(stranger.id, theirs, [{}])
    for query in ({}, {"event_id": event_id}, {"calendar_id": theirs}):
        assert ids(client.get("/calendar_events", params=query)) == []
    assert ids(client.get("/calendar_events", headers=stranger.headers)) == [event_id]


def test_237_events_are_three_pages(client, tenant, calendar_id, events, clock) -> None:
    """The walk of the reference: 100 + 100 + 37, each event once, and back again."""
    made = events(tenant.id, calendar_id, [{"updated_at": clock() + MINUTE * (n // 50)} for n in range(237)])
    url = f"/calendar_events?calendar_id={calendar_id}&foo=a%20b&updated_at_gte=2026-11-22T08%3A00%2B00%3A00&empty="
    pages = []
    while url:
        page = client.get(url).json()
        pages.append(page)
        url = page["next"]
    assert [len(page["results"]) for page in pages] == [100, 100, 37]
    assert sorted(event["id"] for page in pages for event in page["results"]) == sorted(made)
    assert pages[0]["previous"] is None
    assert "foo=a+b&updated_at_gte=2026-11-22T08%3A00%2B00%3A00&empty=&cursor=" in pages[0]["next"]
    assert client.get(pages[2]["previous"]).json() == pages[1]
    assert client.get(pages[1]["previous"]).json() == pages[0]


def test_one_page_takes_three_statements_at_most(client, tenant, calendar_id, events, db) -> None:
    events(tenant.id, calendar_id, [{}] * 5)
    client.get("/calendar_events")  # once a minute the key's use is noted
    before = db.statements
    client.get("/calendar_events", params={"calendar_deduplication_key": "mine"})
    assert db.statements - before == 3  # key, events, bots
    client.get("/calendar_events")
    assert db.statements - before == 6


def test_one_awkward_calendar_of_attendees_is_no_fault(client, tenant, calendar_id, events) -> None:
    """Attendees without an address or a name are shown with nulls."""
    events(tenant.id, calendar_id, [{"attendees": [{}, {"email": "x"}]}])
    (body,) = client.get("/calendar_events").json()["results"]
    assert body["attendees"] == [{"email": None, "name": None}, {"email": "x", "name": None}]
