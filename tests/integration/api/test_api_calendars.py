"""Calendars read, changed, forgotten and listed: each request and its answer as the contract has it."""

import pytest
import sqlalchemy as sa

from calendar_pipeline.calendars import store as calendars
from calendar_pipeline.db.connect import Database
from calendar_pipeline.db.schema import calendar, calendar_event

GOOD = {
    "platform": "google",
    "client_id": "client",
    "client_secret": "hush-secret",
    "refresh_token": "hush-token",
}
NULL = ["This field may not be null."]
BLANK = ["This field may not be blank."]
NOT_FOUND = {"error": "Calendar not found"}


def stored(db: Database) -> sa.Row:
    with db.single() as conn:
        return conn.execute(sa.select(calendar)).one()


def test_get(client) -> None:
    made = client.post("/calendars", json=GOOD).json()
    response = client.get(f"/calendars/{made['id']}")
    assert (response.status_code, response.json()) == (200, made)


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "calendar_id",
    [
        "cal_0123456789abcdef",
        "cal_0123456789abcdeg0",
        "x",
        "cal_",
        "%00",
        "9" * 5000,
        "%FF%FE",
        "cal_%C3%A9",
        "evt_0123456789abcdef",
    ],
)
def test_what_is_not_there_is_not_found(client, method, calendar_id) -> None:
    response = client.request(method, f"/calendars/{calendar_id}", json={} if method == "PATCH" else None)
    assert (response.status_code, response.json()) == (404, NOT_FOUND)


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
@pytest.mark.parametrize("body", [{}, {"foo": 1}])
def test_what_is_another_projects_is_not_found(client, stranger, method, body) -> None:
    theirs = client.post("/calendars", json=GOOD, headers=stranger.headers).json()["id"]
    absent = client.request(method, "/calendars/cal_0123456789abcdef", json=body)
    response = client.request(method, f"/calendars/{theirs}", json=body)
    assert (response.status_code, response.content) == (404, absent.content)
    assert response.json() == NOT_FOUND
    assert client.get(f"/calendars/{theirs}", headers=stranger.headers).status_code == 200


@pytest.mark.parametrize("body", [{}, {"metadata": {"b": "2"}}, {"client_secret": "new"}])
def test_every_patch_asks_for_a_sync(client, db, clock, body) -> None:
    made = client.post("/calendars", json=GOOD | {"metadata": {"a": "1"}}).json()
    clock.pass_by(minutes=1)
    response = client.patch(f"/calendars/{made['id']}", json=body)
    changed = {"updated_at": "2026-11-22T08:32:27.366061Z", "metadata": body.get("metadata", {"a": "1"})}
    assert (response.status_code, response.json()) == (200, made | changed)
    row = stored(db)
    assert (row.requested_gen, row.next_sync_at) == (2, clock())


def test_patch_without_a_body_is_an_empty_patch(client, db) -> None:
    made = client.post("/calendars", json=GOOD).json()
    assert client.patch(f"/calendars/{made['id']}").status_code == 200
    assert stored(db).requested_gen == 2


def test_credentials_are_merged_and_start_afresh(client, db, keyring, tenant, clock) -> None:
    made = client.post("/calendars", json=GOOD).json()
    with db.begin() as conn:
        conn.execute(
            sa.update(calendar).values(access_token=b"x", access_token_expires_at=clock(), suspected_at=clock())
        )
    client.patch(f"/calendars/{made['id']}", json={"metadata": {"a": "1"}})
    assert stored(db).access_token == b"x"
    client.patch(f"/calendars/{made['id']}", json={"refresh_token": " newer "})
    row = stored(db)
    assert (row.access_token, row.access_token_expires_at, row.suspected_at) == (None, None, None)
    opened = {
        column: keyring.open(getattr(row, column), calendars.secret_place(column, row.id, tenant.id))
        for column in ("client_secret", "refresh_token")
    }
    assert opened == {"client_secret": "hush-secret", "refresh_token": "newer"}


