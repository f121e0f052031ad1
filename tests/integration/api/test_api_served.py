"""The API behind a real socket, asked as an application would ask it."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest

GOOD = {"platform": "google", "client_id": "c", "client_secret": "s", "refresh_token": "t"}


@pytest.fixture
def remote(served: str, tenant) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{served}/api/v1", headers=tenant.headers, trust_env=False) as client:
        yield client


def test_an_application_connects_a_calendar_and_follows_its_events(remote, tenant, events, clock) -> None:
    """Create, read, list changes since a moment, follow `next` word for word, and disconnect."""
    answer = remote.post("/calendars", json=GOOD | {"deduplication_key": "user-1", "metadata": {"user": "1"}})
    assert answer.status_code == 201
    calendar = answer.json()
    assert remote.get("/calendars", params={"deduplication_key": "user-1"}).json()["results"] == [calendar]
    made = events(tenant.id, calendar["id"], [{"updated_at": clock() + timedelta(seconds=n)} for n in range(205)])

    url = f"{remote.base_url}calendar_events"
    query = {"calendar_id": calendar["id"], "updated_after": "2026-11-22T08:31:28+00:00", "ordering": "updated_at"}
    seen = []
    page = remote.get(url, params=query).json()
    while True:
        seen += [event["id"] for event in page["results"]]
        if page["next"] is None:
            break
        assert page["next"].startswith(f"{url}?calendar_id=cal_")
        page = remote.get(page["next"]).json()
    assert seen == made[1:]

    gone = remote.delete(f"/calendars/{calendar['id']}")
    assert (gone.status_code, gone.content, gone.headers.get("content-type")) == (200, b"", None)
    assert remote.get("/calendar_events").json() == {"next": None, "previous": None, "results": []}


def test_headers_tell_nothing_of_the_server(remote) -> None:
    answer = remote.get("/calendars")
    assert "server" not in answer.headers
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/calendars", "/calendars/cal_0123456789abcdef", "/calendar_events"])
def test_head_leaves_the_connection_usable(remote, path) -> None:
    head, get = remote.head(path), remote.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


@pytest.mark.parametrize(("size", "status"), [(10, 400), (2 * 1024 * 1024, 413)])
def test_chunked_bodies_are_read_and_limited(remote, size, status) -> None:
    chunks = (b" " * 1000 for _ in range(size // 1000 + 1))
    answer = remote.post("/calendars", content=chunks, headers={"Content-Type": "application/json"})
    assert (answer.status_code, list(answer.json())) == (status, ["detail"])


def test_an_unauthenticated_body_is_not_waited_for(served, tenant) -> None:
    """Who has no key is told before the body has arrived."""
    host, port = served.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            b"POST /api/v1/calendars HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: application/json\r\nContent-Length: 900000\r\n\r\n{"
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/calendars%2F",
        "/api/v1/%63alendars",
        "/api/v1/../v1/calendars",
        "/api/v1/calendars/..",
        "/api/v1/calendars;x",
    ],
)
def test_odd_paths_are_survived(served, tenant, path) -> None:
    host, port = served.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Token {tenant.key}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        status = int(connection.recv(1000).split(b" ")[1])
    assert status == (200 if path == "/api/v1/%63alendars" else 404)


def test_many_clients_at_once(remote, events, tenant) -> None:
    def create(n: int) -> int:
        return remote.post("/calendars", json=GOOD | {"deduplication_key": str(n % 10)}).status_code

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(create, range(60)))
    assert (statuses.count(201), statuses.count(400)) == (10, 50)
