"""Many calendars at once for benchmarks, and one that looks like somebody's. Both are the same every time."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sandbox import edits
from sandbox.dialects import DIALECTS
from sandbox.faults import Provider
from sandbox.replies import Credentials
from sandbox.when import as_json, end_of, moment

if TYPE_CHECKING:
    from sandbox.world import World

_LINKS = (
    "https://meet.google.com/abc-defg-{0}",
    "https://us02web.zoom.us/j/8000000{0}",
    (
        "https://teams.microsoft.com/l/meetup-join/19%3ameeting_{0}%40thread.v2/0"
        "?context=%7b%22Tid%22%3a%22contoso%22%2c%22Oid%22%3a%22organizer%22%7d"
    ),
)
_DAYS_BACK, _DAYS = 2, 28


def create_calendars(
    world: "World",
    count: int,
    events: int,
    *,
    series: int = 0,
    prefix: str = "bench",
    first: int = 0,
    zone: str = "Europe/Berlin",
    client_id: str = "sandbox-client",
    provider: Provider = "google",
) -> list[Credentials]:
    """`count` accounts with one calendar each: `{prefix}{n}@example.com`, refresh token `{prefix}-refresh-{n}`.

    Each has `events` single events spread over two days back to 26 ahead, a third of each kind of link, and
    `series` weekly series on top. The same arguments on the same day make the same calendars.
    """
    with world.lock:
        made: list[Credentials] = []
        now = world.now()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        linked = DIALECTS[provider].linked
        bodies = [_single(n, midnight, zone, max(events, 1)) | linked(_link(n)) for n in range(events)]
        bodies += [_weekly(n, midnight, zone) | linked(_link(n)) for n in range(series)]
        for n in range(first, first + count):
            account = f"{prefix}{n}@example.com"
            token = f"{prefix}-refresh-{n}"
            one = world.create_calendar(
                account=account, zone=zone, client_id=client_id, refresh_token=token, provider=provider
            )
            made.append(one)
            calendar = world.calendar(one.calendar_id)
            for k, body in enumerate(bodies):
                edits.insert(
                    calendar, body | {"summary": f"{body['summary']} of {prefix}{n}"}, now, event_id=f"e{n}x{k}"
                )
        return made


_DEMO_ACCOUNTS: Mapping[Provider, tuple[str, str]] = {
    "google": ("demo@example.com", "sandbox-demo-refresh-token"),
    "microsoft": ("demo-microsoft@example.com", "sandbox-demo-microsoft-refresh-token"),
}
"""Whose the demo calendars are, and with which refresh token they are read."""


def add_demo(world: "World", now: datetime, *, provider: Provider = "google") -> Credentials:
    """One of `_DEMO_ACCOUNTS` with a fortnight as somebody might have it; its credentials never change.

    Safe to call again: a demo calendar that is there is left as it is, and gets a new token if all were revoked.
    """
    with world.lock:
        account, token = _DEMO_ACCOUNTS[provider]
        if account in world.state.accounts:
            if not any(one.account == account and not one.revoked for one in world.state.grants.values()):
                world.issue_refresh_token(account)
            return world.credentials(account)
        made = world.create_calendar(account=account, summary="Demo", refresh_token=token, provider=provider)
        today = now.replace(tzinfo=None)
        monday = (today - timedelta(days=today.weekday())).date()
        for day, hour, body in _DEMOS[provider]:
            start = f"{monday + timedelta(days=day)}" + (f"T{hour}" if hour else "")
            world.create_event(made.calendar_id, start=start, **body)
        declined = world.find_event(made.calendar_id, _DECLINED[provider])
        world.respond(made.calendar_id, declined, "declined")
        return made


_MEET, _ZOOM, _TEAMS = (
    "https://meet.google.com/qwe-rtyu-iop",
    "https://us02web.zoom.us/j/86012345678?pwd=demo",
    _LINKS[2],
)
_DEMO: tuple[tuple[int, str, dict[str, Any]], ...] = (
    (
        0,
        "09:15",
        {"title": "Stand-up", "minutes": 15, "link": _MEET, "recurrence": ["RRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"]},
    ),
    (
        0,
        "14:00",
        {"title": "Planning", "minutes": 60, "link": _ZOOM, "recurrence": ["RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=MO"]},
    ),
    (
        1,
        "15:00",
        {
            "title": "Weekly",
            "link": "https://meet.google.com/abc-defg-hij",
            "recurrence": ["RRULE:FREQ=WEEKLY;BYDAY=TU"],
            "attendees": ["alex@example.com", "sam@example.com"],
        },
    ),
    (
        1,
        "11:00",
        {
            "title": "Customer call: Northwind",
            "minutes": 45,
            "link": _TEAMS.format("north"),
            "attendees": ["kim@example.net"],
        },
    ),
    (
        2,
        "10:00",
        {
            "title": "Design review",
            "minutes": 60,
            "link": "https://meet.google.com/des-ignr-evw",
            "attendees": ["alex@example.com"],
        },
    ),
    (2, "13:00", {"title": "Lunch", "minutes": 60, "location": "Café on the corner"}),
    (
        3,
        "16:00",
        {"title": "Vendor pitch", "link": _ZOOM, "organizer": "sales@example.net", "attendees": ["sam@example.com"]},
    ),
    (
        3,
        "17:00",
        {
            "title": "One-to-one with Sam",
            "link": "https://meet.google.com/one-toon-sam",
            "recurrence": ["RRULE:FREQ=WEEKLY;BYDAY=TH"],
            "attendees": ["sam@example.com"],
        },
    ),
    (4, "", {"title": "Release day"}),
    (
        4,
        "15:30",
        {
            "title": "Demo for everyone",
            "minutes": 45,
            "description": f"Join: {_ZOOM}",
            "attendees": ["all@example.com"],
        },
    ),
    (
        8,
        "09:30",
        {
            "title": "Interview: backend",
            "minutes": 60,
            "link": _TEAMS.format("interview"),
            "attendees": ["kim@example.net"],
        },
    ),
    (9, "12:00", {"title": "Quarterly numbers", "minutes": 90, "location": _ZOOM}),
    (10, "14:00", {"title": "Architecture talk", "minutes": 60, "link": "https://meet.google.com/arc-hite-ctu"}),
)

_DEMO_MICROSOFT: tuple[tuple[int, str, dict[str, Any]], ...] = (
    (
        0,
        "09:00",
        {
            "title": "Morning check-in",
            "minutes": 15,
            "link": _TEAMS.format("morning"),
            "recurrence": ["RRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"],
        },
    ),
    (
        0,
        "13:00",
        {
            "title": "Steering committee",
            "minutes": 60,
            "link": _TEAMS.format("steering"),
            "recurrence": ["RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=MO"],
            "attendees": ["robin@example.com", "alex@example.com"],
        },
    ),
    (
        1,
        "10:30",
        {"title": "Account call: Fabrikam", "minutes": 45, "link": _ZOOM, "attendees": ["kim@example.net"]},
    ),
    (1, "15:00", {"title": "Budget round", "minutes": 60, "location": "Room 2.14"}),
    (
        2,
        "11:00",
        {
            "title": "Partner update",
            "link": _ZOOM,
            "organizer": "partner@example.net",
            "attendees": ["sam@example.com"],
        },
    ),
    (
        2,
        "16:00",
        {
            "title": "Coaching with Robin",
            "link": _TEAMS.format("coaching"),
            "recurrence": ["RRULE:FREQ=WEEKLY;BYDAY=WE"],
            "attendees": ["robin@example.com"],
        },
    ),
    (
        3,
        "14:00",
        {"title": "Roadshow", "link": _ZOOM, "organizer": "events@example.net", "attendees": ["all@example.com"]},
    ),
    (4, "", {"title": "Office closed"}),
    (
        4,
        "15:00",
        {"title": "Town hall", "minutes": 45, "link": _TEAMS.format("townhall"), "attendees": ["all@example.com"]},
    ),
    (8, "10:00", {"title": "Hiring panel", "minutes": 60, "description": f"Join: {_ZOOM}"}),
    (9, "11:30", {"title": "Month-end close", "minutes": 90, "link": _TEAMS.format("close")}),
    (10, "13:30", {"title": "Data guild", "link": "https://meet.google.com/dat-agui-ldx"}),
)
_DEMOS: Mapping[Provider, tuple[tuple[int, str, dict[str, Any]], ...]] = {
    "google": _DEMO,
    "microsoft": _DEMO_MICROSOFT,
}
_DECLINED: Mapping[Provider, str] = {"google": "Vendor pitch", "microsoft": "Roadshow"}
"""What its owner declined."""


def _single(n: int, midnight: datetime, zone: str, of: int) -> dict[str, Any]:
    day = n * _DAYS // of - _DAYS_BACK
    start = moment(midnight + timedelta(days=day, hours=8, minutes=30 * (n * 7 % 20)), zone)
    return {
        "summary": f"Meeting {n}",
        "start": as_json(start, zone),
        "end": as_json(end_of(start, timedelta(minutes=30)), zone),
    }


def _weekly(n: int, midnight: datetime, zone: str) -> dict[str, Any]:
    start = moment(midnight + timedelta(days=n % 5 - 28, hours=9 + n % 8), zone)
    body = {
        "summary": f"Series {n}",
        "start": as_json(start, zone),
        "end": as_json(end_of(start, timedelta(minutes=30)), zone),
    }
    return body | {"recurrence": ["RRULE:FREQ=WEEKLY"]}


def _link(n: int) -> str:
    return _LINKS[n % len(_LINKS)].format(f"{n:03d}")
