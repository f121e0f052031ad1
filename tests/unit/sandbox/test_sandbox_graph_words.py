"""Between Graph's words and the sandbox's own: zones, patterns, raw fields, exports."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sandbox.errors import Unusable
from sandbox.microsoft import ids, recurrence, words
from sandbox.when import parse
from sandbox.world import World

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
ME = "a@contoso.example"
BESIDE = Path(__file__).parents[4] / "shared" / "data" / "calendars"

CUSTOM = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//test//EN
BEGIN:VTIMEZONE
TZID:Customized Time Zone
BEGIN:STANDARD
DTSTART:16011028T030000
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:16010325T020000
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
END:DAYLIGHT
END:VTIMEZONE
BEGIN:VEVENT
UID:one@test
DTSTART;TZID=Customized Time Zone:20261124T150000
DTEND;TZID=Customized Time Zone:20261124T160000
SUMMARY:Custom
X-MICROSOFT-SKYPETEAMSMEETINGURL:https://teams.microsoft.com/l/meetup-join/19%3ameeting_x%40thread.v2/0
END:VEVENT
BEGIN:VEVENT
UID:two@test
DTSTART;TZID=Pacific Standard Time:20261124T150000
DTEND;TZID=Pacific Standard Time:20261124T160000
SUMMARY:Windows
END:VEVENT
END:VCALENDAR
"""


@pytest.fixture
def world() -> World:
    made = World(clock=lambda: NOW)
    made.create_calendar(account=ME, provider="microsoft")
    return made


@pytest.mark.parametrize(
    ("rule", "pattern"),
    [
        ("FREQ=DAILY;INTERVAL=3", {"type": "daily", "interval": 3}),
        ("FREQ=WEEKLY", {"type": "weekly", "daysOfWeek": ["tuesday"]}),
        ("FREQ=WEEKLY;BYDAY=MO,FR;WKST=SU", {"daysOfWeek": ["monday", "friday"], "firstDayOfWeek": "sunday"}),
        ("FREQ=MONTHLY", {"type": "absoluteMonthly", "dayOfMonth": 24}),
        ("FREQ=MONTHLY;BYDAY=-1FR", {"type": "relativeMonthly", "index": "last", "daysOfWeek": ["friday"]}),
        ("FREQ=MONTHLY;BYDAY=MO,TU;BYSETPOS=2", {"type": "relativeMonthly", "index": "second"}),
        ("FREQ=YEARLY;BYMONTH=3;BYMONTHDAY=5", {"type": "absoluteYearly", "month": 3, "dayOfMonth": 5}),
        ("FREQ=YEARLY;BYMONTH=3;BYDAY=1SU", {"type": "relativeYearly", "month": 3, "index": "first"}),
    ],
)
def test_a_rule_is_told_as_a_pattern(rule: str, pattern: dict[str, Any]) -> None:
    told = recurrence.patterned(parse("2026-11-24", "UTC"), (f"RRULE:{rule}",), "UTC")
    assert told is not None
    assert told["pattern"].items() >= pattern.items()


@pytest.mark.parametrize(
    "rule", ["FREQ=HOURLY", "FREQ=MONTHLY;BYDAY=1MO,2TU", "FREQ=YEARLY;BYWEEKNO=3", "FREQ=MONTHLY;BYMONTHDAY=1,15"]
)
def test_a_rule_that_graph_cannot_say_shows_no_pattern(rule: str) -> None:
    assert recurrence.patterned(parse("2026-11-24", "UTC"), (f"RRULE:{rule}",), "UTC") is None


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("FREQ=DAILY", {"type": "noEnd"}),
        ("FREQ=DAILY;COUNT=5", {"type": "numbered", "numberOfOccurrences": 5}),
        ("FREQ=DAILY;UNTIL=20261130T100000Z", {"type": "endDate", "endDate": "2026-11-30"}),
    ],
)
def test_a_series_tells_how_it_ends(rule: str, told: dict[str, Any]) -> None:
    found = recurrence.patterned(parse("2026-11-24", "UTC"), (f"RRULE:{rule}",), "UTC")
    assert found is not None
    assert found["range"].items() >= told.items()


