"""Paths of our own over the record: events in full, versions, looking back, the change feed. Written by real syncs."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest
import sqlalchemy as sa

from api import positions
from api.positions import Position
from calendar_pipeline.calendars import store as calendars
from calendar_pipeline.calendars.model import NewCalendar
from calendar_pipeline.db.connect import Database, json_text
from calendar_pipeline.history import retention, versions
from calendar_pipeline.history import store as history

NEW = NewCalendar(platform="google", client_id="c", client_secret="s", refresh_token="t")
RESYNC_KEYS = {"type", "title", "status", "detail", "code", "resync"}

WRITE = sa.text("""
    INSERT INTO calendar_event (id, project_id, calendar_id, version, provider_event_id, title, starts_at, ends_at,
        start_time, end_time, status, attendees, visibility, is_busy, event_type, raw, fingerprint, is_deleted,
        created_at, updated_at)
    VALUES (:id, :project, :calendar, 1, :id, :title, :at, :at, :at, :at, 'confirmed', CAST(:attendees AS json),
        'default', true, 'default', CAST(:raw AS json), '', :deleted, :at, :at)
    ON CONFLICT (id) DO UPDATE SET version = calendar_event.version + 1, title = excluded.title,
        is_deleted = excluded.is_deleted, updated_at = excluded.updated_at
""")
APPEND = sa.text("""
    WITH counter AS (
        UPDATE project_counter SET n = n + 1, stamped_at = :at WHERE project_id = :project RETURNING n
    )
    INSERT INTO event_history SELECT e.project_id, n, :at, e.calendar_id, e.id, e.version, :change, :changed,
        CAST(:before AS jsonb), e.provider_event_id, e.ical_uid, e.title, e.starts_at, e.ends_at, e.start_date,
        e.end_date, e.start_time, e.end_time, e.time_zone, e.status, e.meeting_url, e.meeting_link, e.meeting_platform,
        e.meeting_key, e.organizer_email, e.own_response, e.attendees, e.series_id, e.original_starts_at, e.location,
        e.visibility, e.is_busy, e.event_type, e.provider_updated_at, e.raw, e.fingerprint, e.is_deleted, NULL
    FROM counter, calendar_event e WHERE e.id = :id
