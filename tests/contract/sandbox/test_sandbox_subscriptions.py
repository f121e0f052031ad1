"""Graph's subscriptions and notifications: real POSTs both ways, with all that can go wrong on their way."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3

from sandbox.server import Running, running

ME = "a@contoso.example"
NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)


class Receiver:
    """An application's address: echoes validations, keeps what is posted, and answers what it is told to."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.validated: list[str] = []
        self.statuses: list[int] = []
        self.wrong: dict[str, str] = {}
        """By path: what is wrong with the answer to a validation (`status`, `kind`, `body`, `slow`)."""
        self.blocked = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                parts = urlsplit(self.path)
                token = parse_qs(parts.query).get("validationToken")
                if token is None:
                    receiver.heard.append((parts.path, json.loads(body)))
                    status = receiver.statuses.pop(0) if receiver.statuses else 202
                    return self._answer(status, b"", "application/json")
                receiver.validated.append(parts.path)
                wrong = receiver.wrong.get(parts.path)
                if wrong == "slow":
                    receiver.blocked.wait(10)
                told = parts.query.partition("validationToken=")[2] if wrong == "body" else token[0]
                kind = "text/html" if wrong == "kind" else "text/plain"
                return self._answer(500 if wrong == "status" else 200, told.encode(), kind)

            def _answer(self, status: int, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.root = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def entries(self, path: str = "/hook") -> list[dict[str, Any]]:
        """All entries posted to this path."""
        return [row for where, body in self.heard if where == path for row in body["value"]]

    def close(self) -> None:
        self.blocked.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def sandbox() -> Iterator[Running]:
    with running() as sandbox:
        sandbox.world.set_clock(NOW, frozen=True)
        sandbox.create_calendar(account=ME, provider="microsoft")
        sandbox.set_switches(provider="microsoft", notifications_per_change=1)
        yield sandbox


class Graph:
    """Graph's subscriptions as an application sees them."""

    def __init__(self, sandbox: Running, receiver: Receiver) -> None:
        self.sandbox, self.receiver = sandbox, receiver
        self.http = urllib3.PoolManager(retries=False, timeout=15)

    def send(self, method: str, path: str, body: Any = None, account: str = ME) -> urllib3.BaseHTTPResponse:
        token = self.sandbox.world.issue_access_token(account)
        headers = {"authorization": f"Bearer {token}", "prefer": 'IdType="ImmutableId"'}
        return self.http.request(method, f"{self.sandbox.graph_url}/v1.0/{path}", headers=headers, json=body)

    def subscribe(self, account: str = ME, **more: Any) -> urllib3.BaseHTTPResponse:
        body: dict[str, Any] = {
            "changeType": "created,updated,deleted",
            "notificationUrl": f"{self.receiver.root}/hook",
            "lifecycleNotificationUrl": f"{self.receiver.root}/life",
            "resource": "me/events",
            "expirationDateTime": "2026-11-29T08:00:00Z",
            "clientState": "secret",
        }
        told = {name: value for name, value in (body | more).items() if value is not None}
        return self.send("POST", "subscriptions", told, account)

    def told(self, path: str = "/hook") -> list[dict[str, Any]]:
        """All entries so far, once none is on its way."""
        self.sandbox.pushes(settle_s=10)
        return self.receiver.entries(path)


@pytest.fixture
def graph(sandbox: Running, receiver: Receiver) -> Iterator[Graph]:
    made = Graph(sandbox, receiver)
    yield made
    made.http.clear()


def refused(reply: urllib3.BaseHTTPResponse) -> tuple[int, str]:
    return reply.status, reply.json()["error"]["code"]


def test_both_addresses_are_validated_before_there_is_a_subscription(graph: Graph, receiver: Receiver) -> None:
    reply = graph.subscribe()
    assert reply.status == 201, reply.data
    assert receiver.validated == ["/hook", "/life"]
    told = reply.json()
    assert (told["resource"], told["changeType"]) == ("me/events", "created,updated,deleted")
    assert told["expirationDateTime"] == "2026-11-29T08:00:00Z"
    [listed] = graph.send("GET", "subscriptions").json()["value"]
    assert listed == graph.send("GET", f"subscriptions/{told['id']}").json()
    assert listed["id"] == told["id"]


@pytest.mark.parametrize("path", ["/hook", "/life"])
@pytest.mark.parametrize("wrong", ["status", "kind", "body", "slow"])
def test_an_address_that_answers_wrongly_makes_no_subscription(
    graph: Graph, sandbox: Running, receiver: Receiver, path: str, wrong: str
) -> None:
    sandbox.set_switches(provider="microsoft", handshake_s=0.3)
    receiver.wrong[path] = wrong
    assert refused(graph.subscribe()) == (400, "ValidationError")
    assert graph.send("GET", "subscriptions").json()["value"] == []


@pytest.mark.parametrize("kind", ["notification_handshake_fails", "lifecycle_handshake_fails"])
def test_one_of_the_validations_can_be_made_to_fail(graph: Graph, sandbox: Running, kind: str) -> None:
    sandbox.add_fault(kind)
    assert refused(graph.subscribe()) == (400, "ValidationError")
    assert graph.subscribe().status == 201


def test_the_sandbox_goes_on_while_an_address_thinks(graph: Graph, sandbox: Running, receiver: Receiver) -> None:
    receiver.wrong["/hook"] = "slow"
    asking = threading.Thread(target=graph.subscribe)
    asking.start()
    while not receiver.validated:
        asking.join(0.01)
    sandbox.create_event(ME, start="2026-11-24T15:00")
    assert graph.send("GET", "me").status == 200
    receiver.blocked.set()
    asking.join()


def test_an_answer_may_be_lost_although_there_is_a_subscription_now(graph: Graph, sandbox: Running) -> None:
    sandbox.add_fault("lost_answer", endpoint="subscriptions.create", provider="microsoft")
    with pytest.raises(urllib3.exceptions.ProtocolError):
        graph.subscribe()
    assert refused(graph.subscribe()) == (409, "Conflict")


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"changeType": "renamed"}, (400, "ValidationError")),
        ({"changeType": None}, (400, "ValidationError")),
        ({"notificationUrl": None}, (400, "ValidationError")),
        ({"notificationUrl": "http://example.com/hook"}, (400, "ValidationError")),
        ({"clientState": "x" * 129}, (400, "ValidationError")),
        ({"expirationDateTime": "2026-12-01T08:00:00Z"}, (400, "ValidationError")),
        ({"expirationDateTime": "2026-11-22T08:00:00Z"}, (400, "ValidationError")),
        ({"expirationDateTime": "soon"}, (400, "ValidationError")),
        ({"resource": "me/messages"}, (400, "ExtensionError")),
        ({"resource": "me/calendars/nonsense/events"}, (404, "ErrorItemNotFound")),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_subscription(
    graph: Graph, receiver: Receiver, body: Any, answer: tuple[int, str]
) -> None:
    assert refused(graph.subscribe(**body)) == answer
    assert receiver.validated == []


