"""Keys: what each may do, until when, and that a handler which says no scope answers nobody."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from litestar import Litestar, Router, get
from litestar.testing import TestClient

from api import auth, methods
from calendar_pipeline.db.connect import Database
from calendar_pipeline.errors import SetupError
from calendar_pipeline.projects import model, store

GOOD = {"platform": "google", "client_id": "c", "client_secret": "s", "refresh_token": "t"}
UNKNOWN = {"detail": "Invalid or disabled API key"}


def test_every_route_below_the_base_says_its_scope(app: Litestar) -> None:
    routes = [
        (route.path, handler)
        for route in app.routes
        for handler in route.route_handlers
        if route.path.startswith(methods.BASE)
    ]
    assert len(routes) > 4
    for path, handler in routes:
        scope = handler.opt.get(auth.SCOPE)
        if (handler.name or "").startswith("others "):
            assert scope == auth.ANY, path
        else:
            assert scope in model.SCOPES, path
        if "POST" in handler.http_methods and scope != auth.ANY:
            assert not scope.endswith(":read"), path


def test_a_handler_without_a_scope_answers_nobody(app: Litestar, tenant) -> None:
    @get("/forgotten", sync_to_thread=False)
    def forgotten() -> str:
        return "secret"

    app.register(Router(path=methods.BASE, route_handlers=[forgotten], guards=[auth.require_key]))
    with TestClient(app, base_url="http://testserver.local/api/v1", raise_server_exceptions=False) as client:
        answer = client.get("/forgotten", headers=tenant.headers)
    assert answer.status_code == 500
    assert "secret" not in answer.text


@pytest.fixture
def holding(db: Database, tenant, clock) -> Callable[..., dict[str, str]]:
    """The header of a new key of the project."""

    def holding(**options: object) -> dict[str, str]:
        with db.begin() as conn:
            made = store.create_key(conn, tenant.id, now=clock(), **options)
        return {"Authorization": f"Token {made.secret}"}

    return holding


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/calendars", "calendars:read"),
        ("POST", "/calendars", "calendars:write"),
        ("GET", "/calendars/{id}", "calendars:read"),
        ("PATCH", "/calendars/{id}", "calendars:write"),
        ("GET", "/calendar_events", "events:read"),
        ("DELETE", "/calendars/{id}", "calendars:write"),
    ],
)
def test_a_key_may_do_what_its_scopes_say_and_nothing_else(client, holding, method, path, scope) -> None:
    made = client.post("/calendars", json=GOOD).json()
    path, body = path.format(id=made["id"]), GOOD if method == "POST" else {}
    others = [other for other in model.SCOPES if other != scope]
    refused = client.request(method, path, json=body, headers=holding(scopes=others))
    assert (refused.status_code, list(refused.json())) == (403, ["detail"])
    assert scope in refused.json()["detail"]
    assert client.get(f"/calendars/{made['id']}").json() == made
    allowed = client.request(method, path, json=body, headers=holding(scopes=[scope]))
    assert allowed.is_success


def test_a_read_only_key_reads_and_writes_nothing(client, holding) -> None:
    analyst = holding(scopes=model.READ_ONLY)
    assert [client.get(path, headers=analyst).status_code for path in ("/calendars", "/calendar_events")] == [200, 200]
    assert client.post("/calendars", json=GOOD, headers=analyst).status_code == 403
    assert client.get("/calendars").json()["results"] == []


def test_a_key_ends_when_it_was_said_to(client, holding, clock) -> None:
    key = holding(expires_at=clock() + timedelta(days=1))
    assert client.get("/calendars", headers=key).status_code == 200
    clock.pass_by(days=1)
    answer = client.get("/calendars", headers=key)
    assert (answer.status_code, answer.json()) == (401, UNKNOWN)


def test_fault_49_revoked_expired_and_unknown_keys_are_told_apart_by_nothing(
    anonymous, db: Database, tenant, clock
) -> None:
    """The same answer after the same single statement; a mistyped key of ours costs not even that."""
    with db.begin() as conn:
        revoked = store.create_key(conn, tenant.id, now=clock())
        store.revoke_key(conn, tenant.id, revoked.key.id, now=clock())
        expired = store.create_key(conn, tenant.id, now=clock(), expires_at=clock())
    answers = []
    for secret, statements in [
        (revoked.secret, 1),
        (expired.secret, 1),
        (model.generate(), 1),
        ("brought-along", 1),
        (revoked.secret[:-1] + "-", 0),
    ]:
        before = db.statements
        answer = anonymous.get("/calendars", headers={"Authorization": f"Token {secret}"})
        assert db.statements - before == statements
        answers.append((answer.status_code, answer.content, {**answer.headers, "x-request-id": ""}))
    assert answers == [answers[0]] * len(answers)
    assert answers[0][0] == 401


@pytest.mark.parametrize("scopes", [[], ["calendars:delete"], ["calendars:read", ""]])
def test_scopes_that_are_none_are_refused(db, tenant, clock, scopes) -> None:
    with db.begin() as conn, pytest.raises(SetupError, match="scope"):
        store.create_key(conn, tenant.id, now=clock(), scopes=scopes)


def test_a_key_is_recognised_by_its_ends(db, tenant, clock) -> None:
    with db.begin() as conn:
        made = store.create_key(conn, tenant.id, now=clock(), name="dashboard", scopes=model.READ_ONLY)
        (kept,) = [key for key in store.keys(conn, tenant.id) if key.id == made.key.id]
    assert kept == made.key
    assert made.secret.startswith(kept.prefix)
    assert made.secret.endswith(kept.last_four)
    assert (len(kept.prefix), len(kept.last_four), kept.name) == (12, 4, "dashboard")