""")


@pytest.fixture
def calendar_id(db: Database, tenant, keyring, clock) -> str:
    with db.begin() as conn:
        return calendars.create(conn, keyring, tenant.id, NEW, now=clock()).id


@pytest.fixture
def change(db: Database, tenant, calendar_id, clock) -> Callable[..., None]:
    """Writes one version of an event, in a turn of its own."""

    def change(event: str, title: str, *, kind: str = "updated", deleted: bool = False) -> None:
        with db.begin() as conn:
            at = history.turn(conn, tenant.id, clock=clock)
            names = {"id": event, "project": tenant.id, "calendar": calendar_id, "at": at}
            conn.execute(
                WRITE,
                {
                    **names,
                    "title": title,
                    "attendees": json_text([{"email": "a@example.com", "response": "accepted"}]),
                    "raw": '{"id":  "as received"}',
                    "deleted": deleted,
                },
            )
            conn.execute(
                APPEND,
                {
                    "id": event,
                    "project": tenant.id,
                    "at": at,
                    "change": kind,
                    "changed": ["title"] if kind == "updated" else [],
                    "before": json_text({"title": "before"} if kind == "updated" else {}),
                },
            )

    return change


def evt(number: int) -> str:
    return f"evt_{number:016d}"


def walk(client: httpx.Client, path: str, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        page = client.get(path, params=query).json()
        found += page["results"]
        if not page["has_more"]:
            return found
        query = {k: v for k, v in query.items() if k != "start"} | {"cursor": page["next_cursor"]}


def test_an_event_in_full(client, change, calendar_id) -> None:
    change(evt(1), "Weekly", kind="created")
    found = client.get(f"/calendar_events/{evt(1)}").json()
    assert (found["id"], found["calendar_id"], found["name"]) == (evt(1), calendar_id, "Weekly")
    assert (found["is_all_day"], found["visibility"], found["bots"]) == (False, "default", [])
    assert found["attendees"] == [{"email": "a@example.com", "response": "accepted"}]
    assert b'"raw":{"id":  "as received"}' in client.get(f"/calendar_events/{evt(1)}").content


def test_the_versions_of_an_event(client, change) -> None:
    change(evt(1), "one", kind="created")
    for title in ("two", "three"):
        change(evt(1), title)
    change(evt(1), "three", kind="deleted", deleted=True)
    path = f"/calendar_events/{evt(1)}/history"
    found = client.get(path).json()
    assert [row["change"] for row in found["results"]] == ["created", "updated", "updated", "deleted"]
    assert [row["event"]["version"] for row in found["results"]] == [1, 2, 3, 4]
    assert found["results"][1]["changed"] == ["name"]
    assert found["results"][1]["before"] == {"name": "before"}
    assert (found["has_more"], found["next_cursor"]) == (False, None)
    assert walk(client, path, limit=1) == found["results"]


def test_looking_back_finds_what_was_recorded_then(client, change, calendar_id, clock) -> None:
    change(evt(1), "one", kind="created")
    change(evt(2), "other", kind="created")
    first = clock().isoformat()
    clock.pass_by(hours=1)
    change(evt(1), "two")
    change(evt(2), "other", kind="deleted", deleted=True)
    clock.pass_by(hours=1)

    def titles(at: str, **more: Any) -> list[str]:
        found = walk(client, "/calendar_events_as_of", calendar_id=calendar_id, as_of=at, limit=1, **more)
        return [row["event"]["name"] for row in found]

    assert titles(first) == ["one", "other"]
    assert titles(clock().isoformat()) == ["two"]
    assert titles(clock().isoformat(), include_deleted="true") == ["two", "other"]
    assert titles((clock() - timedelta(days=1)).isoformat()) == []


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"as_of": "2026-01-01"},
        {"as_of": "yesterday", "calendar_id": "x"},
        {"as_of": "2126-01-01", "calendar_id": "x"},
        {"as_of": "2026-01-01", "calendar_id": "x", "include_deleted": "maybe"},
    ],
)
def test_looking_back_says_what_it_needs(client, query) -> None:
    answer = client.get("/calendar_events_as_of", params=query)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


def test_a_made_up_place_to_look_back_from_is_a_bad_cursor(client, calendar_id) -> None:
    """The checksum is no secret, so a cursor may hold anything."""
    at = "2026-01-01T00:00:00+00:00"
    for place in ("", "\0", "evt_", 7):
        cursor = positions.write(Position("as_of", f"{calendar_id} {at} False", place))
        query = {"calendar_id": calendar_id, "as_of": "2026-01-01", "cursor": cursor}
        answer = client.get("/calendar_events_as_of", params=query)
        assert (answer.status_code, answer.json()["title"]) == (400, "Bad Request"), place


def test_the_feed_tells_each_change_once_in_order(client, change) -> None:
    for number in range(1, 6):
        change(evt(number), "x", kind="created")
    change(evt(1), "y")
    whole = client.get("/event_changes").json()
    assert [row["sequence"] for row in whole["results"]] == [1, 2, 3, 4, 5, 6]
    assert walk(client, "/event_changes", limit=2) == whole["results"]
    again = client.get("/event_changes", params={"cursor": whole["next_cursor"]}).json()
    assert again == {"results": [], "has_more": False, "next_cursor": whole["next_cursor"]}
    change(evt(2), "z")
    (news,) = client.get("/event_changes", params={"cursor": whole["next_cursor"]}).json()["results"]
    assert (news["sequence"], news["event"]["name"]) == (7, "z")


def test_the_feed_can_begin_now(client, change) -> None:
    change(evt(1), "x", kind="created")
    begin = client.get("/event_changes", params={"start": "now"}).json()
    assert (begin["results"], begin["has_more"]) == ([], False)
    change(evt(1), "y")
    (news,) = client.get("/event_changes", params={"cursor": begin["next_cursor"]}).json()["results"]
    assert news["event"]["name"] == "y"


def test_fault_24_a_tampered_cursor_is_refused_and_a_foreign_one_not_found(client, stranger, change) -> None:
    change(evt(1), "x", kind="created")
    cursor = client.get("/event_changes").json()["next_cursor"]
    for at in range(len(cursor)):
        bad = cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :]
        assert client.get("/event_changes", params={"cursor": bad}).status_code == 400, bad
    for bad in ("", "x", "é", cursor[:-1], cursor + "=", cursor + "A", "\0"):
        assert client.get("/event_changes", params={"cursor": bad}).status_code == 400, bad
    foreign = client.get("/event_changes", params={"cursor": cursor}, headers=stranger.headers)
    assert (foreign.status_code, foreign.headers["content-type"]) == (404, "application/problem+json")


def test_fault_24_changes_no_longer_kept_are_gone_with_how_to_begin_anew(client, change, db) -> None:
    change(evt(1), "x", kind="created")
    change(evt(2), "x", kind="created")
    with db.begin() as conn:
        conn.execute(sa.text("SET LOCAL calendar_pipeline.retention = 'on'"))
        conn.execute(sa.text("DELETE FROM event_history WHERE seq = 1"))
    answer = client.get("/event_changes")
    assert (answer.status_code, set(answer.json())) == (410, RESYNC_KEYS)
    with db.begin() as conn:
        conn.execute(sa.text("SET LOCAL calendar_pipeline.retention = 'on'"))
        conn.execute(sa.text("DELETE FROM event_history"))
    assert client.get("/event_changes").status_code == 410
    assert client.get("/event_changes", params={"start": "now"}).status_code == 200


def test_where_retention_left_something_out_nobody_is_led_past_it(client, change, db) -> None:
    for number in range(1, 5):
        change(evt(number), "x", kind="created")
    early = client.get("/event_changes", params={"limit": 1}).json()["next_cursor"]
    late = client.get("/event_changes", params={"limit": 3}).json()["next_cursor"]
    with db.begin() as conn:
        conn.execute(sa.text("SET LOCAL calendar_pipeline.retention = 'on'"))
        conn.execute(sa.text("DELETE FROM event_history WHERE seq = 3"))
        conn.execute(sa.text("UPDATE project_counter SET floor = 3, expired = 1"))
    assert client.get("/event_changes").status_code == 410
    assert client.get("/event_changes", params={"cursor": early}).status_code == 410
    (left,) = client.get("/event_changes", params={"cursor": late}).json()["results"]
    assert left["sequence"] == 4


def test_a_state_from_before_what_is_kept_is_refused_with_the_instant_from_which_states_are_whole(
    client, change, db, tenant, calendar_id, clock
) -> None:
    change(evt(1), "x", kind="created")
    early = clock()
    clock.pass_by(days=10)
    cutoff = clock()
    retention.expire(db, tenant.id, cutoff)
    clock.pass_by(days=1)
    query = {"calendar_id": calendar_id, "as_of": early.isoformat()}
    answer = client.get("/calendar_events_as_of", params=query)
    assert (answer.status_code, answer.json()["code"]) == (410, "not_kept")
    assert cutoff.isoformat() in answer.json()["detail"]
    assert client.get("/calendar_events_as_of", params=query | {"as_of": cutoff.isoformat()}).status_code == 200


def test_fault_25_after_a_restore_old_cursors_are_gone(client, change, db, tenant, clock) -> None:
    """By the new epoch; and even where nobody thought of it, if numbers were lost."""
    for number in (1, 2):
        change(evt(number), "x", kind="created")
    cursor = client.get("/event_changes").json()["next_cursor"]
    with db.begin() as conn:
        epoch = versions.new_epoch(conn, now=clock())
    answer = client.get("/event_changes", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (410, "cursor_expired")
    ahead = positions.write(Position("feed", tenant.id, 3, epoch))
    assert client.get("/event_changes", params={"cursor": ahead}).status_code == 410
    fresh = client.get("/event_changes").json()["next_cursor"]
    assert client.get("/event_changes", params={"cursor": fresh}).status_code == 200


@pytest.mark.parametrize("limit", ["0", "-1", "1000000000", "501", "x", "", "1.5", "٣", "99999999999999999999"])
@pytest.mark.parametrize("path", ["/event_changes", f"/calendar_events/{evt(1)}/history", "/audit_log"])
def test_fault_47_limits_that_are_none_are_refused(client, path, limit) -> None:
    answer = client.get(path, params={"limit": limit})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


@pytest.mark.parametrize(
    "path",
    [
        "/event_changes",
        f"/calendar_events/{evt(1)}",
        f"/calendar_events/{evt(1)}/history",
        "/calendar_events_as_of",
        "/audit_log",
        "/api_keys",
        "/calendars/cal_0123456789abcdef/status",
    ],
)
@pytest.mark.parametrize("query", ["?foo=1", "?limit=1&limit=2", "?Limit=1"])
def test_fault_47_unknown_and_doubled_parameters_are_refused(client, path, query) -> None:
    answer = client.get(path + query)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


def test_no_record_is_shown_to_another_project(client, stranger, change, calendar_id, clock) -> None:
    change(evt(1), "x", kind="created")
    theirs = {"headers": stranger.headers}
    for path in (f"/calendar_events/{evt(1)}", f"/calendar_events/{evt(1)}/history"):
        foreign, absent = client.get(path, **theirs), client.get(path.replace(evt(1), evt(9)))
        assert (foreign.status_code, foreign.content) == (404, absent.content)
    assert client.get("/event_changes", **theirs).json()["results"] == []
    clock.pass_by(hours=1)
    query = {"calendar_id": calendar_id, "as_of": clock().isoformat()}
    assert len(client.get("/calendar_events_as_of", params=query).json()["results"]) == 1
    assert client.get("/calendar_events_as_of", params=query, **theirs).json()["results"] == []


@pytest.mark.parametrize("path", ["/calendar_events/{}", "/calendar_events/{}/history", "/event_changes"])
def test_reading_takes_three_statements_at_most(client, change, db, path) -> None:
    change(evt(1), "x", kind="created")
    before = db.statements
    assert client.get(path.format(evt(1))).status_code == 200
    assert db.statements - before <= 3


def test_answers_are_what_the_document_says(client, change, calendar_id, clock) -> None:
    change(evt(1), "x", kind="created")
    document = client.get("http://testserver.local/openapi.json").json()
    from api import records

    for path, kind in [
        (f"/calendar_events/{evt(1)}", records.EventDetails),
        (f"/calendar_events/{evt(1)}/history", records.Versions),
        ("/event_changes", records.Changes),
        (f"/calendar_events_as_of?calendar_id={calendar_id}&as_of=2026-11-22", records.Versions),
        (f"/calendars/{calendar_id}/status", records.CalendarStatus),
        ("/api_keys", records.ApiKeys),
        ("/audit_log", records.AuditLog),
    ]:
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert msgspec.json.decode(answer.content, type=kind), path
        assert kind.__name__ in document["components"]["schemas"]
