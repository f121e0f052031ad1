"""What holds for every write: done once for an Idempotency-Key, counted, and noted without its content."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from api.limits import Buckets
from calendar_pipeline.db.connect import Database
from calendar_pipeline.db.schema import audit_log, idempotency_key
from calendar_pipeline.projects import audit, limits, store
from calendar_pipeline.settings import Settings

GOOD = {"platform": "google", "client_id": "c", "client_secret": "canary-secret", "refresh_token": "canary-token"}
KEY = {"Idempotency-Key": "one"}


def count(client: httpx.Client) -> int:
    return len(client.get("/calendars").json()["results"])


def test_fault_50_a_repeated_post_is_done_once_and_answered_the_same(client) -> None:
    first, again = (client.post("/calendars", json=GOOD, headers=KEY) for _ in range(2))
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert first.status_code == 201
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["content-type"] == "application/json"
    assert count(client) == 1


def test_fault_50_a_refusal_is_repeated_too(client) -> None:
    first, again = (client.post("/calendars", json={"platform": "x"}, headers=KEY) for _ in range(2))
    assert (first.status_code, first.content, again.content) == (400, first.content, first.content)
    assert again.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/calendars", {"json": GOOD | {"client_id": "other"}}),
        ("/calendars?x=1", {"json": GOOD}),
        ("/bots", {"json": GOOD}),
    ],
)
def test_fault_50_the_key_of_another_request_is_refused(client, path, options) -> None:
    client.post("/calendars", json=GOOD, headers=KEY)
    answer = client.post(path, headers=KEY, **options)
    assert (answer.status_code, list(answer.json())) == (422, ["detail"])
    assert count(client) == 1


def test_fault_50_of_many_at_once_one_is_done(client) -> None:
    barrier = threading.Barrier(8)

    def post(_: int) -> tuple[int, str | None]:
        barrier.wait()
        answer = client.post("/calendars", json=GOOD, headers=KEY)
        return answer.status_code, answer.headers.get("retry-after")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(post, range(8)))
    assert set(answers) <= {(201, None), (409, "1")}
    assert (201, None) in answers
    assert count(client) == 1


def test_a_key_is_one_projects_own_and_lasts_a_day(client, stranger, clock) -> None:
    client.post("/calendars", json=GOOD, headers=KEY)
    theirs = client.post("/calendars", json=GOOD, headers=KEY | stranger.headers)
    assert "idempotent-replayed" not in theirs.headers
    clock.pass_by(hours=24)
    assert "idempotent-replayed" not in client.post("/calendars", json=GOOD, headers=KEY).headers
    assert count(client) == 2


def test_a_request_that_never_answered_is_tried_again_after_a_minute(client, db: Database, clock, monkeypatch) -> None:
    client.post("/calendars", json=GOOD, headers=KEY)
    with db.begin() as conn:
        conn.execute(sa.update(idempotency_key).values(status=None, answer=None))
    assert client.post("/calendars", json=GOOD, headers=KEY).status_code == 409
    clock.pass_by(seconds=61)
    assert client.post("/calendars", json=GOOD, headers=KEY).status_code == 201


def test_a_failure_of_ours_is_not_kept(client, db: Database) -> None:
    with db.begin() as conn:
        conn.exec_driver_sql("ALTER TABLE calendar RENAME COLUMN client_id TO moved")
    assert client.post("/calendars", json=GOOD, headers=KEY).status_code == 500
    with db.begin() as conn:
        conn.exec_driver_sql("ALTER TABLE calendar RENAME COLUMN moved TO client_id")
    assert client.post("/calendars", json=GOOD, headers=KEY).status_code == 201


@pytest.mark.parametrize(
    "headers",
    [
        [("Idempotency-Key", "")],
        [("Idempotency-Key", "x" * 256)],
        [("Idempotency-Key", "a\x7f")],
    ],
)
def test_keys_that_are_none_are_refused(client, headers) -> None:
    assert client.post("/calendars", json=GOOD, headers=headers).status_code == 400
    assert count(client) == 0


def test_kept_answers_are_sealed(client, db: Database) -> None:
    made = client.post("/api_keys", json={"scopes": ["events:read"]}, headers=KEY)
    again = client.post("/api_keys", json={"scopes": ["events:read"]}, headers=KEY)
    assert made.json()["key"] == again.json()["key"]
    with db.single() as conn:
        assert made.json()["key"].encode() not in conn.execute(sa.select(idempotency_key.c.answer)).scalar_one()


def entries(db: Database, project: str) -> list[audit.Entry]:
    with db.single() as conn:
        return list(audit.entries(conn, project, limit=100))


def test_every_write_is_noted_with_who_what_and_how_it_ended(client, db: Database, tenant) -> None:
    made = client.post("/calendars", json=GOOD)
    calendar = made.json()["id"]
    client.patch(f"/calendars/{calendar}", json={"foo": 1})
    client.delete(f"/calendars/{calendar}")
    client.get("/calendars")
    client.put("/calendars")
    with db.single() as conn:
        key = store.keys(conn, tenant.id)[0].id
    assert [(e.actor, e.action, e.subject, e.status) for e in entries(db, tenant.id)] == [
        (key, "POST /api/v1/calendars", calendar, 201),
        (key, "PATCH /api/v1/calendars/{calendar_id}", calendar, 400),
        (key, "DELETE /api/v1/calendars/{calendar_id}", calendar, 200),
    ]
    assert entries(db, tenant.id)[0].request_id == made.headers["x-request-id"]


def test_the_audit_log_is_read_by_its_scope_and_own_project_only(client, stranger) -> None:
    for _ in range(3):
        client.post("/calendars", json=GOOD)
    seen: list[Any] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = client.get("/audit_log", params=query).json()
        seen += page["results"]
        if not page["has_more"]:
            break
        query["cursor"] = page["next_cursor"]
    assert [entry["status"] for entry in seen] == [201] * 3
    assert client.get("/audit_log", headers=stranger.headers).json()["results"] == []
    assert client.get("/audit_log", params=query, headers=stranger.headers).status_code == 404


def test_a_write_cut_off_in_the_middle_is_noted_without_an_answer(client, db: Database, tenant, clock) -> None:
    with db.begin() as conn:
        audit.asked(conn, tenant.id, actor="key_x", action="POST /x", subject=None, request_id="req_x", at=clock())
    assert client.get("/audit_log").json()["results"][0]["status"] is None


@pytest.mark.parametrize(
    "statement", ["UPDATE audit_log SET status = 1", "DELETE FROM audit_log", "TRUNCATE audit_log"]
)
def test_the_audit_log_is_append_only(client, db: Database, statement) -> None:
    client.post("/calendars", json=GOOD)
    with pytest.raises(sa.exc.IntegrityError, match="append-only"), db.begin() as conn:
        conn.exec_driver_sql(statement)


def test_fault_54_no_secret_is_in_the_audit_log_or_a_kept_answer(client, db: Database) -> None:
    client.post("/calendars", json=GOOD | {"metadata": {"user": "canary-person"}}, headers=KEY)
    client.post("/calendars/canary-person/sync")
    with db.single() as conn:
        text = repr(conn.execute(sa.select(audit_log)).all()) + repr(conn.execute(sa.select(idempotency_key)).all())
    assert "canary" not in text


class TestLimits:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(
            _env_file=None,
            project_posts_per_minute=3,
            api_key_requests_per_minute=20,
            api_stranger_requests_per_minute=4,
        )

    def test_fault_51_posts_of_a_project_share_one_budget(self, client, stranger, db, tenant, clock) -> None:
        with db.begin() as conn:
            other = {"Authorization": f"Token {store.create_key(conn, tenant.id, now=clock()).secret}"}
        statuses = [client.post("/calendars", json=GOOD).status_code, client.post("/bots", json={}).status_code]
        statuses.append(client.post("/calendars", json=GOOD, headers=other).status_code)
        assert statuses == [201, 400, 201]
        refused = client.post("/bots", json={}, headers=other)
        assert refused.status_code == 429
        wait = refused.headers["retry-after"]
        assert refused.json() == {"detail": f"Request was throttled. Expected available in {wait} seconds."}
        assert 1 <= int(wait) <= 20
        assert client.post("/calendars", json=GOOD, headers=stranger.headers).status_code == 201
        assert client.get("/calendars").status_code == 200

    def test_fault_51_a_key_that_asks_too_often_waits(self, client, stranger) -> None:
        answers = [client.get("/calendars") for _ in range(21)]
        assert [answer.status_code for answer in answers] == [200] * 20 + [429]
        assert answers[-1].headers["retry-after"] == "3"
        assert client.get("/calendars", headers=stranger.headers).status_code == 200

    def test_fault_51_guessing_keys_is_slowed_down(self, client) -> None:
        bad = {"Authorization": "Token guess"}
        answers = [client.get("/calendars", headers=bad).status_code for _ in range(6)]
        assert answers == [401] * 4 + [429] * 2
        assert client.get("/calendars").status_code == 200


def test_a_bucket_fills_evenly() -> None:
    now = 0.0
    bucket = Buckets(per_minute=60, timer=lambda: now)
    assert [bucket.take("a") for _ in range(60)] == [0.0] * 60
    assert bucket.take("a") == pytest.approx(1)
    assert bucket.take("b") == 0
    now = 1.0
    assert (bucket.take("a"), bucket.take("a")) == (0.0, pytest.approx(1))


def test_the_shared_budget_is_one_for_all_processes(db: Database) -> None:
    """Eight connections at once get what one would, to the piece."""

    def take(_: int) -> bool:
        with db.single() as conn:
            return limits.take(conn, "x", per_minute=30) == timedelta()

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(80))) in (30, 31, 32)  # one more for each two seconds that it took


def test_the_cli_makes_lists_and_revokes_keys(database_url: str, db: Database, tenant, monkeypatch) -> None:
    from typer.testing import CliRunner

    from calendar_pipeline.cli import app

    monkeypatch.setenv("DATABASE_URL", database_url)

    def run(*words: str) -> str:
        result = CliRunner().invoke(app, ["project", *words], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    run("keys", "create", tenant.id, "--name", "analyst", "--read-only", "--expires-in-days", "30")
    with db.single() as conn:
        made = max(store.keys(conn, tenant.id), key=lambda key: key.created_at)
    assert made.scopes == {"calendars:read", "events:read", "bots:read"}
    assert made.expires_at - made.created_at == timedelta(days=30)
    run("keys", "revoke", tenant.id, made.id)
    with db.single() as conn:
        assert next(key for key in store.keys(conn, tenant.id) if key.id == made.id).revoked_at is not None
    assert [(e.actor, e.action, e.subject, e.status) for e in entries(db, tenant.id)] == [
        ("cli", "project keys create", made.id, 0),
        ("cli", "project keys revoke", made.id, 0),
    ]
    assert made.last_four in run("keys", "list", tenant.id)
    assert "project keys revoke" in run("audit", tenant.id)
    assert tenant.id in run("list")


def test_a_key_gives_no_more_than_it_has(client, db: Database, tenant, clock) -> None:
    def holding(**options: Any) -> dict[str, str]:
        with db.begin() as conn:
            made = store.create_key(conn, tenant.id, now=clock(), **options)
        return {"Authorization": f"Token {made.secret}"}

    few = holding(scopes=["keys:manage", "events:read"])
    assert client.post("/api_keys", json={"scopes": ["events:read"]}, headers=few).status_code == 201
    for more in (["*"], ["calendars:write", "events:read"]):
        answer = client.post("/api_keys", json={"scopes": more}, headers=few)
        assert (answer.status_code, list(answer.json()["errors"])) == (400, ["scopes"])
    short = holding(expires_at=clock() + timedelta(days=1))
    for until in ({}, {"expires_at": (clock() + timedelta(days=2)).isoformat()}):
        assert client.post("/api_keys", json={"scopes": ["*"]} | until, headers=short).status_code == 400
    assert client.post("/api_keys", json={"scopes": []}).status_code == 400
    assert client.post("/api_keys", json={"scopes": ["*"], "expires_at": "2020-01-01"}).status_code == 400


def test_keys_are_listed_without_what_they_open_with_and_revoked(client, stranger) -> None:
    made = client.post("/api_keys", json={"scopes": ["*"], "name": "second"}).json()
    listed = client.get("/api_keys")
    assert made["key"] not in listed.text
    assert {key: value for key, value in made.items() if key != "key"} in listed.json()["results"]
    header = {"Authorization": f"Token {made['key']}"}
    assert client.get("/calendars", headers=header).status_code == 200
    assert client.delete(f"/api_keys/{made['id']}", headers=stranger.headers).status_code == 404
    assert client.delete(f"/api_keys/{made['id']}").status_code == 200
    assert client.get("/calendars", headers=header).status_code == 401


def test_sync_now_makes_the_calendar_due_and_the_status_tells_when_it_is_done(client, db: Database, stranger) -> None:
    calendar = client.post("/calendars", json=GOOD).json()["id"]
    with db.begin() as conn:
        conn.execute(sa.text("UPDATE calendar SET synced_gen = requested_gen, next_sync_at = '2030-01-01'"))
    asked = client.post(f"/calendars/{calendar}/sync")
    assert (asked.status_code, asked.json()["synced_generation"]) == (202, 1)
    status = client.get(f"/calendars/{calendar}/status").json()
    assert status["requested_generation"] == asked.json()["requested_generation"] == 2
    assert status["next_sync_at"].startswith("2026-11-22T08:31:27")
    assert (status["age_seconds"], status["channel"], status["recent_syncs"]) == (None, None, [])
    assert [change["state"] for change in status["recent_changes"]] == ["connected"]
    for method, path in (("POST", "sync"), ("GET", "status")):
        assert client.request(method, f"/calendars/{calendar}/{path}", headers=stranger.headers).status_code == 404
