"""Three implementations of the provider port, and the same things done to each: by a person, time, or an operator."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal, Protocol

import pytest

from calendar_pipeline.errors import RateLimited, TryLater
from calendar_pipeline.event import Event
from calendar_pipeline.providers.fake import FakeProvider
from calendar_pipeline.providers.port import CalendarProvider, Credentials, Cursor, Grant, Meter, News, Window
from calendar_pipeline.providers.transport import Transport
from sandbox.server import Running, running

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
WINDOW = Window(start=NOW - timedelta(days=1), end=NOW + timedelta(days=36))
Trouble = Literal["down", "throttled", "html", "truncated"]


class World(Protocol):
    """What can be done to a calendar at its provider. Times are wall times of the calendar's zone, Europe/Berlin."""

    provider: CalendarProvider
    credentials: Credentials
    calendar: str

    def add(self, title: str, start: str, minutes: int = 30) -> str: ...
    def add_days(self, title: str, first: date, last: date) -> str: ...
    def add_series(self, title: str, start: str, count: int) -> str: ...
    def retitle(self, event: str, title: str) -> None: ...
    def move(self, event: str, days: int) -> None: ...
    def delete(self, event: str) -> None: ...
    def expire_cursors(self) -> None: ...
    def kill_access_tokens(self) -> None: ...
    def trouble(self, kind: Trouble, *, retry_after: int | None = None) -> None: ...
    def withdraw(self) -> None: ...
    def break_client(self) -> None: ...
    def delete_calendar(self) -> None: ...


class Fake:
    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.provider = self._fake = FakeProvider(clock=clock)
        self.calendar = "ada@example.com"
        self.credentials = self._fake.connect(self.calendar)
        self._events: dict[str, Event] = {}

    def add(self, title: str, start: str, minutes: int = 30) -> str:
        at = datetime.fromisoformat(start).replace(tzinfo=UTC) - timedelta(hours=1)  # Berlin in winter
        return self._put(title, at, at + timedelta(minutes=minutes))

    def add_days(self, title: str, first: date, last: date) -> str:
        midnight = time(23, tzinfo=UTC)
        key = self._put(title, *(datetime.combine(day - timedelta(days=1), midnight) for day in (first, last)))
        self._change(key, start_date=first, end_date=last)
        return key

    def add_series(self, title: str, start: str, count: int) -> str:
        series = f"series {title}"
        for number in range(count):
            at = datetime.fromisoformat(start) + timedelta(days=number)
            self._change(self.add(title, at.isoformat()), series_id=series)
        return series

    def retitle(self, event: str, title: str) -> None:
        self._change(event, title=title)

    def move(self, event: str, days: int) -> None:
        held = self._events[event]
        by = timedelta(days=days)
        self._change(event, starts_at=held.starts_at + by, ends_at=held.ends_at + by)

    def delete(self, event: str) -> None:
        self._fake.remove(self.calendar, event)

    def expire_cursors(self) -> None:
        self._fake.forget_cursors(self.calendar)

    def kill_access_tokens(self) -> None:
        self._fake.forget_access_tokens()

    def trouble(self, kind: Trouble, *, retry_after: int | None = None) -> None:
        wait = timedelta(seconds=retry_after) if retry_after is not None else None
        self._fake.refuse(RateLimited(kind, retry_after=wait) if kind == "throttled" else TryLater(kind))

    def withdraw(self) -> None:
        self._fake.disconnect(self.calendar)

    def break_client(self) -> None:
        self._fake.change_secret(self.credentials.client_id)

    def delete_calendar(self) -> None:
        self._fake.delete_calendar(self.calendar)

    def _put(self, title: str, starts_at: datetime, ends_at: datetime) -> str:
        key = f"event {len(self._events)}"
        self._events[key] = Event(
            provider_event_id=key,
            title=title,
            starts_at=starts_at,
            ends_at=ends_at,
            start_time=starts_at,
            end_time=ends_at,
            raw={},
        )
        self._fake.put(self.calendar, self._events[key])
        return key

    def _change(self, key: str, **fields: Any) -> None:
        self._events[key] = replace(self._events[key], **fields)
        self._fake.put(self.calendar, self._events[key])