def test_subscriptions_may_be_forbidden_or_too_many(graph: Graph, sandbox: Running) -> None:
    sandbox.set_switches(provider="microsoft", poll_only=True)
    assert refused(graph.subscribe()) == (403, "ExtensionError")
    sandbox.set_switches(provider="microsoft", poll_only=False, subscriptions_per_mailbox=1)
    assert graph.subscribe().status == 201
    assert graph.subscribe(changeType="created").status == 403


def test_the_same_once_more_is_a_conflict_until_the_first_has_ended(graph: Graph, sandbox: Running) -> None:
    assert graph.subscribe().status == 201
    assert refused(graph.subscribe()) == (409, "Conflict")
    assert graph.subscribe(changeType="created").status == 201
    sandbox.advance(timedelta(days=7))
    assert graph.subscribe(expirationDateTime="2026-12-02T08:00:00Z").status == 201


def test_a_short_life_is_raised_to_45_minutes(graph: Graph) -> None:
    assert graph.subscribe(expirationDateTime="2026-11-23T08:05:00Z").json()["expirationDateTime"] == (
        "2026-11-23T08:45:00Z"
    )


def test_a_subscription_is_renewed_and_deleted(graph: Graph, sandbox: Running) -> None:
    made = graph.subscribe().json()["id"]
    later = {"expirationDateTime": "2026-11-30T08:00:00Z"}
    assert graph.send("PATCH", f"subscriptions/{made}", later).json()["expirationDateTime"] == "2026-11-30T08:00:00Z"
    too_late = {"expirationDateTime": "2026-12-30T08:00:00Z"}
    assert refused(graph.send("PATCH", f"subscriptions/{made}", too_late)) == (400, "ValidationError")
    address = {"lifecycleNotificationUrl": "https://example.com"}
    assert refused(graph.send("PATCH", f"subscriptions/{made}", address)) == (400, "ValidationError")
    assert graph.send("POST", f"subscriptions/{made}/reauthorize").status == 204
    assert graph.send("DELETE", f"subscriptions/{made}").status == 204
    assert graph.send("DELETE", f"subscriptions/{made}").status == 404
    assert graph.send("PATCH", f"subscriptions/{made}", later).status == 404
    other = graph.subscribe().json()["id"]
    sandbox.create_calendar(account="b@contoso.example", provider="microsoft")
    assert graph.send("DELETE", f"subscriptions/{other}", account="b@contoso.example").status == 404


