"""What holds for every request: who asks, routes, methods, types, sizes."""

import logging
from collections.abc import Callable

import httpx
import pytest
import sqlalchemy as sa

from calendar_pipeline.db.connect import Database
from calendar_pipeline.db.schema import api_key

MISSING = {"detail": "Missing Authorization header"}
INVALID = {"detail": "Invalid Authorization header. Should have this format: Token <api_key>"}
UNKNOWN = {"detail": "Invalid or disabled API key"}
NOT_FOUND = {"error": "Not found"}
COLLECTION = "GET, POST, HEAD, OPTIONS"
ITEM = "GET, PATCH, DELETE, HEAD, OPTIONS"
SOME = "/calendars/cal_0123456789abcdef"


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (None, MISSING),
        ("", MISSING),
        ("Token", INVALID),
        ("Basic {key}", INVALID),
        ("Token {key} more", INVALID),
        ("{key}", INVALID),
        ("Token nobody-has-this-key", UNKNOWN),
        ("Token cp_live_mistyped", UNKNOWN),
        ("Token {key}x", UNKNOWN),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS"])
def test_without_a_good_key_nobody_gets_in(anonymous, tenant, header, body, method) -> None:
    headers = {} if header is None else {"Authorization": header.format(key=tenant.key)}
    response = anonymous.request(method, "/calendars", headers=headers, content=b"{bad json")
    assert (response.status_code, response.json()) == (401, body)
    assert response.headers["www-authenticate"] == "Token"
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize("scheme", ["Token", "token", "TOKEN", "Bearer", "bearer"])
def test_the_scheme_is_written_in_any_case(anonymous, tenant, scheme) -> None:
    response = anonymous.get("/calendars", headers={"Authorization": f"{scheme} {tenant.key}"})
    assert response.status_code == 200


def test_a_revoked_key_is_like_an_unknown_one(client, db: Database, clock) -> None:
    assert client.get("/calendars").status_code == 200
    with db.begin() as conn:
        conn.execute(sa.update(api_key).values(revoked_at=clock()))
    response = client.get("/calendars")
    assert (response.status_code, response.json()) == (401, UNKNOWN)


def test_use_of_a_key_is_noted_once_a_minute(client, db: Database, clock) -> None:
    def used() -> object:
        with db.single() as conn:
            return conn.execute(sa.select(api_key.c.last_used_at)).scalar_one()

    def statements(call: Callable[[], object]) -> int:
        before = db.statements
        call()
        return db.statements - before

    first = clock()
    assert statements(lambda: client.get("/calendars")) == 2
    clock.pass_by(seconds=59)
    assert statements(lambda: client.get("/calendars")) == 2
    assert used() == first
    clock.pass_by(seconds=2)
    client.get("/calendars")
    assert used() == clock()


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/calendars/", "/calendar_events/", f"{SOME}/", "/calendar_events/evt_x/more", "/hooks", "/bots/"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("known", [True, False])
def test_unknown_routes_are_not_found_for_anybody(anonymous, tenant, path, method, known) -> None:
    response = anonymous.request(method, path, headers=tenant.headers if known else {})
    assert (response.status_code, response.json()) == (404, NOT_FOUND)


def test_a_double_slash_is_another_path(client) -> None:
    assert client.get("http://testserver.local/api/v1//calendars").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/calendars", COLLECTION),
        ("PATCH", "/calendars", COLLECTION),
        ("DELETE", "/calendars", COLLECTION),
        ("TRACE", "/calendars", COLLECTION),
        ("BREW", "/calendars", COLLECTION),
        ("TRACE", "/bot_rules", "GET, PUT, DELETE, HEAD, OPTIONS"),
        ("POST", SOME, ITEM),
        ("PUT", SOME, ITEM),
        ("POST", "/calendar_events", "GET, HEAD, OPTIONS"),
        ("DELETE", "/calendar_events", "GET, HEAD, OPTIONS"),
    ],
)
def test_methods_that_a_path_does_not_have(client, method, path, allow) -> None:
    response = client.request(method, path)
    assert (response.status_code, response.json()["detail"]) == (405, f'Method "{method}" not allowed.')
    assert response.headers["allow"] == allow


@pytest.mark.parametrize(
    ("path", "allow"), [("/calendars", COLLECTION), (SOME, ITEM), ("/calendar_events", "GET, HEAD, OPTIONS")]
)
def test_options_tells_the_methods(client, path, allow) -> None:
    response = client.options(path)
    assert (response.status_code, response.headers["allow"]) == (200, allow)


