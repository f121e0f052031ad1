"""The real Microsoft client, msal and all, reads a whole sandbox calendar and follows what happens to it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from calendar_pipeline.errors import AccessRevoked
from calendar_pipeline.event import Event, Tombstone
from calendar_pipeline.providers.microsoft.client import MicrosoftCalendar
from calendar_pipeline.providers.microsoft.oauth import Entra, calendar_scope
from calendar_pipeline.providers.port import Credentials, Grant, Meter, News, Window
from calendar_pipeline.providers.transport import Transport
from sandbox.server import Running, running

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
WINDOW = Window(start=NOW - timedelta(days=1), end=NOW + timedelta(days=36))
ME = "demo-microsoft@example.com"


@pytest.fixture
def sandbox() -> Iterator[Running]:
    with running() as sandbox:
        sandbox.world.set_clock(NOW, frozen=True)
        sandbox.add_demo(provider="microsoft")
        yield sandbox


@pytest.fixture
def client(sandbox: Running) -> Iterator[MicrosoftCalendar]:
    transport = Transport(timeout=10)
    scope = calendar_scope(sandbox.graph_url)
    entra = Entra(transport, login_base_url=sandbox.login_url, tenant="common", scope=scope)
    yield MicrosoftCalendar(transport, entra, graph_base_url=sandbox.graph_url, clock=lambda: NOW)
    transport.close()


@pytest.fixture
def grant(sandbox: Running, client: MicrosoftCalendar) -> Grant:
    made = sandbox.credentials(ME)
    told = Credentials(client_id=made.client_id, client_secret=made.client_secret, refresh_token=made.refresh_token)
    return client.authorize(told, now=NOW, meter=Meter())


def shown(news: News) -> set[tuple[str, str | None, datetime]]:
    """What a listing holds that takes place; anything but an event or a tombstone fails."""
    assert all(isinstance(item, Event | Tombstone) for item in news.items)
    return {(item.provider_event_id, item.title, item.starts_at) for item in news.items if isinstance(item, Event)}


def told(sandbox: Running) -> set[tuple[str, str | None, datetime]]:
    """The same, as the sandbox lists it; an all-day event by its midnight in Berlin."""
    rows = sandbox.listing(ME, time_min=WINDOW.start, time_max=WINDOW.end)
    found: set[tuple[str, str | None, datetime]] = set()
    for row in rows:
        if row["isCancelled"]:
            continue
        at = datetime.fromisoformat(row["start"]["dateTime"]).replace(tzinfo=UTC)
        found.add((row["id"], row["subject"], at - timedelta(hours=1) if row["isAllDay"] else at))
    return found


def test_it_reads_a_whole_calendar_and_follows_changes(
    sandbox: Running, client: MicrosoftCalendar, grant: Grant
) -> None:
    assert grant.refresh_token not in (None, sandbox.credentials(ME).account)
    news = client.news(grant, None, since=None, window=WINDOW, meter=Meter())
    assert len(news.items) > 35
    assert shown(news) == told(sandbox)
    quiet = Meter()
    assert client.news(grant, None, since=news.cursor, window=WINDOW, meter=quiet).items == ()
    assert quiet.requests == 1
    morning = sandbox.find_event(ME, "Morning check-in")
    sandbox.delete_event(ME, sandbox.next_instance(ME, morning))
    sandbox.split_series(ME, sandbox.next_instance(ME, morning), {"subject": "Morning, new"})
    sandbox.cancel_event(ME, sandbox.find_event(ME, "Partner update"))
    sandbox.retitle_event(ME, sandbox.find_event(ME, "Steering committee"), "Steering, renamed")
    after = client.news(grant, None, since=news.cursor, window=WINDOW, meter=Meter())
    assert shown(after) == told(sandbox) != shown(news)
    by_id = client.news(grant, sandbox.credentials(ME).calendar_id, since=None, window=WINDOW, meter=Meter())
    assert shown(by_id) == shown(after)


def test_it_is_told_when_the_user_removed_the_application(
    sandbox: Running, client: MicrosoftCalendar, grant: Grant
) -> None:
    assert grant.refresh_token is not None
    sandbox.revoke(grant.refresh_token)
    dead = Credentials(client_id="sandbox-client", client_secret="sandbox-secret", refresh_token=grant.refresh_token)
    with pytest.raises(AccessRevoked) as caught:
        client.authorize(dead, now=NOW, meter=Meter())
    assert caught.value.code == "invalid_grant:AADSTS50173"