def test_changes_are_told_with_an_id_that_can_be_looked_up(graph: Graph, sandbox: Running) -> None:
    made = graph.subscribe().json()
    event = sandbox.create_event(ME, start="2026-11-24T15:00")["id"]
    sandbox.pushes(settle_s=10)
    sandbox.retitle_event(ME, event, "New")
    sandbox.pushes(settle_s=10)
    sandbox.delete_event(ME, event)
    rows = graph.told()
    assert [row["changeType"] for row in rows] == ["created", "updated", "deleted"]
    assert {(row["subscriptionId"], row["clientState"]) for row in rows} == {(made["id"], "secret")}
    assert {row["resourceData"]["id"] for row in rows} == {event}
    assert rows[0]["resource"].endswith(f"/Events/{event}")
    assert "subject" not in json.dumps(rows)


def test_a_series_is_told_of_by_its_master_alone(graph: Graph, sandbox: Running) -> None:
    series = sandbox.create_event(ME, start="2026-11-24T15:00", recurrence=["RRULE:FREQ=DAILY;COUNT=5"])["id"]
    graph.subscribe()
    sandbox.delete_event(ME, sandbox.next_instance(ME, series))
    sandbox.move_event(ME, sandbox.next_instance(ME, series), by=timedelta(hours=1))
    assert [(row["changeType"], row["resourceData"]["id"]) for row in graph.told()] == [("updated", series)] * 2


def test_only_asked_for_changes_of_the_asked_for_calendar_are_told(graph: Graph, sandbox: Running) -> None:
    second = sandbox.create_calendar(account=ME, provider="microsoft").calendar_id
    graph.subscribe(changeType="deleted", resource=f"me/calendars/{second}/events")
    sandbox.create_event(ME, start="2026-11-24T15:00")
    sandbox.delete_event(second, sandbox.create_event(second, start="2026-11-24T15:00")["id"])
    assert [row["changeType"] for row in graph.told()] == ["deleted"]


def test_one_change_is_usually_told_three_times(graph: Graph, sandbox: Running) -> None:
    sandbox.set_switches(provider="microsoft", notifications_per_change=3)
    graph.subscribe()
    sandbox.create_event(ME, start="2026-11-24T15:00")
    assert len(graph.told()) == 3
    assert len(graph.receiver.heard) == 3


def test_a_post_may_hold_entries_of_others_and_of_strangers(graph: Graph, sandbox: Running) -> None:
    sandbox.set_switches(provider="microsoft", mixed_batches=True)
    other = sandbox.create_calendar(account="b@contoso.example", provider="microsoft").calendar_id
    sandbox.create_event(other, start="2026-11-24T15:00")
    mine, theirs = graph.subscribe().json()["id"], graph.subscribe("b@contoso.example", clientState="b").json()["id"]
    sandbox.create_event(ME, start="2026-11-24T15:00")
    rows = graph.told()
    assert len(graph.receiver.heard) == 1
    assert {row["subscriptionId"] for row in rows} == {mine, theirs, "00000000-0000-0000-0000-000000000000"}


def test_what_is_not_accepted_is_sent_again(graph: Graph, sandbox: Running, receiver: Receiver) -> None:
    graph.subscribe()
    receiver.statuses = [404, 500]
    sandbox.create_event(ME, start="2026-11-24T15:00")
    assert [row["changeType"] for row in graph.told()] == ["created"] * 3


def test_notifications_can_be_lost(graph: Graph, sandbox: Running) -> None:
    graph.subscribe()
    sandbox.set_switches(provider="microsoft", push={"loss": 1.0})
    sandbox.create_event(ME, start="2026-11-24T15:00")
    assert graph.told() == []
    assert sandbox.pushes().lost == 1