class Sandboxed:
    """A real client at its sandbox, over HTTP."""

    def __init__(self, sandbox: Running, provider: CalendarProvider, clock: Callable[[], datetime]) -> None:
        self.provider = provider
        self._sandbox, self._world = sandbox, sandbox.world
        self._world.set_clock(clock(), frozen=True)
        self._world.clear_faults()
        made = self._world.create_calendar(provider=provider.platform)
        self.calendar = made.calendar_id
        self.credentials = Credentials(
            client_id=made.client_id, client_secret=made.client_secret, refresh_token=made.refresh_token
        )
        self._account = made.account

    def add(self, title: str, start: str, minutes: int = 30) -> str:
        return str(self._world.create_event(self.calendar, title=title, start=start, minutes=minutes)["id"])

    def add_days(self, title: str, first: date, last: date) -> str:
        made = self._world.create_event(self.calendar, title=title, start=first.isoformat(), end=last.isoformat())
        return str(made["id"])

    def add_series(self, title: str, start: str, count: int) -> str:
        rule = [f"RRULE:FREQ=DAILY;COUNT={count}"]
        return str(self._world.create_event(self.calendar, title=title, start=start, recurrence=rule)["id"])

    def retitle(self, event: str, title: str) -> None:
        self._world.retitle_event(self.calendar, event, title)

    def move(self, event: str, days: int) -> None:
        self._world.move_event(self.calendar, event, by=timedelta(days=days))

    def delete(self, event: str) -> None:
        self._world.delete_event(self.calendar, event)

    def expire_cursors(self) -> None:
        self._world.change_access(self.calendar)

    def kill_access_tokens(self) -> None:
        self._world.state.access.clear()

    def trouble(self, kind: Trouble, *, retry_after: int | None = None) -> None:
        google = self.provider.platform == "google"
        down = "unavailable" if google else "service_unavailable"
        names = {"down": down, "throttled": "too_many_requests", "html": "html_ok", "truncated": "truncated"}
        self._world.add_fault(names[kind], calendar_id=self.calendar, retry_after=retry_after)

    def withdraw(self) -> None:
        self._world.revoke_account(self._account)

    def break_client(self) -> None:
        self._world.state.clients[self.credentials.client_id].secret += " (replaced)"

    def delete_calendar(self) -> None:
        self._world.delete_calendar(self.calendar)


class Reader:
    """One calendar, read as a sync would read it."""

    def __init__(self, world: World, clock: Callable[[], datetime]) -> None:
        self.world, self.provider, self._clock = world, world.provider, clock
        self.meter = Meter()
        self.grant = self.authorize()

    def authorize(self) -> Grant:
        return self.provider.authorize(self.world.credentials, now=self._clock(), meter=self.meter)

    def news(self, since: Cursor | None = None, **more: Any) -> News:
        asked = {"calendar": self.world.calendar, "window": WINDOW, "meter": self.meter, **more}
        return self.provider.news(self.grant, since=since, **asked)


@pytest.fixture(scope="session")
def _sandbox() -> Iterator[Running]:
    with running() as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def _transport() -> Iterator[Transport]:
    transport = Transport(timeout=5)
    yield transport
    transport.close()


@pytest.fixture(params=["fake", "google", "microsoft"])
def world(
    request: pytest.FixtureRequest, _sandbox: Running, _transport: Transport, wire: Callable[..., Any], clock: Any
) -> World:
    """A calendar at each of the implementations."""
    if request.param == "fake":
        return Fake(clock)
    return Sandboxed(_sandbox, wire(_sandbox, _transport, clock)[request.param], clock)


@pytest.fixture
def reader(world: World, clock: Any) -> Reader:
    return Reader(world, clock)
