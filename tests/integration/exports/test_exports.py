"""Real calendar exports, whole: every instance in the window is held once, equal to the provider's own listing.

Exports lie outside the project. Those found in ``shared/data/calendars`` beside the checkout are used along with a
small one written here, so the test says the same everywhere and more where they are.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from calendar_pipeline.db.connect import Database
from calendar_pipeline.db.schema import calendar_event
from calendar_pipeline.history import proof
from calendar_pipeline.ingest import run
from calendar_pipeline.ingest.read import Ingest
from sandbox.replies import Credentials
from sandbox.server import Running, running

BESIDE = Path(__file__).parents[4] / "shared" / "data" / "calendars"

SMALL = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//test//EN
X-WR-TIMEZONE:Europe/Paris
BEGIN:VEVENT
UID:weekly@test
DTSTART;TZID=Europe/Paris:20240304T100000
DTEND;TZID=Europe/Paris:20240304T103000
RRULE:FREQ=WEEKLY;BYDAY=MO,WE
EXDATE;TZID=Europe/Paris:20240306T100000
SUMMARY:Weekly
LOCATION:https://us02web.zoom.us/j/81234567890?pwd=abc
END:VEVENT
BEGIN:VEVENT
UID:weekly@test
RECURRENCE-ID;TZID=Europe/Paris:20240311T100000
DTSTART;TZID=Europe/Paris:20240312T150000
DTEND;TZID=Europe/Paris:20240312T160000
SUMMARY:Weekly, moved
END:VEVENT
BEGIN:VEVENT
UID:day@test
DTSTART;VALUE=DATE:20240315
DTEND;VALUE=DATE:20240317
SUMMARY:Two days
END:VEVENT
BEGIN:VEVENT
UID:guests@test
DTSTART:20240320T080000Z
DURATION:PT45M
SUMMARY:With guests
ORGANIZER;CN=Ada:mailto:ada@example.com
ATTENDEE;CN=Bo;PARTSTAT=ACCEPTED:mailto:bo@example.com
CLASS:PRIVATE
TRANSP:TRANSPARENT
END:VEVENT
END:VCALENDAR
"""


def exports() -> dict[str, str]:
    found = {path.name: path.read_text(errors="replace") for path in sorted(BESIDE.glob("*.ics"))}
    return {"small": SMALL, **found}


@pytest.mark.parametrize("name", exports())
def test_every_instance_in_the_window_is_held_once_and_equal(
    name: str,
    db: Database,
    clock: Any,
    ingest: Callable[[Running], Ingest],
    follow: Callable[[Iterable[Credentials]], list[str]],
) -> None:
    with running() as sandbox:
        sandbox.set_clock(clock(), frozen=True)
        made = sandbox.create_calendar(zone="Europe/Paris")
        sandbox.load(exports()[name], calendar_id=made.calendar_id, shift_to_now=True)
        [calendar] = follow([made])
        wired = ingest(sandbox)

        [first] = run.sync_many(wired, [calendar], threads=1)
        [again] = run.sync_many(wired, [calendar], threads=1, regardless=True)
        [anew] = run.sync_many(wired, [calendar], threads=1, regardless=True, full=True)

        held = sandbox.listing(
            made.calendar_id,
            time_min=_bound(db, calendar, "held_from"),
            time_max=_bound(db, calendar, "held_until"),
        )
        zone = ZoneInfo(sandbox.world.calendar(made.calendar_id).zone)
    assert (first.status, first.quarantined, first.created) == ("synced", 0, len(held))
    assert first.created > 0
    assert (again.changes, anew.changes) == (0, 0)
    assert (again.mode, anew.mode) == ("incremental", "listing")
    assert _stored(db, calendar) == {item["id"]: _told(item, zone) for item in held}
    with db.single() as connection:
        assert proof.replay_differences(connection) == []
        assert proof.holes(connection) == []