def test_a_slow_address_is_told_nothing_more(graph: Graph, sandbox: Running) -> None:
    graph.subscribe()
    for n in range(10):
        sandbox.create_event(ME, start=f"2026-11-24T15:{n:02d}")
    assert len(graph.told()) == 10
    sandbox.set_switches(provider="microsoft", slow_endpoint_s=0.0)
    sandbox.create_event(ME, start="2026-11-24T16:00")
    assert len(graph.told()) == 10
    assert sandbox.pushes().lost == 1


def test_an_ended_or_vanished_subscription_is_silent(graph: Graph, sandbox: Running) -> None:
    made = graph.subscribe(expirationDateTime="2026-11-23T09:00:00Z").json()["id"]
    sandbox.advance(timedelta(hours=2))
    sandbox.create_event(ME, start="2026-11-24T15:00")
    assert graph.told() == []
    assert graph.send("PATCH", f"subscriptions/{made}", {"expirationDateTime": "2026-11-24T08:00:00Z"}).status == 404
    made = graph.subscribe().json()["id"]
    assert sandbox.vanish(ME) == 2
    sandbox.create_event(ME, start="2026-11-24T15:00")
    assert (graph.told(), graph.told("/life")) == ([], [])
    assert graph.send("GET", f"subscriptions/{made}").status == 404


@pytest.mark.parametrize("event", ["reauthorizationRequired", "subscriptionRemoved", "missed"])
def test_lifecycle_events_come_on_demand(graph: Graph, sandbox: Running, event: Any) -> None:
    made = graph.subscribe().json()["id"]
    assert sandbox.lifecycle(ME, event) == 1
    [row] = graph.told("/life")
    assert (row["subscriptionId"], row["lifecycleEvent"], row["clientState"]) == (made, event, "secret")
    assert (graph.send("GET", f"subscriptions/{made}").status == 404) == (event == "subscriptionRemoved")


@pytest.mark.parametrize("act", ["nothing", "reauthorize", "renew"])
def test_delivery_stops_with_the_token_unless_somebody_reauthorizes(graph: Graph, sandbox: Running, act: str) -> None:
    made = graph.subscribe().json()["id"]
    sandbox.lifecycle(ME, "reauthorizationRequired")
    if act == "reauthorize":
        assert graph.send("POST", f"subscriptions/{made}/reauthorize").status == 204
    if act == "renew":
        later = {"expirationDateTime": "2026-11-30T08:00:00Z"}
        assert graph.send("PATCH", f"subscriptions/{made}", later).status == 200
    sandbox.advance(timedelta(hours=2))
    sandbox.create_event(ME, start="2026-11-24T15:00")
    assert len(graph.told()) == (0 if act == "nothing" else 1)


def test_without_a_lifecycle_address_there_is_only_silence(graph: Graph, sandbox: Running) -> None:
    graph.subscribe(lifecycleNotificationUrl=None)
    assert sandbox.lifecycle(ME, "subscriptionRemoved") == 0
    sandbox.create_event(ME, start="2026-11-24T15:00")
    assert graph.told() == []


@pytest.mark.parametrize(("what", "field"), [("token", "clientState"), ("channel", "subscriptionId")])
def test_a_notification_can_be_forged_or_rung(graph: Graph, sandbox: Running, what: Any, field: str) -> None:
    sandbox.create_event(ME, start="2026-11-24T15:00")
    graph.subscribe()
    assert sandbox.forge(ME, what) == 202
    assert [row[field] for row in graph.told()] == ["forged"]
    assert sandbox.ring(ME, 2) == 2
    assert [row["changeType"] for row in graph.told()] == ["updated"] * 3
    assert [row["calendar_id"] for row in sandbox.channels()] == [sandbox.credentials(ME).calendar_id]


def test_the_notification_comes_before_a_lagging_replica_shows_the_change(graph: Graph, sandbox: Running) -> None:
    graph.subscribe()
    sandbox.set_switches(provider="microsoft", replication_lag_s=30)
    made = sandbox.create_event(ME, start="2026-11-24T15:00")["id"]
    assert [row["resourceData"]["id"] for row in graph.told()] == [made]
    assert graph.send("GET", f"me/events/{made}").status == 404
    sandbox.advance(timedelta(seconds=31))
    assert graph.send("GET", f"me/events/{made}").status == 200
