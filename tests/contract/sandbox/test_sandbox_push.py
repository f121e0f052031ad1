"""Notifications as Google sends them: real POSTs, with all that can go wrong on their way."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from sandbox.server import Running, running


class Receiver:
    """Keeps what is posted to it and answers what it is told to."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                receiver.heard.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def states(self) -> list[str]:
        return [headers["x-goog-resource-state"] for _, headers, _ in self.heard]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def sandbox() -> Iterator[Running]:
    with running() as one:
        yield one


def watch(sandbox: Running, receiver: Receiver, calendar: str, **more: Any) -> dict[str, Any]:
    account = next(row["account"] for row in sandbox.calendars() if row["id"] == calendar)
    token = sandbox.issue_access_token(account)
    body = {"id": "channel-1", "type": "web_hook", "address": receiver.url, "token": "secret"} | more
    answer = httpx.post(
        f"{sandbox.google_url}calendars/{calendar}/events/watch",
        json=body,
        headers={"authorization": f"Bearer {token}"},
    )
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.fixture
def calendar(sandbox: Running) -> str:
    return sandbox.create_calendar(account="ada@example.com").calendar_id


def change(sandbox: Running, calendar: str, times: int = 1) -> None:
    for number in range(times):
        sandbox.create_event(calendar, start="2026-11-24T15:00", title=f"Meeting {number}")


def test_the_first_message_is_sync_and_changes_follow_with_growing_numbers(
    sandbox: Running, receiver: Receiver, calendar: str
) -> None:
    made = watch(sandbox, receiver, calendar)
    sandbox.pushes(settle_s=5)
    change(sandbox, calendar, 1)
    sandbox.pushes(settle_s=5)
    change(sandbox, calendar, 1)
    sandbox.pushes(settle_s=5)
    assert receiver.states() == ["sync", "exists", "exists"]
    path, headers, body = receiver.heard[1]
    assert (path, body) == ("/hook", b"")
    assert headers["x-goog-channel-id"] == "channel-1"
    assert headers["x-goog-channel-token"] == "secret"
    assert headers["x-goog-resource-id"] == made["resourceId"]
    assert headers["x-goog-resource-uri"].endswith("/events?alt=json")
    assert headers["x-goog-channel-expiration"].endswith("GMT")
    numbers = [int(headers["x-goog-message-number"]) for _, headers, _ in receiver.heard]
    assert numbers[0] == 1
    assert numbers == sorted(set(numbers))


def test_the_sync_message_can_come_before_the_answer(sandbox: Running, receiver: Receiver, calendar: str) -> None:
    sandbox.set_switches(sync_message_early=True)
    watch(sandbox, receiver, calendar)
    assert receiver.states() == ["sync"]


def test_several_changes_in_one_edit_are_one_notification(sandbox: Running, receiver: Receiver, calendar: str) -> None:
    watch(sandbox, receiver, calendar)
    made = sandbox.create_event(
        calendar, start="2026-11-24T15:00", recurrence=["RRULE:FREQ=DAILY;COUNT=5"], title="Standup"
    )
    sandbox.pushes(settle_s=5)
    sandbox.cancel_event(calendar, made["id"])
    sandbox.pushes(settle_s=5)
    assert receiver.states() == ["sync", "exists", "exists"]


@pytest.mark.parametrize(("status", "posts"), [(503, 2), (500, 2), (404, 1), (429, 1), (403, 1)])
def test_only_server_errors_are_sent_again(
    sandbox: Running, receiver: Receiver, calendar: str, status: int, posts: int
) -> None:
    watch(sandbox, receiver, calendar)
    sandbox.pushes(settle_s=5)
    receiver.statuses = [status]
    change(sandbox, calendar)
    sandbox.pushes(settle_s=5)
    assert receiver.states() == ["sync", *["exists"] * posts]


def test_notifications_can_be_lost_or_doubled(sandbox: Running, receiver: Receiver, calendar: str) -> None:
    watch(sandbox, receiver, calendar)
    sandbox.pushes(settle_s=5)
    sandbox.set_switches(push={"loss": 1.0})
    change(sandbox, calendar)
    assert sandbox.pushes(settle_s=5).lost == 1
    assert receiver.states() == ["sync"]
    sandbox.set_switches(push={"duplicates": 1.0})
    change(sandbox, calendar)
    sandbox.pushes(settle_s=5)
    assert receiver.states().count("exists") == 10


def test_notifications_can_overtake_each_other(sandbox: Running, receiver: Receiver, calendar: str) -> None:
    watch(sandbox, receiver, calendar)
    sandbox.pushes(settle_s=5)
    sandbox.set_switches(push={"jitter_s": 0.3})
    change(sandbox, calendar, 20)
    sandbox.pushes(settle_s=5)
    numbers = [int(headers["x-goog-message-number"]) for _, headers, _ in receiver.heard]
    assert len(numbers) == 21
    assert numbers != sorted(numbers)


def test_a_channel_ends_in_silence(sandbox: Running, receiver: Receiver, calendar: str) -> None:
    watch(sandbox, receiver, calendar, params={"ttl": "60"})
    sandbox.pushes(settle_s=5)
    sandbox.advance(timedelta(seconds=61))
    change(sandbox, calendar)
    sandbox.pushes(settle_s=5)
    assert receiver.states() == ["sync"]
    assert sandbox.channels() == []


def test_a_forged_notification_is_like_a_genuine_one_but_for_one_thing(
    sandbox: Running, receiver: Receiver, calendar: str
) -> None:
    watch(sandbox, receiver, calendar)
    sandbox.pushes(settle_s=5)
    receiver.statuses = [404]
    assert sandbox.forge(calendar, "token") == 404
    _, headers, _ = receiver.heard[-1]
    assert (headers["x-goog-channel-id"], headers["x-goog-channel-token"]) == ("channel-1", "forged")


def test_a_calendar_that_goes_away_says_so(sandbox: Running, receiver: Receiver, calendar: str) -> None:
    watch(sandbox, receiver, calendar)
    sandbox.pushes(settle_s=5)
    sandbox.delete_calendar(calendar)
    sandbox.pushes(settle_s=5)
    assert receiver.states() == ["sync", "not_exists"]