@pytest.mark.parametrize("name", exports())
def test_both_providers_give_the_same_instances_but_for_what_they_truly_do_differently(
    name: str,
    db: Database,
    clock: Any,
    ingest: Callable[[Running], Ingest],
    follow: Callable[[Iterable[Credentials]], list[str]],
) -> None:
    """The differences that are left are those of docs/consume.md, "Google and Microsoft"."""
    with running() as sandbox:
        sandbox.set_clock(clock(), frozen=True)
        made = [sandbox.create_calendar(zone="Europe/Paris", provider=name) for name in ("google", "microsoft")]
        for one in made:
            loaded = sandbox.load(exports()[name], calendar_id=one.calendar_id, shift_to_now=True)
        calendars = follow(made)
        wired = ingest(sandbox)
        outcomes = list(run.sync_many(wired, calendars, threads=1))
        again = list(run.sync_many(wired, calendars, threads=1, regardless=True))
        anew = list(run.sync_many(wired, calendars, threads=1, regardless=True, full=True))
    assert {(one.status, one.quarantined) for one in outcomes} == {("synced", 0)}
    assert {(one.status, one.changes) for one in again + anew} == {("synced", 0)}
    google, microsoft = (_instances(db, calendar) for calendar in calendars)
    assert google == microsoft
    assert google.total() > 0
    assert loaded.events > 0
    with db.single() as connection:
        assert proof.replay_differences(connection) == []
        assert proof.holes(connection) == []


def _instances(db: Database, calendar: str) -> Counter[tuple[object, ...]]:
    """What is held, in words that both providers have.

    Declined meetings leave a Microsoft calendar, and a link to another platform than Teams stands in its location.
    """
    with db.single() as connection:
        rows = connection.execute(
            sa.select(calendar_event).where(calendar_event.c.calendar_id == calendar, ~calendar_event.c.is_deleted)
        ).all()
    return Counter(
        (
            row.title,
            row.starts_at,
            row.ends_at,
            row.start_date,
            row.end_date,
            None if (row.location or "").startswith("https://") else row.location,
            row.meeting_link,
            row.series_id is not None,
            row.original_starts_at,
            tuple(sorted(person["email"] or "" for person in row.attendees)),
        )
        for row in rows
        if row.own_response != "declined"
    )


def _bound(db: Database, calendar: str, column: str) -> datetime:
    with db.single() as connection:
        return connection.execute(
            sa.text(f"SELECT {column} FROM calendar WHERE id = :id"), {"id": calendar}
        ).scalar_one()


def _stored(db: Database, calendar: str) -> dict[str, Any]:
    with db.single() as connection:
        rows = connection.execute(
            sa.select(calendar_event).where(calendar_event.c.calendar_id == calendar, ~calendar_event.c.is_deleted)
        ).all()
    return {
        row.provider_event_id: {
            "title": row.title,
            "starts_at": row.starts_at,
            "ends_at": row.ends_at,
            "dates": (row.start_date, row.end_date),
            "start_time": row.start_time,
            "end_time": row.end_time,
            "ical_uid": row.ical_uid,
            "location": row.location,
            "series_id": row.series_id,
            "visibility": row.visibility,
            "is_busy": row.is_busy,
            "status": row.status,
            "organizer": row.organizer_email,
            "attendees": [(person["email"], person["name"]) for person in row.attendees],
            "raw": row.raw,
        }
        for row in rows
    }


def _told(item: dict[str, Any], zone: ZoneInfo) -> dict[str, Any]:
    """What the listing says, read by other code than the client's."""
    return {
        "title": item.get("summary"),
        "starts_at": _instant(item["start"], zone),
        "ends_at": _instant(item["end"], zone),
        "dates": (_day(item["start"]), _day(item["end"])),
        "start_time": _instant(item["start"], ZoneInfo("UTC")),
        "end_time": _instant(item["end"], ZoneInfo("UTC")),
        "ical_uid": item["iCalUID"],
        "location": item.get("location"),
        "series_id": item.get("recurringEventId"),
        "visibility": item.get("visibility", "default"),
        "is_busy": item.get("transparency", "opaque") == "opaque",
        "status": item["status"],
        "organizer": item.get("organizer", {}).get("email"),
        "attendees": [(person.get("email"), person.get("displayName")) for person in item.get("attendees", [])],
        "raw": {key: value[:8000] if key in ("summary", "description") else value for key, value in item.items()},
    }


def _day(moment: dict[str, str]) -> date | None:
    return date.fromisoformat(moment["date"]) if "date" in moment else None


def _instant(moment: dict[str, str], zone: ZoneInfo) -> datetime:
    if day := _day(moment):
        return datetime.combine(day, time(), zone).astimezone(UTC)
    return datetime.fromisoformat(moment["dateTime"]).astimezone(UTC)