def test_raw_fields_are_taken_in_graphs_words(world: World) -> None:
    made = world.create_event(ME, start="2026-11-24T15:00", fields={"categories": ["Red"], "subject": "Raw"})
    changes: dict[str, Any] = {
        "start": {"dateTime": "2026-11-25T10:00:00", "timeZone": "Pacific Standard Time"},
        "body": {"contentType": "html", "content": "<p>Hi</p>"},
        "location": {"displayName": "Room 1"},
        "sensitivity": "private",
        "showAs": "free",
        "importance": "high",
        "attendees": [{"type": "optional", "emailAddress": {"address": "b@contoso.example", "name": "B"}}],
    }
    told = world.patch_event(ME, made["id"], changes)
    assert (told["subject"], told["categories"], told["importance"]) == ("Raw", ["Red"], "high")
    assert told["start"]["dateTime"] == "2026-11-25T18:00:00.0000000"
    assert (told["originalStartTimeZone"], told["location"]["displayName"]) == ("Pacific Standard Time", "Room 1")
    assert (told["sensitivity"], told["showAs"], told["bodyPreview"]) == ("private", "free", "Hi")
    assert told["attendees"][0]["type"] == "optional"
    assert "importance" in world.patch_event(ME, made["id"], {"importance": None})
    day = {"isAllDay": True, "start": {"dateTime": "2026-11-26T00:00:00"}, "end": {"dateTime": "2026-11-27T00:00:00"}}
    assert world.patch_event(ME, made["id"], day)["isAllDay"] is True
    with pytest.raises(Unusable, match="cancel_event"):
        world.patch_event(ME, made["id"], {"isCancelled": True})
    with pytest.raises(Unusable, match="Mars"):
        world.patch_event(ME, made["id"], {"start": {"dateTime": "2026-11-26T00:00:00", "timeZone": "Mars"}})


def test_zones_have_windows_names_where_there_are_some() -> None:
    assert words.windows("Europe/Berlin") == "W. Europe Standard Time"
    assert words.windows("Europe/Vienna") == "Europe/Vienna"
    assert words.iana("W. Europe Standard Time") == "Europe/Berlin"


def test_an_export_keeps_its_zones_under_microsofts_names(world: World) -> None:
    done = world.load(CUSTOM, provider="microsoft")
    custom, windows = (world.listing(done.calendar_id)[n] for n in range(2))
    assert (custom["originalStartTimeZone"], custom["start"]["dateTime"][:16]) == (
        "tzone://Microsoft/Custom",
        "2026-11-24T14:00",
    )
    assert custom["onlineMeeting"]["joinUrl"].startswith("https://teams.microsoft.com/")
    assert (windows["originalStartTimeZone"], windows["start"]["dateTime"][:16]) == (
        "Pacific Standard Time",
        "2026-11-24T23:00",
    )


EXPORTS = {"small": CUSTOM} | {file.stem: file.read_text() for file in sorted(BESIDE.glob("*.ics"))}


@pytest.mark.parametrize("text", list(EXPORTS.values()), ids=list(EXPORTS))
def test_an_export_happens_at_the_same_times_at_both_providers(text: str) -> None:
    world = World(clock=lambda: NOW)
    at = {provider: world.load(text, provider=provider) for provider in ("google", "microsoft")}
    low, high = datetime(2019, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    google = world.listing(at["google"].calendar_id, time_min=low, time_max=high)
    microsoft = world.listing(at["microsoft"].calendar_id, time_min=low, time_max=high)
    assert at["google"].skipped == at["microsoft"].skipped
    assert len(microsoft) >= 1
    assert sorted(map(_google, google)) == sorted(map(_microsoft, microsoft))


def _google(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["iCalUID"], *(_utc(row[name].get("dateTime", row[name].get("date"))) for name in ("start", "end"))


def _microsoft(row: dict[str, Any]) -> tuple[str, str, str]:
    told = [row[name]["dateTime"][:19] for name in ("start", "end")]
    # Graph writes the instance's day into an iCalUId of Exchange's own.
    uid = row["iCalUId"]
    uid = f"{uid[:32]}00000000{uid[40:]}" if uid.startswith(ids.EXCHANGE_UID) else uid
    return uid, *((one[:10] if row["isAllDay"] else one) for one in told)


def _utc(text: str) -> str:
    return text if len(text) == 10 else f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
