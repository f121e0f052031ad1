"""An application in the official style, on the client that was generated from the API's document.

A process of its own, in that client's environment: it knows an address and a key. It receives webhooks, and on the
first one of a calendar reads what changed since it started, page by page, and sends a bot to each meeting of the coming
week. What it did it prints as JSON.
"""

import base64
import hashlib
import hmac
import json
import os
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer

from calendar_pipeline_client import AuthenticatedClient
from calendar_pipeline_client.api.bots import create_bot, get_bot
from calendar_pipeline_client.api.calendar_events import list_calendar_events
from calendar_pipeline_client.api.calendars import get_calendar
from calendar_pipeline_client.api.webhooks import create_webhook, delete_webhook
from calendar_pipeline_client.models import (
    Bot,
    BotState,
    Calendar,
    CalendarEvent,
    CalendarEventPage,
    CreateBot,
    CreateWebhook,
    CreateWebhookSecret,
    CreateWebhookTriggersItem,
    Error,
    ListCalendarEventsOrdering,
    NewWebhook,
)

AHEAD = timedelta(days=7)

Delivery = tuple[bytes, str]
"""Body and signature."""


class Receiver(HTTPServer):
    """Keeps what arrives."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Arrival)
        self.arrived: list[Delivery] = []

    def next(self) -> Delivery:
        """The next webhook, waited for."""
        while not self.arrived:
            self.handle_request()
        return self.arrived.pop(0)


class Arrival(BaseHTTPRequestHandler):
    """Answers at once."""

    def do_POST(self) -> None:
        assert isinstance(self.server, Receiver)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.arrived.append((body, self.headers["X-Webhook-Signature"]))
        self.send_response(204)
        self.end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: what is printed is the result."""


def told(receiver: Receiver, secret: str) -> str:
    """The calendar that the next webhook tells of."""
    body, signature = receiver.next()
    payload = json.loads(body)
    canonical = json.dumps(payload, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    digest = hmac.new(base64.b64decode(secret), canonical, hashlib.sha256).digest()
    assert hmac.compare_digest(base64.b64encode(digest).decode(), signature)
    return str(payload["calendar_id"])


def changed(client: AuthenticatedClient, calendar: str, since: datetime) -> list[CalendarEventPage]:
    """The pages of what changed since then, `next` followed as it is."""
    page = list_calendar_events.sync(
        client=client, calendar_id=calendar, updated_after=since, ordering=ListCalendarEventsOrdering.UPDATED_AT
    )
    assert isinstance(page, CalendarEventPage), page
    pages = [page]
    while pages[-1].next_ is not None:
        answer = client.get_httpx_client().get(pages[-1].next_)
        pages.append(CalendarEventPage.from_dict(answer.raise_for_status().json()))
    return pages


def send(client: AuthenticatedClient, event: CalendarEvent) -> Bot | Error:
    """A bot for the event, or the refusal: there is one already."""
    asked = CreateBot(bot_name="Notetaker", calendar_event_id=event.id, deduplication_key=event.id)
    answer = create_bot.sync(client=client, body=asked)
    assert isinstance(answer, Bot | Error), answer
    return answer


def main() -> None:
    """Once through the loop."""
    since = datetime.now(UTC)
    receiver = Receiver()
    client = AuthenticatedClient(base_url=os.environ["API"], token=os.environ["KEY"], prefix="Token")
    endpoint = CreateWebhook(
        url=f"http://127.0.0.1:{receiver.server_port}/hooks",
        triggers=[CreateWebhookTriggersItem.CALENDAR_EVENTS_UPDATE],
        secret=CreateWebhookSecret.OWN,
    )
    webhook = create_webhook.sync(client=client, body=endpoint)
    assert isinstance(webhook, NewWebhook), webhook
    assert webhook.signing_secret is not None
    print("ready", flush=True)
    calendar_id = told(receiver, webhook.signing_secret)
    calendar = get_calendar.sync(calendar_id, client=client)
    assert isinstance(calendar, Calendar), calendar
    pages = changed(client, calendar.id, since)
    events = [event for page in pages for event in page.results]
    now = datetime.now(UTC)
    coming = [event for event in events if event.meeting_url is not None and now < event.start_time < now + AHEAD]
    bots = {event.id: send(client, event) for event in coming}
    again = send(client, coming[0])
    assert isinstance(again, Error), again
    first = bots[coming[0].id]
    assert isinstance(first, Bot), first
    seen = get_bot.sync(first.id, client=client)
    assert isinstance(seen, Bot), seen
    assert (seen.join_at, seen.state) == (coming[0].start_time, BotState.SCHEDULED)
    assert delete_webhook.sync_detailed(webhook.id, client=client).status_code == HTTPStatus.OK
    sent = {event: bot.id for event, bot in bots.items() if isinstance(bot, Bot)}
    pages_of = [len(page.results) for page in pages]
    print(json.dumps({"calendar": calendar.id, "pages": pages_of, "bots": sent, "again": again.error}))


if __name__ == "__main__":
    main()