def test_a_patch_shows_the_state_before_its_sync(client, db, clock) -> None:
    made = client.post("/calendars", json=GOOD).json()
    failure = {"error": "Google Authentication error: {}", "timestamp": "2026-11-22T08:31:27.366061+00:00"}
    with db.begin() as conn:
        conn.execute(sa.update(calendar).values(state="disconnected", connection_failure_data=failure))
    body = client.patch(f"/calendars/{made['id']}", json={"refresh_token": "newer"}).json()
    assert (body["state"], body["connection_failure_data"]) == ("disconnected", failure)


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({"client_secret": None, "refresh_token": ""}, {"client_secret": NULL, "refresh_token": BLANK}),
        ({"metadata": {}}, {"metadata": ["Metadata must have at least one key"]}),
        ([], {"non_field_errors": ["Invalid data. Expected a dictionary, but got list."]}),
        (
            {"client_id": "x"},
            {
                "non_field_errors": [
                    "Unexpected field(s): client_id. Allowed fields are: client_secret, metadata, refresh_token"
                ]
            },
        ),
    ],
)
def test_patches_that_are_refused_change_nothing(client, db, body, errors) -> None:
    made = client.post("/calendars", json=GOOD).json()
    response = client.patch(f"/calendars/{made['id']}", json=body)
    assert (response.status_code, response.json()) == (400, errors)
    assert stored(db).requested_gen == 1


def test_delete_forgets_the_calendar_and_its_events(client, db, tenant, events) -> None:
    made = client.post("/calendars", json=GOOD).json()
    events(tenant.id, made["id"], [{}])
    response = client.delete(f"/calendars/{made['id']}")
    assert (response.status_code, response.content) == (200, b"")
    assert "content-type" not in response.headers
    again = client.delete(f"/calendars/{made['id']}")
    assert (again.status_code, again.json()) == (404, NOT_FOUND)
    with db.single() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(calendar_event)).scalar_one() == 0


def test_a_list_is_newest_first_and_25_a_page(client, clock) -> None:
    made = []
    for _ in range(26):
        made.append(client.post("/calendars", json=GOOD).json())
        clock.pass_by(seconds=1)
    first = client.get("/calendars", params={"page_size": 3, "foo": "bar"}).json()
    assert list(first) == ["next", "previous", "results"]
    assert first["results"] == made[:0:-1]
    assert first["previous"] is None
    assert first["next"].startswith("http://testserver.local/api/v1/calendars?")
    second = client.get(first["next"]).json()
    assert (second["results"], second["next"]) == (made[:1], None)
    assert client.get(second["previous"]).json() == first


@pytest.mark.parametrize(("key", "found"), [("mine", 1), ("", 0), ("MINE", 0), ("\0", 0), ("mine\0", 0)])
def test_a_list_can_be_of_one_key(client, key, found) -> None:
    client.post("/calendars", json=GOOD | {"deduplication_key": "mine"})
    client.post("/calendars", json=GOOD)
    response = client.get("/calendars", params={"deduplication_key": key})
    assert response.json()["previous"] is response.json()["next"] is None
    assert len(response.json()["results"]) == found


def test_a_list_shows_no_other_project(client, stranger) -> None:
    client.post("/calendars", json=GOOD | {"deduplication_key": "k"}, headers=stranger.headers)
    assert client.get("/calendars").json()["results"] == []
    assert client.get("/calendars", params={"deduplication_key": "k"}).json()["results"] == []


@pytest.mark.parametrize(
    ("method", "most"),
    [
        ("GET", 2),  # key and calendar
        ("POST", 5),  # key, budget, audit, calendar, audit
        ("PATCH", 4),
        ("DELETE", 6),
    ],
)
def test_no_request_takes_more_statements_than_it_must(client, db, method, most, clock) -> None:
    made = client.post("/calendars", json=GOOD).json()
    clock.pass_by(minutes=2)
    path = "/calendars" if method == "POST" else f"/calendars/{made['id']}"
    before = db.statements
    assert client.request(method, path, json=GOOD if method == "POST" else {}).is_success
    assert db.statements - before == most