@pytest.mark.parametrize("path", ["/calendars", "/calendar_events", SOME])
def test_head_is_get_without_the_body(client, path) -> None:
    get, head = client.get(path), client.head(path)
    assert head.content == b""
    assert head.status_code == get.status_code
    assert {**head.headers, "x-request-id": ""} == {**get.headers, "x-request-id": ""}


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("*/*", 200),
        ("application/json", 200),
        ("application/*", 200),
        ("text/html, application/json;q=0.5", 200),
        ("application/json; indent=4", 200),
        ("", 200),
        ("text/html", 406),
        ("application/json;q=0", 406),
        ("application/xml, text/*", 406),
    ],
)
def test_accept_may_exclude_json(client, accept, status) -> None:
    response = client.get("/calendars", headers={"Accept": accept})
    assert response.status_code == status
    if status == 406:
        assert response.json() == {"detail": "Could not satisfy the request Accept header."}


@pytest.mark.parametrize("given", ["text/plain", "application/xml", "text/json; charset=utf-8", ""])
def test_bodies_of_other_types_are_refused(client, given) -> None:
    response = client.post("/calendars", content=b"hello", headers={"Content-Type": given})
    assert response.status_code == 415
    assert response.json() == {"detail": f'Unsupported media type "{given}" in request.'}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"{", id="truncated"),
        pytest.param(b"{'a': 1}", id="python"),
        pytest.param(b'{"client_id": "\xff"}', id="not utf-8"),
        pytest.param(b'\xef\xbb\xbf{"a": 1}', id="byte order mark"),
        pytest.param(b'{"client_id": NaN}', id="nan"),
        pytest.param(b'{"client_id": -Infinity}', id="infinity"),
        pytest.param(b'{"client_id": 1e999}', id="too large a float"),
        pytest.param(b'{"client_id": ' + b"9" * 5000 + b"}", id="too large an integer"),
        pytest.param(b'{"client_id": "\\ud800"}', id="lone surrogate"),
        pytest.param(b'{"\\udfff": 1}', id="lone surrogate in a key"),
        pytest.param(b"[" * 900 + b"]" * 900, id="deep"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, id="very deep"),
        pytest.param(b"{} {}", id="two values"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_malformed_json_is_told_and_survived(client, body, method) -> None:
    path = "/calendars" if method == "POST" else SOME
    response = client.request(method, path, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert list(response.json()) == ["detail"]
    assert response.json()["detail"].startswith("JSON parse error - ")


def test_large_bodies_are_refused(client) -> None:
    response = client.post("/calendars", json={"client_id": "x" * 1024 * 1024})
    assert (response.status_code, response.json()) == (413, {"detail": "Request body is too large."})


@pytest.mark.parametrize(
    ("path", "status"), [("/calendars", 200), ("/nothing", 404), ("/calendars?cursor=bad", 404), (SOME, 404)]
)
def test_every_answer_has_the_security_headers(client, path, status) -> None:
    response = client.get(path)
    assert response.status_code == status
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_our_own_faults_say_nothing_of_the_inside(client, db: Database, caplog) -> None:
    with db.begin() as conn:
        conn.exec_driver_sql("ALTER TABLE calendar RENAME COLUMN client_id TO moved")
    with caplog.at_level(logging.ERROR):
        response = client.post(
            "/calendars", json={"platform": "google", "client_id": "c", "client_secret": "canary", "refresh_token": "r"}
        )
    assert (response.status_code, response.json()) == (500, {"detail": "Internal server error."})
    assert "canary" not in caplog.text
    assert "/api/v1/calendars failed: ProgrammingError" in caplog.text


def test_a_lost_database_is_for_the_moment(client, db: Database) -> None:
    client.get("/calendars")
    with db.single() as conn:
        conn.execute(
            sa.text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    statuses = [client.get("/calendars").status_code for _ in range(20)]
    assert set(statuses) <= {200, 503}
    assert statuses[-1] == 200


def test_the_log_has_one_line_a_request_and_nothing_secret(client, tenant, caplog) -> None:
    with caplog.at_level(logging.INFO, logger="api.access"):
        client.get(f"{SOME}?token=canary")
        client.get("/canary")
        client.request("CANARY", "/calendars")
    lines = [record.getMessage() for record in caplog.records if record.name == "api.access"]
    assert [line.split(" ")[:3] for line in lines] == [
        ["GET", "/api/v1/calendars/{calendar_id}", "404"],
        ["GET", "-", "404"],
        ["-", "/api/v1/calendars", "405"],
    ]
    assert tenant.key not in caplog.text


def test_hosts_that_are_none_are_refused(client) -> None:
    response: httpx.Response = client.get("/calendars", headers={"Host": "evil.example/path?"})
    assert (response.status_code, list(response.json())) == (400, ["detail"])
