"""Faults of the database and of bodies, by number: what the client is told, and what is left behind."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from calendar_pipeline.db.connect import Database
from calendar_pipeline.db.schema import calendar

GOOD = {"platform": "google", "client_id": "c", "client_secret": "s", "refresh_token": "t"}
JSON = {"Content-Type": "application/json"}
OWN = ["/api_keys", "/webhooks"]


@pytest.fixture
def failing(db: Database) -> Callable[[str | None], None]:
    """Lets every commit of a calendar fail with a code of PostgreSQL's, or none of them."""

    def failing(code: str | None) -> None:
        with db.begin() as conn:
            conn.exec_driver_sql("DROP TRIGGER IF EXISTS failing ON calendar")
            if code is None:
                return
            conn.exec_driver_sql(
                "CREATE OR REPLACE FUNCTION failing() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$ BEGIN RAISE EXCEPTION 'canary' USING ERRCODE = '{code}'; END $$"
            )
            conn.exec_driver_sql(
                "CREATE CONSTRAINT TRIGGER failing AFTER INSERT OR UPDATE ON calendar "
                "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION failing()"
            )

    return failing


def kept(db: Database) -> int:
    with db.single() as conn:
        return conn.execute(sa.select(sa.func.count()).select_from(calendar)).scalar_one()


def refused_then_done(client, db: Database, failing: Callable[[str | None], None], code: str) -> None:
    """503 with when to come back, nothing kept; the same request with the same key is then done, once."""
    again = {"Idempotency-Key": f"fault {code}"}
    failing(code)
    answer = client.post("/calendars", json=GOOD | {"deduplication_key": "k"}, headers=again)
    assert (answer.status_code, list(answer.json())) == (503, ["detail"])
    assert int(answer.headers["retry-after"]) > 0
    assert "canary" not in answer.text
    assert kept(db) == 0
    failing(None)
    done = client.post("/calendars", json=GOOD | {"deduplication_key": "k"}, headers=again)
    assert (done.status_code, kept(db)) == (201, 1)


@pytest.mark.parametrize("code", ["40001", "40P01", "55P03"])
def test_fault_26_a_conflict_of_transactions_is_for_the_moment_and_leaves_nothing(client, db, failing, code) -> None:
    """Serialization failure, deadlock, lock not available."""
    refused_then_done(client, db, failing, code)


@pytest.mark.parametrize("code", ["53100", "53200", "53300"])
def test_fault_27_a_full_disk_is_for_the_moment_and_leaves_nothing(client, db, failing, code) -> None:
    """Disk full, out of memory, too many connections."""
    refused_then_done(client, db, failing, code)


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/St_Johns"])
@pytest.mark.parametrize("offset", ["+05:45", "-03:30", "+00:00", "Z"])
def test_fault_33_an_instant_with_an_offset_comes_back_as_the_same_instant(client, db, tenant, events, offset, zone):
    """Whatever offset it is given in, and whatever zone the database's own clients are in."""
    given = f"2026-11-24T01:15:00.000001{offset}"
    instant = datetime.fromisoformat(given).astimezone(UTC)
    with db.begin() as conn:
        conn.exec_driver_sql(f"ALTER DATABASE {db.engine.url.database} SET timezone TO '{zone}'")
    db.engine.dispose()
    made = client.post(
        "/bots", json={"bot_name": "Notes", "meeting_url": "https://meet.google.com/abc-defg-hij", "join_at": given}
    )
    assert made.json()["join_at"] == instant.isoformat().replace("+00:00", "Z")
    assert client.get(f"/bots/{made.json()['id']}").json()["join_at"] == made.json()["join_at"]
    calendar = client.post("/calendars", json=GOOD).json()["id"]
    [event] = events(tenant.id, calendar, [{"starts_at": datetime.fromisoformat(given)}])
    found = client.get("/calendar_events", params={"start_time_gte": given}).json()["results"]
    assert [(one["id"], one["start_time"]) for one in found] == [(event, made.json()["join_at"])]
    later = (instant + timedelta(microseconds=1)).isoformat()
    assert client.get("/calendar_events", params={"start_time_gte": later}).json()["results"] == []


@pytest.mark.parametrize("path", OWN)
@pytest.mark.parametrize(
    "body",
    [b'{"name": "\xff"}', b'{"name": ', b'{"a":' * 10_000 + b"1" + b"}" * 10_000, b'{"name": "a", "name": "a"}'],
    ids=["bad utf-8", "truncated", "deep", "a key twice"],
)
def test_fault_45_a_body_that_is_none_is_refused_as_problem_json(client, path, body) -> None:
    answer = client.post(path, content=body, headers=JSON)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert answer.json()["detail"].startswith("JSON parse error - ")


@pytest.mark.parametrize("path", ["/calendars", "/bots", *OWN])
def test_fault_46_two_megabytes_are_too_much_chunked_or_not(client, path) -> None:
    whole = client.post(path, content=b" " * 2 * 1024 * 1024, headers=JSON)
    chunked = client.post(path, content=(b" " * 1024 for _ in range(2048)), headers=JSON)
    assert (whole.status_code, chunked.status_code) == (413, 413)


@pytest.mark.parametrize("wrong", [{"platform": "apple"}, {"client_id": ""}, {"else": 1}, {"metadata": {}}])
def test_fault_54_no_refusal_repeats_a_secret(client, wrong) -> None:
    secrets = {"client_secret": "canary-secret", "refresh_token": "canary-token"}
    made = client.post("/calendars", json=GOOD | secrets).json()["id"]
    answers = [
        client.post("/calendars", json=GOOD | secrets | wrong),
        client.post("/calendars", json=GOOD | {name: [secret] for name, secret in secrets.items()}),
        client.patch(f"/calendars/{made}", json=secrets | {"else": 1}),
        client.post("/calendars", content=b'{"client_secret": "canary-secret", ', headers=JSON),
        client.post("/calendars", content=b"client_secret=canary-secret", headers={"Content-Type": "text/plain"}),
        client.get("/calendars", headers={"Authorization": "Token canary-key"}),
    ]
    assert {answer.status_code for answer in answers} == {400, 401, 415}
    assert not [answer.text for answer in answers if "canary" in answer.text]
