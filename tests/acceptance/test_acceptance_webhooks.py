"""An application's view, with real processes: an event moves, a webhook arrives, is verified, and the event is read."""

import base64
import hashlib
import hmac
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook


class Application(http.server.BaseHTTPRequestHandler):
    """Takes webhooks."""

    got: list[tuple[dict[str, str], bytes]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def application() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hooks"
        server.shutdown()
        thread.join()


def test_a_moved_event_is_told_verified_and_found(new_installation: Callable[..., Any], application: str) -> None:
    here = new_installation(WEBHOOK_ALLOW_HTTP="true", WEBHOOK_ALLOWED_NETWORKS="127.0.0.0/8", WEBHOOK_PORTS="any")
    here.start()
    made = here.api("POST", "/webhooks", {"url": application, "triggers": ["calendar.events_update"], "secret": "own"})
    secret = made["signing_secret"]
    [calendar] = here.api("GET", "/calendars", deduplication_key="demo")["results"]
    last_read = calendar["last_successful_sync_at"]
    person = here.sandbox.create_calendar(account="zoe@example.com", client_id="client-of-zoe")
    start = (here.sandbox.now() + timedelta(days=2)).replace(microsecond=0)
    event = here.sandbox.create_event(person.calendar_id, start=start.isoformat(), title="Zoë 🎉")
    ours = here.follow(person, metadata={"10": "Zoë 🎉", "9": "a\u2028b"})

    def told() -> list[tuple[dict[str, str], bytes]]:
        return [one for one in Application.got if json.loads(one[1])["calendar_id"] == ours]

    here.until("the first webhook", told)
    before = len(told())
    here.sandbox.move_event(person.calendar_id, event["id"], by=timedelta(minutes=30))
    assert here.command("sync", ours).returncode == 0
    here.until("the webhook of the move", lambda: len(told()) > before)
    headers, body = told()[-1]
    Webhook(secret).verify(body, headers)
    digest = hmac.new(base64.b64decode(secret), body, hashlib.sha256).digest()
    assert headers["x-webhook-signature"] == base64.b64encode(digest).decode()
    payload = json.loads(body)
    assert payload["trigger"] == "calendar.events_update"
    assert payload["calendar_metadata"] == {"010": "Zoë 🎉", "009": "a\u2028b"}
    [found] = here.api("GET", "/calendar_events", calendar_id=payload["calendar_id"], updated_after=last_read)[
        "results"
    ]
    assert found["platform_uuid"] == event["id"]
    assert datetime.fromisoformat(found["start_time"]) == start + timedelta(minutes=30)
